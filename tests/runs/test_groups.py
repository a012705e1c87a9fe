"""Calendar spans against a plain reading of the calendar, and the groups of runs."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.groups import Calendar, Unit

ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")]
SECONDS = st.integers(1_600_000_000, 1_900_000_000)


@given(SECONDS, st.sampled_from(ZONES))
def test_a_span_is_what_a_clock_on_the_wall_shows(moment: int, zone: ZoneInfo) -> None:
    local = datetime.fromtimestamp(moment, zone)
    calendar = Calendar(zone)
    assert calendar.span("day", moment) == f"{local:%Y-%m-%d}"
    assert calendar.span("month", moment) == f"{local:%Y-%m}"
    assert calendar.span("hour", moment)[:16] == f"{local:%Y-%m-%dT%H}:00"
    monday = datetime.fromisoformat(calendar.span("week", moment)).date()
    assert monday.isoweekday() == 1
    assert monday <= local.date() < monday + timedelta(days=7)


@given(st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=20), st.sampled_from(ZONES))
def test_a_course_has_every_run_and_no_gap(moments: list[tuple[int, bool]], zone: ZoneInfo) -> None:
    # Bring them close together: spans of hours and days are the usual ones.
    for divisor in (1, 100, 5000):
        near = Counter((1_700_000_000 + (moment - 1_600_000_000) // divisor) // 900 for moment, _ in moments)
        course = Calendar(zone).course([(quarter, count, count - 1) for quarter, count in near.items()])
        if course is None:
            assert divisor == 1
            continue
        assert sum(course.runs) == len(moments)
        assert sum(course.failed) == len(moments) - len(near)
        assert len(course.spans) == len(set(course.spans)) <= 62
        if course.unit in ("day", "week"):
            days = [datetime.fromisoformat(span) for span in course.spans]
            step = timedelta(days=1 if course.unit == "day" else 7)
            assert all(later - earlier == step for earlier, later in itertools.pairwise(days))


def test_the_hour_that_happens_twice_is_two_hours_and_the_day_has_25() -> None:
    begin = int(datetime(2026, 10, 24, 22, tzinfo=timezone.utc).timestamp())
    course = Calendar(ZONES[0]).course([(begin // 900 + 4 * hour, 1, 0) for hour in range(25)])
    assert course is not None
    assert (course.unit, set(course.runs)) == ("hour", {1})
    assert course.spans[2:4] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]
    assert {Calendar(ZONES[0]).span("day", begin + 3600 * hour) for hour in range(25)} == {"2026-10-25"}


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_a_time_that_no_calendar_has_is_unknown(unit: Unit) -> None:
    assert Calendar(ZONES[0]).span(unit, 1e12) == "unknown"
