"""One exception type per kind of failure of a call to Extend.

Catch `ExtendError` to handle them all, or a leaf to handle one kind. Each says whether the same request may succeed
later (`retryable`), what is known about a failed write (`effect`), and what a language model can do next (`next_step`).
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final, Literal

from extend_mcp.api.wire import clean_text, decode_json, parse_retry_after, text_from_html

Effect = Literal["none", "unknown"]
"""The effect of a failed write: "none": it did not happen; "unknown": it may have happened."""

RETRYABLE_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed later, unless the body says otherwise."""

_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_MAX_ERROR_BODY: Final = 65_536
_CHECK_BEFORE_REPEATING: Final = (
    "The request may have taken effect. Read the object it was about, or list the newest ones, to see what happened; "
    "do not send the request again before that."
)


@dataclass(eq=False, repr=False)
class ExtendError(Exception):
    """A call to Extend failed. Base of all errors of this package; never raised itself.

    The message is free of secrets. A text from Extend in it is outside data, shortened to 300 visible characters.
    """

    advice: ClassVar[str] = "Report the error to the user."  # the next step when nothing was changed for certain

    message: str
    _: KW_ONLY
    status: int | None = None  # None without a complete response
    code: str | None = None  # Extend's own, such as "NOT_FOUND"
    request_id: str | None = None  # for Extend's support
    retryable: bool = False  # for a write, look at the effect first
    effect: Effect = "none"
    retry_after: float | None = None  # seconds that a 429 asks to wait

    @property
    def next_step(self) -> str:
        """Return the next step for a language model, in one or two sentences."""
        return self.advice if self.effect == "none" else _CHECK_BEFORE_REPEATING

    def __str__(self) -> str:
        """Return one line: status, code, message, request id, as far as they are known."""
        answer = " ".join(str(part) for part in (self.status, self.code) if part is not None)
        line = f"Extend answered {answer}: {self.message}" if answer else self.message
        return f"{line} (request {self.request_id})" if self.request_id else line


class CredentialError(ExtendError):
    """The key cannot be used for this, so every later request would fail too. Never raised itself."""


@dataclass(eq=False, repr=False)
class MissingApiKeyError(CredentialError):
    """No usable API key is configured. Nothing was sent."""

    advice = "Ask the user to set EXTEND_API_KEY for this server and to restart it; no call can succeed before."
    message: str = "No Extend API key is configured: EXTEND_API_KEY is not set."


class AuthenticationError(CredentialError):
    """401: Extend does not accept the API key."""

    advice = "Ask the user to check EXTEND_API_KEY and that the configured region is the one the key belongs to."


class PaymentRequiredError(ExtendError):
    """402: the account is out of credits or its usage is blocked."""

    advice = "Ask the user to check credits and billing in Extend; the same call fails until then."


class PermissionDeniedError(CredentialError):
    """403: the key is valid but may not do this, or belongs to another workspace."""

    advice = (
        "Ask the user to check what the API key may do, and the workspace id: an organization-scoped key needs one."
    )


class NotFoundError(ExtendError):
    """404: the object does not exist for this key, or was deleted."""

    advice = (
        "Check the id, or list to find it. Objects of another workspace, "
        "and of test or live mode, are invisible to the key."
    )


class InvalidRequestError(ExtendError):
    """400 or 422: Extend refused the request; or the arguments do not form a URL, and nothing was sent."""

    advice = "Correct what the message names. The same request will be refused again."


class RateLimitedError(ExtendError):
    """429: too many requests of this organization, even after the retries allowed for a read."""

    @property
    def next_step(self) -> str:
        """Return the time to wait before the call may be made again."""
        wait = "a minute" if self.retry_after is None else f"{self.retry_after:.0f} seconds"
        return f"Wait {wait}, then make the same call again; a refused call changed nothing."


class ServerError(ExtendError):
    """5xx, or 408: Extend, or something in front of it, failed. A write may have taken effect."""

    advice = "Make the same call again in a minute. If it keeps failing, give the user the request id."


class UnexpectedStatusError(ExtendError):
    """Any other status that is not 2xx, such as a redirect, which is never followed."""

    advice = "Tell the user: the configured base URL may be wrong, or the API may have changed."


class ConnectFailedError(ExtendError):
    """Extend was never reached: DNS, refused connection, TLS, proxy, or connect timeout. Nothing was sent."""

    advice = "Make the same call again in a minute. If it keeps failing, ask the user to check network and base URL."


class ResponseLostError(ExtendError):
    """Sent, but there was no complete response: read or total timeout, reset connection, truncated body."""

    advice = "Make the same call again; reading changes nothing."


class MalformedResponseError(ExtendError):
    """2xx, but the body is not the JSON object expected, or cannot be decoded."""

    advice = "Tell the user: the base URL may not be Extend's API, or the API may have changed."


class AnswerTooLargeError(MalformedResponseError):
    """2xx, but the body is larger than this client reads."""

    advice = "Ask for less at once, such as a smaller page. A single object this large is for Extend's dashboard."


_BY_STATUS: Final[Mapping[int, type[ExtendError]]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    422: InvalidRequestError,
    429: RateLimitedError,
}


def write_effect(method: str) -> Effect:
    """Return the effect of a request that was sent and got no clear response: a read has none."""
    return "none" if method == "GET" else "unknown"


def error_from_response(method: str, status: int, headers: Mapping[str, str], body: bytes) -> ExtendError:
    """Turn a non-2xx response into an error (Extend API reference, Errors).

    A 4xx other than 408 is a refusal, so its effect is "none" for writes too. The body is `{code, message, ...}`, the
    same wrapped in `{"error": ...}`, `{"error": "text"}`, or not JSON. The headers are found in any case.
    """
    fields = _error_fields(body)
    refused = 400 <= status < 500 and status != 408
    retryable = fields.get("retryable")
    kind = ServerError if status >= 500 else _BY_STATUS.get(status, UnexpectedStatusError)
    return kind(
        _short_text(fields.get("message"), 300) or _PHRASES.get(status, "no message"),
        status=status,
        code=_short_text(fields.get("code"), 100),
        request_id=_short_text(fields.get("requestId") or headers.get("x-extend-request-id"), 100),
        retryable=retryable if isinstance(retryable, bool) else status in RETRYABLE_STATUSES,
        effect="none" if refused else write_effect(method),
        retry_after=parse_retry_after(headers.get("retry-after")) if status == 429 else None,
    )


def _error_fields(body: bytes) -> dict[str, Any]:
    """Flatten the known shapes of an error body."""
    shortened = body[:_MAX_ERROR_BODY]
    try:
        document = decode_json(shortened)
    except ValueError:
        return {"message": text_from_html(shortened.decode("utf-8", errors="replace"))}
    if isinstance(document, str):
        return {"message": document}
    if not isinstance(document, dict):
        return {}
    inner = document.get("error")
    if isinstance(inner, dict):
        return {**document, **inner}
    if isinstance(inner, str):
        return {"message": inner, **document}
    return document


def _short_text(value: object, limit: int) -> str | None:
    return (clean_text(value, limit) or None) if isinstance(value, str) else None
