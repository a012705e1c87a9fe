"""State the outcome of every fault by a few rules; the matrix is their product with the client's methods.

Expected texts are written out here, not taken from the code: a change of what a model reads shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from extend_mcp.api import errors
from extend_mcp.api.errors import ExtendError
from tests.robustness.client_calls import Kind
from tests.robustness.faulty_server import KEY, Wire

ATTEMPTS = 4
CONNECT, READ, TOTAL = 5.0, 30.0, 60.0
LIMIT = 64 * 1024 * 1024

SMALL = 1024 * 1024
"""The size limit that most cells run under, in place of ``LIMIT``; the sizes of bodies shrink with it."""

_LOOK = (
    "Read the object it was about, or list the newest ones, to see what happened; "
    "do not send the request again before that"
)
_AGAIN = "Make the same call again"
_NOT_THE_API = "Tell the user: the base URL may not be Extend's API, or the API may have changed"


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    Attributes:
        name: what goes wrong.
        wire: how that looks on the wire.
        error: what the client raises, or None if the answer is good all the same.
        says: words of what happened.
        advice: words of what to do next, where it is certain that nothing changed.
        passing: whether a read is sent again.
        unclear: whether a write may have taken effect.
        takes: seconds that one attempt takes at most.
        asks: seconds that the answer asks to wait.
        slack: seconds that may be missing from the longest time, for a date has whole seconds only.
    """

    name: str
    wire: Wire
    error: type[ExtendError] | None
    says: str = ""
    advice: str = ""
    passing: bool = False
    unclear: bool = False
    takes: float = 0.0
    asks: float | None = None
    slack: float = 0.1


@dataclass(frozen=True)
class Cell:
    """The expected outcome of one fault for one kind of call.

    Attributes:
        error: what is raised, or None.
        says: words of what happened.
        changed: what is known of a change.
        advice: words of what to do next.
        attempts: how often the call is tried.
        requests: how many requests arrive at Extend.
        longest: seconds until the caller knows, at most.
    """

    error: type[ExtendError] | None
    says: str
    changed: str
    advice: str
    attempts: int
    requests: int
    longest: float


def _json(code: str, status: int, **more: object) -> Wire:
    body = f'{{"code": "{code}", "message": "for {KEY}", "requestId": "req_1"}}'.encode()
    return Wire(status=status, body=body, **more)  # type: ignore[arg-type]


def _refusal(status: int, code: str, error: type[ExtendError], advice: str) -> Fault:
    return Fault(str(status), _json(code, status), error, f"Extend answered {status} {code}", advice)


def _failure(status: int, code: str) -> Fault:
    says = f"Extend answered {status} {code}"
    wire = _json(code, status)
    return Fault(str(status), wire, errors.ServerError, says, _AGAIN, passing=True, unclear=True)


def _limited(
    name: str, asks: float | None, advice: str, wire: Wire, *, passing: bool = True, slack: float = 0.1
) -> Fault:
    says = "Extend answered 429 RATE_LIMITED"
    return Fault(name, wire, errors.RateLimitedError, says, advice, passing=passing, asks=asks, slack=slack)


def _seconds(seconds: int) -> Wire:
    return _json("RATE_LIMITED", 429, headers=(("retry-after", str(seconds)),))


def _garbled(name: str, wire: Wire, says: str = "The answer is not a JSON object") -> Fault:
    return Fault(name, wire, errors.MalformedResponseError, says, _NOT_THE_API, unclear=True)


def _too_large(name: str, wire: Wire) -> Fault:
    advice = "Ask for less at once, such as a smaller page"
    return Fault(name, wire, errors.AnswerTooLargeError, "The answer is too large", advice, unclear=True)


def _lost(name: str, wire: Wire, says: str, *, passing: bool = True, takes: float = 0.0) -> Fault:
    return Fault(name, wire, errors.ResponseLostError, says, _AGAIN, passing=passing, unclear=True, takes=takes)


def _unreached(name: str, wire: Wire, says: str, takes: float) -> Fault:
    advice = f"{_AGAIN} in a minute. If it keeps failing, ask the user to check network and base URL"
    return Fault(name, wire, errors.ConnectFailedError, says, advice, passing=True, takes=takes)


_HTML = b"<html><head><title>t</title></head><body><h1>Sign in</h1></body></html>"
_BROKE = "The connection broke before the answer was complete"
_CORRECT = "Correct what the message names"
_TEXT = (("content-type", "text/plain"),)


def faults(limit: int = SMALL) -> list[Fault]:
    """The rows, with bodies made for a size limit of ``limit`` bytes."""
    return [
        _refusal(400, "INVALID_REQUEST", errors.InvalidRequestError, _CORRECT),
        _refusal(401, "UNAUTHORIZED", errors.AuthenticationError, "Ask the user to check EXTEND_API_KEY"),
        _refusal(402, "NO_CREDITS", errors.PaymentRequiredError, "Ask the user to check credits and billing"),
        _refusal(403, "FORBIDDEN", errors.PermissionDeniedError, "Ask the user to check what the API key may do"),
        _refusal(404, "NOT_FOUND", errors.NotFoundError, "Check the id, or list to find it"),
        _failure(408, "TIMEOUT"),
        _refusal(422, "UNPROCESSABLE", errors.InvalidRequestError, _CORRECT),
        _limited("429", None, "Wait a minute, then make the same call again", _json("RATE_LIMITED", 429)),
        _limited("429, Retry-After: 2", 2, "Wait 2 seconds, then make the same call again", _seconds(2)),
        _limited(
            "429, Retry-After: a date 5 s ahead", 5, "seconds, then make the same call again",
            _json("RATE_LIMITED", 429, retry_in=5), slack=3.1,
        ),
        _limited(
            "429, Retry-After: 90", 90, "Wait 90 seconds, then make the same call again", _seconds(90), passing=False
        ),
        *(_failure(status, code) for status, code in _FAILURES.items()),
        _unreached("connect refused", Wire("refused"), "Extend could not be reached", 0.0),
        _unreached("connect time-out", Wire("full"), "Extend could not be reached in time", CONNECT),
        _lost("read time-out", Wire(manner="hang"), "Extend did not answer in time", takes=READ),
        _lost("reset before the headers", Wire(manner="reset"), _BROKE),
        _lost("reset in the body", Wire(manner="reset in body"), _BROKE),
        _lost("body shorter than announced", Wire(manner="end early"), _BROKE),
        _lost("endless slow body", Wire(manner="endless"), "", passing=False, takes=TOTAL),
        _garbled("truncated JSON", Wire(body=b'{"id": "thing_1", "data": [')),
        _garbled("HTML instead of JSON", Wire(body=_HTML, headers=(("content-type", "text/html"),))),
        _garbled("empty body", Wire(body=b"")),
        _garbled("truncated gzip", Wire(body=b"\x1f\x8b\x08", headers=_GZIP), "The answer cannot be decompressed"),
        _too_large("gzip bomb", Wire(size=limit + 1, packed=True)),
        _too_large("body above 64 MB", Wire(size=limit + 1)),
        Fault("60 MB run", Wire(size=limit // 64 * 60), None),
        Fault("wrong content type, JSON inside", Wire(headers=_TEXT), None),
        _wrapped("wrapped error", b'{"error": {"code": "NO_STEP", "message": "x"}}', "Extend answered 400 NO_STEP"),
        _wrapped("error as a wrapped text", b'{"error": "no such step"}', "no such step"),
        _wrapped("plain-text error", b"no such step", "no such step"),
        _wrapped("HTML error", _HTML, "Sign in"),
    ]  # fmt: skip


_GZIP = (("content-encoding", "gzip"),)
_FAILURES = {500: "INTERNAL", 502: "BAD_GATEWAY", 503: "UNAVAILABLE", 504: "GATEWAY_TIMEOUT"}


def _wrapped(name: str, body: bytes, says: str) -> Fault:
    wire = Wire(status=400, body=body, headers=_TEXT)
    return Fault(f"{name} (400)", wire, errors.InvalidRequestError, says, _CORRECT)


def expected(fault: Fault, kind: Kind) -> Cell:
    """The cell of a fault and a kind of call."""
    attempts, longest = _course(fault, kind)
    reached = attempts if fault.wire.where == "server" else 0
    if fault.error is None:
        changed = "nothing, it reads" if kind == "read" else "as asked"
        return Cell(None, "the answer itself", changed, "continue", attempts, reached, longest)
    says = "Extend did not answer within the total time allowed" if longest == TOTAL else fault.says
    if kind == "read":
        return Cell(fault.error, says, "nothing, it reads", fault.advice, attempts, reached, longest)
    if fault.unclear:
        return Cell(fault.error, says, "unclear", _LOOK, attempts, reached, longest)
    return Cell(fault.error, says, "nothing", fault.advice, attempts, reached, longest)


def _course(fault: Fault, kind: Kind) -> tuple[int, float]:
    """Return how many attempts are made, and how many seconds they and the waits between them take at most."""
    elapsed = 0.0
    for attempt in range(1, ATTEMPTS + 1):
        if elapsed + fault.takes >= TOTAL:
            return attempt, TOTAL
        elapsed += fault.takes
        wait = 0.5 * 2 ** (attempt - 1) if fault.asks is None else fault.asks
        if kind != "read" or not fault.passing or attempt == ATTEMPTS or elapsed + wait >= TOTAL:
            return attempt, elapsed
        elapsed += wait
    raise AssertionError


def table() -> list[str]:
    """The rows of docs/internals/faults.md."""
    rows = [
        "| Fault | Call | Error | What the answer says | Changed | Next | Requests | Seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in faults():
        calls: dict[str, list[str]] = {}
        for kind in get_args(Kind):
            calls.setdefault(_columns(expected(fault, kind)), []).append(kind)
        rows += [f"| {fault.name} | {', '.join(kinds)} | {columns} |" for columns, kinds in calls.items()]
    return rows


def _columns(cell: Cell) -> str:
    requests = f"{cell.requests}" if cell.requests else f"0 of {cell.attempts} attempts"
    # How many are left until a date is known only when it comes.
    advice = f"Wait so many {cell.advice}" if cell.advice.startswith("seconds") else cell.advice
    columns = (
        f"`{cell.error.__name__}`" if cell.error else "none",
        cell.says,
        "nothing" if cell.changed.startswith("nothing") else cell.changed,
        "look first" if advice == _LOOK else advice,
        requests,
        f"{cell.longest:g}",
    )
    return " | ".join(columns)


if __name__ == "__main__":
    print("\n".join(table()))
