"""What a caller may do, as scopes such as ``runs:read``: which scope each tool, resource, prompt and completion needs.

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
}
"""The scope that the reading tools of a toolset need."""

WRITING: Final = {
    "runs": "runs:write",
    "workflow-authoring": "workflows:write",
    "files": "files:write",
    "webhooks": "webhooks:write",
}
"""The scope that the writing tools of a toolset need, unless the tool has one of its own."""

CANCEL: Final = "runs:cancel"
DELETE: Final = "runs:delete"

SCOPES: Final = (*READING.values(), *WRITING.values(), CANCEL, DELETE)
"""All there are."""

_OF_TOOLSET: Final = {
    "runs": ("runs:read", "runs:write", CANCEL, DELETE),
    "workflows": ("workflows:read",),
    "workflow-authoring": ("workflows:write",),
    "files": ("files:read", "files:write"),
    "webhooks": ("webhooks:read", "webhooks:write"),
}

_OF_ARGUMENT: Final = {"run_id": "runs:read", "batch_id": "runs:read"}


def scope_of_tool(toolset: str, *, read_only: bool) -> str:
    """The scope a tool of a toolset needs where it names none itself."""
    return READING[toolset] if read_only else WRITING[toolset]


def scopes_of(toolsets: Iterable[str], *, read_only: bool) -> frozenset[str]:
    """The scopes that amount to some toolsets, or to their reading half."""
    every = {scope for toolset in toolsets for scope in _OF_TOOLSET[toolset]}
    return frozenset(scope for scope in every if not read_only or scope in READING.values())


def scope_of_resource(uri: str) -> str | None:
    """The scope that reading, or subscribing to, a resource needs; None for the account, which has no secrets."""
    if uri == "extend://account":
        return None
    return "workflows:read" if uri.startswith("extend://workflows/") else "runs:read"


def scope_of_prompt(name: str) -> str:
    """The scope that a prompt needs for the facts it brings."""
    return "workflows:read" if name == "release_a_workflow_version" else "runs:read"


def scope_of_completion(argument: str) -> str:
    """The scope that completing an argument needs."""
    return _OF_ARGUMENT.get(argument, "workflows:read")
