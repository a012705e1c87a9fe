"""Inject faults into API requests: error responses, broken bodies, slow responses, dropped connections."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extend_mcp.sandbox.api.responses import error_body, json_response
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, InvalidFieldError, JsonObject

CONNECTION = "extend_mcp.sandbox.connection"
"""Name of the ASGI extension that holds the request's transport. The sandbox's server sets it."""

_FIELDS = {
    "method",
    "path",
    "times",
    "status",
    "body",
    "headers",
    "delaySeconds",
    "drop",
    "after",
    "truncate",
    "text",
}
_KINDS = ("status", "delaySeconds", "drop", "truncate", "text")


class ConnectionDroppedError(ConnectionError):
    """Raised to a caller in the same process, where there is no socket to close."""


@dataclass
class Fault:
    """A fault for the next `times` requests whose method and path match. `*` in the path matches anything."""

    method: str = "*"
    path: str = "*"
    times: int = 1
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Real seconds between operation and response. A client that gives up has still caused a change."""
    drop: bool = False
    after: bool = False
    """With `drop`: perform the operation before closing the connection."""
    truncate: int | None = None
    """Number of body bytes to send under the full content length."""
    text: str | None = None
    """A body that is not JSON, sent with `status` or 200."""

    def to_json(self) -> JsonObject:
        """Describe the fault with the field names of the control route."""
        described = {
            "method": self.method,
            "path": self.path,
            "times": self.times,
            "status": self.status,
            "body": self.body,
            "headers": self.headers or None,
            "delaySeconds": self.delay_seconds or None,
            "drop": self.drop or None,
            "after": self.after or None,
            "truncate": self.truncate,
            "text": self.text,
        }
        return {name: value for name, value in described.items() if value is not None}


def read_fault(given: object) -> Fault:
    """Read a fault from the control route's JSON.

    Raises:
        ApiError: a field is unknown or has the wrong type, or no kind of fault is given.
    """
    if not isinstance(given, dict):
        raise ApiError(400, "Expected an object; Path: body")
    unknown = sorted(set(given) - _FIELDS)
    if unknown:
        raise InvalidFieldError(400, "Unknown field", unknown[0])
    # Compare by identity: 0 equals False, and truncating after 0 bytes is a fault.
    if not any(given.get(kind) is not None and given.get(kind) is not False for kind in _KINDS):
        raise ApiError(400, f"Give one of {', '.join(_KINDS)}; Path: body")
    headers = _typed(given, "headers", dict, {})
    return Fault(
        method=_typed(given, "method", str, "*").upper(),
        path=_typed(given, "path", str, "*"),
        times=_number(given, "times", 1, least=1),
        status=_number(given, "status", None, least=200),
        body=given.get("body"),
        headers={str(name): str(value) for name, value in headers.items()},
        delay_seconds=float(_typed(given, "delaySeconds", (int, float), 0.0)),
        drop=_typed(given, "drop", bool, False),
        after=_typed(given, "after", bool, False),
        truncate=_number(given, "truncate", None, least=0),
        text=_typed(given, "text", str, None),
    )


class FaultQueue:
    """The pending faults, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault. If several match a request, the oldest applies."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that still have requests to hit."""
        return list(self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, if any, and count it as used once."""
        for fault in self._faults:
            if fault.method in ("*", method) and _matches(path, fault.path):
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None


class FaultMiddleware:
    """Apply the pending faults to the requests that they match."""

    def __init__(self, app: ASGIApp, account: SandboxAccount, faults: FaultQueue) -> None:
        self._app = app
        self._account = account
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, with the fault that matches it if any."""
        fault = None
        if scope["type"] == "http":
            with self._account.lock:
                fault = self._faults.take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.drop and not fault.after:
            await _close(scope, receive, abort=True)
        elif fault.text is not None:
            await anyio.sleep(fault.delay_seconds)
            await Response(fault.text, fault.status or 200, fault.headers, "text/html")(scope, receive, send)
        elif fault.status is not None:
            await anyio.sleep(fault.delay_seconds)
            body = fault.body if fault.body is not None else error_body(fault.status, scope["state"]["request_id"])
            await json_response(body, fault.status, fault.headers)(scope, receive, send)
        else:
            await self._serve_with_fault(fault, scope, receive, send)

    async def _serve_with_fault(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """Perform the operation, then delay, drop or truncate its response."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        await anyio.sleep(fault.delay_seconds)
        if fault.drop:
            await _close(scope, receive, abort=True)
            return
        body = b"".join(message.get("body", b"") for message in messages[1:])
        truncated = fault.truncate is not None
        await send(messages[0])
        await send({"type": "http.response.body", "body": body[: fault.truncate], "more_body": truncated})
        if truncated:
            await _close(scope, receive, abort=False)


async def _close(scope: Scope, receive: Receive, *, abort: bool) -> None:
    """End the connection: at once, or after everything written has been sent."""
    transport = scope.get("extensions", {}).get(CONNECTION)
    if transport is None:
        raise ConnectionDroppedError("a fault made the sandbox drop this connection")
    if abort:
        transport.abort()
    else:
        transport.close()
    # The server treats an early return as a crash of the application. Wait until it notices the disconnect.
    while (await receive())["type"] != "http.disconnect":
        pass


def _matches(path: str, pattern: str) -> bool:
    # IDs must not act as patterns, so only "*" is a wildcard.
    return fnmatchcase(path, pattern.replace("[", "[[]").replace("?", "[?]"))


def _typed(given: JsonObject, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidFieldError(400, "Wrong type", name)
    return value


def _number(given: JsonObject, name: str, default: int | None, *, least: int) -> Any:
    value = _typed(given, name, int, default)
    if value is not None and value < least:
        raise InvalidFieldError(400, f"Expected {least} or more", name)
    return value
