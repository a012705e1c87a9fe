"""Scopes such as ``runs:read``: what a caller may do. Tools, prompts, resources and completions declare theirs.

Scopes come with a caller's credential (an OAuth access token, or an entry of the tokens file). They only ever narrow
what the operator switched on. A caller without scopes of their own may do everything that is on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

RUNS_READ: Final = "runs:read"
WORKFLOWS_READ: Final = "workflows:read"
CANCEL: Final = "runs:cancel"
DELETE: Final = "runs:delete"
AUDIT_READ: Final = "audit:read"

OF_TOOLSETS: Final = {
    "runs": (RUNS_READ, "runs:write", CANCEL, DELETE),
    "workflows": (WORKFLOWS_READ,),
    "workflow-authoring": ("workflows:write",),
    "files": ("files:read", "files:write"),
    "webhooks": ("webhooks:read", "webhooks:write"),
    "incidents": (RUNS_READ, AUDIT_READ),
}
"""The scopes of each toolset's tools. One that reads needs the first that reads, another the first that does not,
unless the tool has its own."""

SCOPES: Final = tuple(dict.fromkeys(scope for scopes in OF_TOOLSETS.values() for scope in scopes))
"""Every scope."""

MISSING_SCOPE: Final = "extend_mcp.missing_scope"
"""The key of an ASGI scope under which a refused request keeps the scope that its caller lacks."""


def scopes_of(toolsets: Iterable[str], *, read_only: bool) -> list[str]:
    """Return the scopes of some toolsets, or of their reading half."""
    every = dict.fromkeys(scope for name in toolsets for scope in OF_TOOLSETS[name])
    return [scope for scope in every if not read_only or scope.endswith(":read")]
