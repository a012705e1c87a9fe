"""Skills: instructions for an agent that works with this server (extension ``io.modelcontextprotocol/skills``).

Each is one file of this folder, in the form of a ``SKILL.md``; ``always.md`` ends all of them. Clients list them with
``skills/list`` and read them as resources. The plugins in ``manifests/`` contain the same texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, ResourceBinding
from mcp.server.mcpserver.resources import TextResource
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

SCHEME: Final = "skill://"

_HERE: Final = Path(__file__).parent
_CACHE: Final = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}


class Skill:
    """A skill: its name, what it does and when to use it, its SKILL.md, and its entry in a listing."""

    def __init__(self, name: str) -> None:
        text = (_HERE / f"{name}.md").read_text(encoding="utf-8")
        self.name = name
        self.uri = f"{SCHEME}{name}/SKILL.md"
        self.description = text.partition("\ndescription: ")[2].partition("\n")[0]
        self.text = text + "\n" + (_HERE / "always.md").read_text(encoding="utf-8")
        raw = self.text.encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self.entry = {
            "uri": self.uri,
            "frontmatter": {"name": self.name, "description": self.description},
            "resources": [{"uri": self.uri, "digest": digest, "size": len(raw)}],
        }


SKILLS: Final = tuple(map(Skill, ("operate-runs", "triage-a-bad-night", "release-a-version")))


class SkillsExtension(Extension):
    """Serve `SKILLS`."""

    identifier = "io.modelcontextprotocol/skills"

    def resources(self) -> Sequence[ResourceBinding]:
        """Return each SKILL.md as a resource."""
        return [
            ResourceBinding(
                TextResource(
                    uri=each.uri,
                    name=each.name,
                    description=each.description,
                    mime_type="text/markdown",
                    text=each.text,
                )
            )
            for each in SKILLS
        ]

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods that list skills and look one up."""
        return [
            MethodBinding("skills/list", PaginatedRequestParams, _list),
            MethodBinding("skills/get", _GetParams, _get),
        ]


class _GetParams(RequestParams):
    uri: str


async def _list(_: ServerRequestContext[Any, Any], _params: PaginatedRequestParams) -> HandlerResult:
    return {**_CACHE, "skills": [each.entry for each in SKILLS]}


async def _get(_: ServerRequestContext[Any, Any], params: _GetParams) -> HandlerResult:
    for each in SKILLS:
        if each.uri == params.uri:
            return {**_CACHE, "skill": each.entry}
    raise MCPError(INVALID_PARAMS, "There is no such skill. skills/list names them all.")
