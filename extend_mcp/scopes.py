"""Scopes such as ``runs:read``: what a caller may do. Tools, prompts, resources and completions declare theirs.

Scopes come with a caller's credential (an OAuth access token, or an entry of the tokens file). They only ever narrow
what the operator switched on. A caller without scopes of their own may do everything that is on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

READING: Final = {
    "runs": "runs:read",
    "workflows": "workflows:read",
    "files": "files:read",
    "webhooks": "webhooks:read",
    "incidents": "runs:read",
}
"""The scope that the reading tools of a toolset need."""

WRITING: Final = {
    "runs": "runs:write",
    "workflow-authoring": "workflows:write",
    "files": "files:write",
    "webhooks": "webhooks:write",
}
"""The scope that the writing tools of a toolset need, unless the tool has its own."""

RUNS_READ: Final = "runs:read"
WORKFLOWS_READ: Final = "workflows:read"
CANCEL: Final = "runs:cancel"
DELETE: Final = "runs:delete"
AUDIT_READ: Final = "audit:read"

_THAT_READ: Final = (*dict.fromkeys(READING.values()), AUDIT_READ)

SCOPES: Final = (*_THAT_READ, *WRITING.values(), CANCEL, DELETE)
"""Every scope."""

MISSING_SCOPE: Final = "extend_mcp.missing_scope"
"""The key of an ASGI scope under which a refused request keeps the scope that its caller lacks."""

_OF_TOOLS: Final = {"runs": (CANCEL, DELETE), "incidents": (AUDIT_READ,)}
"""The scopes that tools of a toolset declare of their own."""


def scopes_of(toolsets: Iterable[str], *, read_only: bool) -> frozenset[str]:
    """Return the scopes of some toolsets, or of their reading half."""
    every = {scope for name in toolsets for scope in (READING.get(name), WRITING.get(name), *_OF_TOOLS.get(name, ()))}
    return frozenset(scope for scope in every if scope and (not read_only or scope in _THAT_READ))
