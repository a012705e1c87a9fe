from __future__ import annotations

import pytest

from extend_mcp.api.transport import certificates


def test_they_are_read_once_for_all_and_anew_where_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    usual = certificates()
    assert certificates() is usual
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    with pytest.raises(OSError, match="No such file"):
        certificates()
    monkeypatch.delenv("SSL_CERT_FILE")
    assert certificates() is usual
