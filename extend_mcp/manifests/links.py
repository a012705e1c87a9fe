"""Links that install the server with a click."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from extend_mcp.manifests.clients import CLIENTS, SERVER
from extend_mcp.manifests.description import Description
from extend_mcp.manifests.launch import PUBLISHED


def cursor_link(description: Description) -> str:
    """Cursor's: the entry as base64, without a name around it."""
    entry = CLIENTS["cursor"].entry(PUBLISHED, description)
    packed = base64.b64encode(_minified(entry).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?name={SERVER}&config={quote(packed, safe='')}"


def vscode_link(description: Description) -> str:
    """VS Code's: the entry with its name and its questions, as `code --add-mcp` takes it."""
    client = CLIENTS["vscode"]
    told = {"name": SERVER, **client.entry(PUBLISHED, description), **client.needed(description)}
    return f"vscode:mcp/install?{quote(_minified(told), safe='')}"


def _minified(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
