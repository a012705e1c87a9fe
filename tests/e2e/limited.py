"""Run extend-mcp with other limits than its own.

python limited.py '{"shutdown_seconds": 1, "follow_seconds": 0}' serve --transport http
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from extend_mcp.actions import cancel_run
from extend_mcp.api.config import ClientConfig
from extend_mcp.cli import main
from extend_mcp.http.settings import HttpLimits, HttpSettings
from extend_mcp.limits import CallLimits
from extend_mcp.settings import Settings


def limited(given: dict[str, Any]) -> None:
    def take(kind: Any) -> dict[str, Any]:
        return {each.name: given.pop(each.name) for each in dataclasses.fields(kind) if each.name in given}

    cancel_run.FOLLOW_SECONDS = given.pop("follow_seconds", cancel_run.FOLLOW_SECONDS)  # type: ignore[misc]
    calls, client, server = (
        CallLimits(**take(CallLimits)),
        take(ClientConfig),
        HttpLimits(**{"drain_seconds": 0.0, **take(HttpLimits)}),
    )
    assert not given, f"no limits: {', '.join(given)}"
    CallLimits.at = lambda _: calls  # type: ignore[method-assign, assignment]
    HttpSettings.limits = property(lambda _: server)  # type: ignore[method-assign, assignment]
    configured = Settings.client_config
    Settings.client_config = lambda self, account=None: dataclasses.replace(  # type: ignore[method-assign]
        configured(self, account), **client
    )


if __name__ == "__main__":
    limited(json.loads(sys.argv.pop(1)))
    sys.argv[0] = "extend-mcp"
    main()
