"""How often a run is looked at while someone waits for it, and when waiting for it is over.

The pace is that of Extend's own pollers: about every second for half a minute, then 15% slower each time, at
most every 30 seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from extend_mcp.runs.lifecycle import describe, is_moving

_FAST_SECONDS = 30.0
_GROWTH, _SLOWEST = 1.15, 30.0


def next_pause(pause: float, elapsed: float) -> float:
    """Seconds until the next look.

    Args:
        pause: the pause before this look; 0 before the first.
        elapsed: seconds since waiting began.
    """
    return 1.0 if elapsed < _FAST_SECONDS or pause == 0 else min(pause * _GROWTH, _SLOWEST)


def is_settled(status: str) -> bool:
    """Whether a run in ``status`` goes no further by itself: it is over, waits for a person, or is unknown to us."""
    return not is_moving(status)


_URGENCY = {"FAILED": 0, "REJECTED": 1, "NEEDS_REVIEW": 2, "CANCELLED": 4, "PROCESSED": 6}


def by_urgency(statuses: Iterable[str]) -> list[str]:
    """Distinct statuses in the order a reader wants them: failures first, successes last."""
    return sorted(set(statuses), key=urgency)


def urgency(status: str) -> tuple[int, str]:
    """A sort key for a status: what failed first, then what waits for a person, what moves, what succeeded."""
    unknown = 3 if describe(status).phase == "unknown" else 5
    return _URGENCY.get(status, unknown), status
