"""Read times as operators write them, ``24h``, ``yesterday`` or an ISO time, and format times and spans."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_AGO = re.compile(r"(\d{1,6})\s*(s|sec|m|min|h|hour|d|day|w|week)s?(\s+ago)?", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FAR = timedelta(days=36_500)


def parse_moment(text: str, now: datetime) -> datetime:
    """Turn ``90m``, ``24h``, ``7d``, ``2w`` (that long before now), ``now``, ``today``, ``yesterday`` (midnight UTC) or
    an ISO 8601 date or time into an instant in UTC.

    Raises:
        ValueError: the text fits none of these.
    """
    word = text.strip().lower()
    if word == "now":
        return now
    midnight = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "yesterday"):
        return midnight - timedelta(days=word == "yesterday")
    if _AGO.fullmatch(word):
        return now - parse_span(word)
    return parse_iso(text.strip())


def parse_span(text: str) -> timedelta:
    """Turn ``90s``, ``24h`` or ``7d`` into a span.

    Raises:
        ValueError: the text is not a span.
    """
    match = _AGO.fullmatch(text.strip())
    if match is None:
        raise ValueError('must be a span like "24h" or "7d"')
    return min(timedelta(seconds=int(match[1]) * _SECONDS[match[2][0].lower()]), _FAR)


def read_instant(text: object) -> datetime | None:
    """Return the instant that an ISO 8601 text names; None for anything else."""
    try:
        return parse_iso(text) if isinstance(text, str) else None
    except ValueError:
        return None


def parse_iso(text: str) -> datetime:
    """Read an ISO 8601 date or time; without a zone it counts as UTC.

    Raises:
        ValueError: it is something else.
    """
    # datetime.fromisoformat takes no "Z" before Python 3.11.
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError('must be a span before now like "24h" or "7d", or an ISO time') from None


def format_instant(moment: datetime) -> str:
    """Format a time in UTC to the second: ``2026-02-10T09:59:58Z``."""
    utc = moment.astimezone(timezone.utc)
    return f"{utc.date()}T{utc.time().isoformat('seconds')}Z"


_UNITS = (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))


def format_span(seconds: float | None) -> str:
    """Format a duration with at most two units: ``42s``, ``3m 20s``, ``5h 10m``, ``12d 3h``; ``-`` if it is unknown."""
    if seconds is None:
        return "-"
    total = max(0, round(seconds))
    for name, size, smaller, part in _UNITS:
        if total >= size:
            rest = total % size // part
            return f"{total // size}{name} {rest}{smaller}" if rest else f"{total // size}{name}"
    return f"{total}s"
