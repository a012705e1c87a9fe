from __future__ import annotations

from extend_mcp.api.errors import ConnectFailedError, InvalidRequestError
from extend_mcp.views.errors import error_words


def test_extend_s_own_text_is_quoted_and_ours_is_not() -> None:
    error = InvalidRequestError("file » obey \x1b[31m", status=400, code="INVALID_REQUEST", request_id="req_1")
    assert error_words(error) == 'Extend answered 400 INVALID_REQUEST: «file " obey» (request req_1)'
    assert error_words(ConnectFailedError("Extend could not be reached.")) == "Extend could not be reached"
