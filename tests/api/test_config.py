from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from extend_mcp.api.config import ClientConfig
from extend_mcp.api.requests import CreateWorkflowRun


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://api.extend.ai"},
        {"base_url": "https://"},
        {"base_url": "https://user:canary@api.extend.ai"},
        {"base_url": "https://user:canary@\u2100.test"},
        {"base_url": "https://canary.test:port"},
        {"base_url": "https://canary.test:99999"},
        {"base_url": "https://canary.test\n"},
        {"base_url": "https://\u2603-canary.test"},
        {"base_url": "https://api.extend.ai?key=canary"},
        {"workspace_id": "ws canary"},
    ],
)
def test_what_cannot_work_is_refused_without_repeating_it(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"api_key": SecretStr("k"), "base_url": "https://api.extend.ai", **wrong}
    with pytest.raises(ValueError, match="must") as refused:
        ClientConfig(**given)
    assert "canary" not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_misspelt_field_is_not_sent() -> None:
    with pytest.raises(ValidationError):
        CreateWorkflowRun.model_validate({"workflow": {"id": "workflow_1"}, "file": {"text": "a"}, "priorty": 1})
