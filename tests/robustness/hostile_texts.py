"""Hostile texts, an Extend that answers with them in every field, and the judge of what came through."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from mcp.client.client import Client
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.transport import ExtendTransport
from extend_mcp.limits import CallLimits
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from tests.calls import HOOK
from tests.harness import KEY, LIMITS, Box, BoxClock, Mode, Person

CANARY = "zqcanary"
"""Is in every hostile text, so that what came of it is found wherever it went."""


@dataclass(frozen=True)
class Item:
    """A hostile text.

    Attributes:
        name: what it tries.
        text: the text; holds :data:`CANARY`.
        gone: what may not be left of it anywhere.
    """

    name: str
    text: str
    gone: tuple[str, ...]


def hostile_texts() -> list[Item]:
    """All hostile texts."""
    items = json.loads((Path(__file__).parent / "hostile_texts.json").read_text())
    return [Item(item["name"], _grown(item["text"]), tuple(item["gone"])) for item in items]


def _grown(text: str) -> str:
    return text.replace("{800 words}", "pad " * 800).replace("{2000 spaces}", " " * 2000)


Rewrite = Callable[[httpx.Request, Any], Any]


class Rewritten(httpx.AsyncBaseTransport):
    """The network, but for what each JSON answer says."""

    def __init__(self, rewrite: Rewrite) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=False)
        self._rewrite = rewrite

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        document = json.loads(await response.aread())
        await response.aclose()
        body = json.dumps(self._rewrite(request, document)).encode()
        return httpx.Response(response.status_code, headers={"content-type": "application/json"}, content=body)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def rewriting(
    box: Box, rewrite: Rewrite, *, mode: Mode = "auto", person: Person | None = None, **settings: Any
) -> AsyncIterator[Client]:
    """Our server on ``box``, all of whose answers pass ``rewrite`` first, and a client connected to it."""
    clock = BoxClock(box)
    config, transport = ClientConfig(api_key=SecretStr(KEY), base_url=box.base_url), Rewritten(rewrite)

    def connect(_: Any) -> ExtendClient:
        return ExtendClient(config, ExtendTransport(transport, sleep=clock.sleep))

    limits = CallLimits(**{name: settings.pop(name) for name in [*settings] if name in LIMITS})
    chosen = Settings.model_validate({"api_key": KEY, "base_url": box.base_url, "toolsets": "all", **settings})
    server, registry = build_server(chosen, connect=connect, clock=clock, limits=limits)
    try:
        async with Client(server, mode=mode, elicitation_callback=person.answer if person else None) as client:
            yield client
    finally:
        await registry.aclose()
        await transport.aclose()


_ROUTES = re.compile(
    r"id|object|status|nextPageToken|\w*Id|\w+At|\w+Time|version|type|stepType|enabledEvents|events"
    r"|url|presignedUrl|signingSecret"  # these are the account's own people's, or Extend's
)
"""Fields that a call depends on: these stay, or no tool would get as far as showing a text."""

_CODES = re.compile(r"status|type|stepType|version|dashboardUrl|presignedUrl|failureReason|code|requestId|\w+Id")
"""Words of Extend's own, which our lines show bare."""


def texts_poisoned(text: str) -> Rewrite:
    """Every text of every answer is ``text``, and names of fields that are a customer's own are as well."""

    def poison(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            inner = {key: poison(item, key) for key, item in value.items()}
            # The keys of these come from people and documents.
            return inner | {text: text} if name in ("metadata", "value", "data", "contents", "config") else inner
        if isinstance(value, list):
            return [poison(item, name) for item in value]
        return text if isinstance(value, str) and not _ROUTES.fullmatch(name) else value

    def rewrite(request: httpx.Request, document: Any) -> Any:
        # The envelope of a list is Extend's own.
        if isinstance(document.get("data"), list):
            return {**document, "data": [poison(each) for each in document["data"]]}
        return poison(document)

    return rewrite


def codes_poisoned(text: str) -> Rewrite:
    """Every code of every answer is ``text``: what Extend itself would never send."""

    def poison(value: Any, name: str, depth: int) -> Any:
        if isinstance(value, dict):
            inner = {key: poison(item, key, depth + 1) for key, item in value.items()}
            # The id that was asked for has to come back.
            return inner | {"id": text} if depth > 1 and isinstance(inner.get("id"), str) else inner
        if isinstance(value, list):
            return [poison(item, name, depth) for item in value]
        return text if _CODES.fullmatch(name) and isinstance(value, str) else value

    def rewrite(request: httpx.Request, document: Any) -> Any:
        if isinstance(document.get("data"), list):
            return {**document, "data": [poison(each, "", 0) for each in document["data"]]}
        return poison(document, "", 0)

    return rewrite


_OURS = re.compile(
    r"extend://"
    r"|https://dashboard\.extend\.ai/(?!@)"
    r"|https://example\.com/a\.pdf"  # our own example in an error
    rf"|{re.escape(HOOK)}"  # the address that the example calls give
    r"|step=<number, name or id>"
    r"|http://127\.0\.0\.1:\d+/"  # the sandbox's own
)
_QUOTED = re.compile("«[^«»]*»")
_LABEL = re.compile(r'(?<=[\[{|])"[^"\[\]{}|«»]*"(?=[\]}|])')
_ACTIVE = re.compile(r"\]\(|!\[|<[a-z!@#|]|```|\[r\]:", re.IGNORECASE)
_TABLES = re.compile(r"</?(?:table|thead|tbody|tfoot|tr|td|th)>")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


def faults_of(text: str, item: Item, *, marked: bool) -> list[str]:
    """List what is wrong with a text of an answer.

    Args:
        text: the text, several lines or one.
        item: what was everywhere in what the API answered.
        marked: whether what is from outside must stand between its marks, as in text; a structured field need not.
    """
    # A question isolates what is written from right to left.
    text = text.replace("\u2066«", "«").replace("»\u2069", "»")
    faults = [f"{part!r} survived" for part in item.gone if part in text]
    faults += [f"{char!r} is unseen" for char in set(text) - {"\n"} if unicodedata.category(char) in _UNSEEN]
    for line in text.split("\n"):
        # The labels of a diagram are marks of their own.
        in_diagram = re.match(r"  n\d", line)
        shown = line.replace("<br/>", " ") if in_diagram else line
        faults += [f"{found[0]!r} is active" for found in _ACTIVE.finditer(_TABLES.sub("", _OURS.sub("", shown)))]
        if line.startswith("| ") or line == "|":
            continue
        bare = _QUOTED.sub("", _LABEL.sub("", shown) if in_diagram else line)
        if "«" in bare or "»" in bare:
            faults.append(f"a mark without its other: {line!r}")
        elif marked and CANARY in bare:
            faults.append(f"unmarked: {line!r}")
    return faults


def strings_of(value: Any) -> Iterator[str]:
    """Every string in a JSON value, names of fields among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
