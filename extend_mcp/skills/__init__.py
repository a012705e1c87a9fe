"""Skills: instructions for an agent that works with this server (extension ``io.modelcontextprotocol/skills``).

Each is one file of this folder, in the form of a ``SKILL.md``; ``always.md`` ends all of them. Clients list them with
``skills/list`` and read them as resources. The plugins in ``manifests/`` contain the same texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp.server.extension import Extension, MethodBinding, ResourceBinding
from mcp.server.mcpserver.resources import TextResource
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

SCHEME: Final = "skill://"

_HERE: Final = Path(__file__).parent
_CACHE: Final = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}


def _skill(name: str) -> TextResource:
    text = (_HERE / f"{name}.md").read_text("utf-8")
    return TextResource(
        uri=f"{SCHEME}{name}/SKILL.md",
        name=name,
        description=text.partition("\ndescription: ")[2].partition("\n")[0],
        mime_type="text/markdown",
        text=f"{text}\n{(_HERE / 'always.md').read_text('utf-8')}",
    )


SKILLS: Final = tuple(map(_skill, ("operate-runs", "triage-a-bad-night", "release-a-version")))


class SkillsExtension(Extension):
    """Serve each of `SKILLS` as a resource, list them, and look one up."""

    identifier = "io.modelcontextprotocol/skills"

    def resources(self) -> Sequence[ResourceBinding]:
        """Return each SKILL.md."""
        return [*map(ResourceBinding, SKILLS)]

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods of the extension."""
        return [MethodBinding("skills/list", PaginatedRequestParams, _list), MethodBinding("skills/get", _Named, _get)]


class _Named(RequestParams):
    uri: str


async def _list(_ctx: object, _params: object) -> HandlerResult:
    return {**_CACHE, "skills": [*map(_entry, SKILLS)]}


async def _get(_ctx: object, params: _Named) -> HandlerResult:
    for skill in SKILLS:
        if skill.uri == params.uri:
            return {**_CACHE, "skill": _entry(skill)}
    raise MCPError(INVALID_PARAMS, "There is no such skill. skills/list names them all.")


def _entry(skill: TextResource) -> dict[str, Any]:
    raw = skill.text.encode()
    return {
        "uri": skill.uri,
        "frontmatter": {"name": skill.name, "description": skill.description},
        "resources": [{"uri": skill.uri, "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}],
    }
