"""What the MCP SDK does not export, and the reason for each use. No other module imports or relies on it.

tests/test_mcp_compat.py fails when a new version of the SDK changes one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

# Our own authentication puts the caller here; the SDK exports only `get_access_token`, which has no caller.
from mcp.server.auth.middleware.auth_context import auth_context_var

# Prompts are built without a pydantic model each, which a client would wait for: that needs `PromptArgument`.
from mcp.server.mcpserver.prompts.base import PromptArgument

# Tools declare their context by type, as in the SDK; its `Tool.from_function` would build each model twice.
from mcp.server.mcpserver.utilities.context_injection import find_context_parameter

# Tools refuse unknown arguments and parse JSON only where no text is wanted, which the SDK cannot be told.
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata

# Event streams end by our lifecycle: see `let_event_streams_finish`.
from sse_starlette.sse import AppStatus

if TYPE_CHECKING:
    from mcp.server.connection import Connection
    from mcp.server.context import ServerRequestContext

__all__ = [
    "ArgModelBase",
    "FuncMetadata",
    "PromptArgument",
    "auth_context_var",
    "connection_of",
    "find_context_parameter",
    "is_validation_text",
    "let_event_streams_finish",
]

_VALIDATION_MARK: Final = b"errors.pydantic.dev"


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """Return the connection of a request: a subscription must end with it, and the SDK has no public way to it."""
    return ctx.session._connection


def let_event_streams_finish() -> None:
    """Keep event streams open after SIGTERM, in the whole process: they carry the answers of calls in flight."""
    AppStatus.enable_automatic_graceful_drain = False


def is_validation_text(body: bytes) -> bool:
    """Recognize the SDK's answer to a malformed message: pydantic's report, which repeats the message's content."""
    return _VALIDATION_MARK in body
