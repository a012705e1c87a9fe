"""Our command line with faults inside: exceptions that carry every secret that this process was given."""

from __future__ import annotations

import os
from typing import Any

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.transport import ExtendTransport
from extend_mcp.cli import main

SECRET_VARIABLES = ("EXTEND_API_KEY", "EXTEND_MCP_STATE_KEYS", "EXTEND_MCP_WEBHOOK_SECRETS", "EXTEND_MCP_REDIS_URL")


async def crash(self: ExtendClient, *arguments: Any, **named: Any) -> Any:
    """Fail as a careless part would: with every known value in the text, and as a cause, and over several lines."""
    at_hand = [os.environ.get(name, "") for name in SECRET_VARIABLES]
    key = self.config.api_key.get_secret_value() if self.config.api_key else ""
    message = f"{self!r} {vars(self)!r} Authorization={key} {key} {arguments!r} {named!r}\n{at_hand!r}"
    raise RuntimeError(message) from KeyError(*at_hand)


if __name__ == "__main__":
    # A retry or two, and not the whole wait.
    assert ExtendTransport.__init__.__kwdefaults__
    ExtendTransport.__init__.__kwdefaults__["total_timeout"] = 0.4
    ExtendClient.list_workflows = crash  # type: ignore[method-assign, assignment]
    ExtendClient.create_workflow_run_batch = crash  # type: ignore[method-assign, assignment]
    main()
