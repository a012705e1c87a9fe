"""Interactive views that hosts show next to an answer (MCP Apps, extension ``io.modelcontextprotocol/ui``).

Each view is one HTML page without network access. Its data is the structured content of the tool's answer, and what it
calls is checked like any caller's call: a view adds no rights.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import FunctionResource
from mcp.server.mcpserver.tools import Tool

_HERE: Final = Path(__file__).parent
VIEWS: Final = "ui://extend-mcp/"
"""The beginning of the URI of each view."""

_TITLES: Final = {"run": "Workflow run", "board": "Board of runs", "review": "Review queue", "plan": "Plan"}
_SCRIPTS: Final = {"board": ("shared", "run", "board")}
# No host needs to allow anything: hosts differ in what they allow where nothing is said.
_META: Final = {
    "ui": {
        "csp": {"connectDomains": [], "resourceDomains": [], "frameDomains": [], "baseUriDomains": []},
        "prefersBorder": True,
    }
}


def apps_of(tools: Iterable[Tool]) -> Apps:
    """Return the extension with the views that ``tools`` name in their ``_meta``; a page is written when it is read."""
    apps, metas = Apps(), {tool.name: tool.meta for tool in tools}
    for view, title in _TITLES.items():
        uri = f"{VIEWS}{view}"
        if {"ui": {"resourceUri": uri}} in metas.values():
            shown, name = partial(page, view, metas), f"view-{view}"
            apps.add_resource(
                FunctionResource(uri=uri, name=name, title=title, mime_type=APP_MIME_TYPE, meta=_META, fn=shown)
            )
    return apps


def page(view: str, tools: Collection[str]) -> str:
    """Return the HTML page of a view, which offers the tools that the operator switched on."""
    script = "\n".join(_read(f"{name}.js") for name in _SCRIPTS.get(view, ("shared", view)))
    style = _read("shared.css")
    # The page's own policy: a host's allows any inline script, this one only ours, and no markup made from text.
    policy = (
        f"default-src 'none'; connect-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return f"""<!doctype html>
<html lang="en" data-view="{view}" data-tools="{html.escape(" ".join(tools))}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_TITLES[view]}</title>
<style>{style}</style>
</head>
<body>
<main aria-busy="true"></main>
<p id="said" role="status"></p>
<script>{script}</script>
</body>
</html>
"""


def _read(name: str) -> str:
    # Indentation, comments and blank lines are a fifth of a page.
    return re.sub(r"^\s*(?://.*\n)?", "", (_HERE / name).read_text("utf-8"), flags=re.MULTILINE)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
