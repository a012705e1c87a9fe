"""Decode data from outside: JSON, free text, HTML pages, Retry-After.

Nothing here trusts its input or raises anything but the documented ValueError.
"""

import html
import json
import math
import re
import unicodedata
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from pydantic_core import from_json

_HTML_INVISIBLE = re.compile(r"<(script|style|head)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.DOTALL | re.IGNORECASE)
_HTML_TAG = re.compile(r"<[^<>]*>")


def decode_json(body: bytes) -> Any:
    """Parse a JSON body so that every string in the result can be encoded again.

    Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD: one bad character in a scanned page must
    not make a run unreadable.

    Raises:
        ValueError: The body is not JSON, contains NaN or Infinity, or is nested too deeply.
    """
    try:
        # Twice as fast, and it refuses everything that needs the slower way below.
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8-sig", errors="replace"), parse_constant=_refuse_constant)
        text = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        return json.loads(text.decode("utf-16-le", "replace"))
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def clean_text(text: str, limit: int = 300) -> str:
    """Reduce outside text to one line of visible characters, at most `limit` of them.

    Control and format characters (line breaks, escape codes, bidirectional controls, zero-width characters)
    are removed: they could forge log lines or hide text from the reader.
    """
    # Checking each character is slow; no real text has 19 invisible ones for each visible one.
    spaced = " ".join(text.split())[: limit * 20]
    visible = "".join(char for char in spaced if not unicodedata.category(char).startswith("C")).strip()
    return visible if len(visible) <= limit else visible[: limit - 1].rstrip() + "…"


def text_from_html(page: str) -> str:
    """Return the words of an HTML page (such as a proxy's error page), or plain text unchanged."""
    return html.unescape(_HTML_TAG.sub(" ", _HTML_INVISIBLE.sub(" ", page)))


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header, which may be an HTTP date (RFC 9110, section 10.2.3).

    They are 0 or more; None if the header is missing or unreadable.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - (now or datetime.now(timezone.utc))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def is_header_safe(value: str) -> bool:
    """Check that a value can be sent in a header: visible ASCII only, and not empty."""
    return value.isascii() and value.isprintable() and " " not in value and value != ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
