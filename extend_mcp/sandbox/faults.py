"""Faults that tests order in advance: error answers, broken bodies, slow answers, dropped connections."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from extend_mcp.sandbox.errors import ApiError, InvalidFieldError, JsonObject

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
    """Stands for a closed connection where the caller is in this process and there is no socket to close."""


@dataclass
class Fault:
    """What to do to the next `times` requests whose method and path match; `*` in the path matches anything."""

    method: str = "*"
    path: str = "*"
    times: int = 1
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Real seconds. The operation happens first: a client that gives up has changed something all the same."""
    drop: bool = False
    after: bool = False
    """With `drop`: perform the operation, then close the connection."""
    truncate: int | None = None
    """Bytes of the real answer's body that are sent under its full content length."""
    text: str | None = None
    """A body that is not JSON, with `status` or 200."""

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
        ApiError: a field is unknown or has the wrong type, or no kind of fault is named.
    """
    if not isinstance(given, dict):
        raise ApiError(400, "Expected an object; Path: body")
    unknown = sorted(set(given) - _FIELDS)
    if unknown:
        raise InvalidFieldError(400, "Unknown field", unknown[0])
    # Compared by identity: 0 equals False, and breaking off after 0 bytes is a fault.
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


class FaultBook:
    """The faults still to come, in the order they were ordered."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order a fault; of several that match, the oldest strikes first."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that have not struck as often as ordered."""
        return list(self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this request, if any, and count it as used once."""
        for fault in self._faults:
            if fault.method in ("*", method) and _matches(path, fault.path):
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None


def _matches(path: str, pattern: str) -> bool:
    # Ids may not be read as patterns: "[" and "?" are escaped, only "*" stays a wildcard.
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
