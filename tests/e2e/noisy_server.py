"""Our server with a part that prints and crashes: what reaches stdout all the same?"""

from __future__ import annotations

import anyio

from extend_mcp.api.client import ExtendClient
from extend_mcp.server import build_server
from extend_mcp.settings import Settings, load
from extend_mcp.stdio import run_stdio


def connect(settings: Settings) -> ExtendClient:
    """Fail the way a bug would."""
    print("noise on stdout")
    raise RuntimeError("a secret inside a crash: sk_canary")


if __name__ == "__main__":
    server, _ = build_server(load(Settings), connect=connect)
    anyio.run(run_stdio, server)
