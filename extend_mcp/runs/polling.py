"""Decide how often to read a run while waiting for it, when to stop, and what to show first.

The intervals are those of Extend's own pollers: about every second for half a minute, then 15% slower each time, at
most every 30 seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from extend_mcp.runs.lifecycle import describe, is_moving

_FAST_SECONDS = 30.0
_GROWTH, _SLOWEST = 1.15, 30.0


def next_pause(pause: float, elapsed: float) -> float:
    """Return the seconds until the next read, by the pause before this one, 0 before the first, and those so far."""
    return 1.0 if elapsed < _FAST_SECONDS or pause == 0 else min(pause * _GROWTH, _SLOWEST)


def is_settled(status: str) -> bool:
    """Return true if a run in ``status`` will not change without someone acting, or if the status is unknown."""
    return not is_moving(status)


_URGENCY = {"FAILED": 0, "REJECTED": 1, "NEEDS_REVIEW": 2, "CANCELLED": 4, "PROCESSED": 6}


def by_urgency(statuses: Iterable[str]) -> list[str]:
    """Return distinct statuses in the order of interest: failures first, successes last."""
    return sorted(set(statuses), key=urgency)


def urgency(status: str) -> tuple[int, str]:
    """Return a sort key for a status: failed, waiting for a person, still moving, succeeded."""
    unknown = 3 if describe(status).phase == "unknown" else 5
    return _URGENCY.get(status, unknown), status
