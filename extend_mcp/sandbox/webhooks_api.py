"""The operations on webhooks. Paths and answers: Extend API reference."""

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


def webhook_routes(sandbox: "Sandbox") -> list[BaseRoute]:
    """Build the routes."""
    return []
