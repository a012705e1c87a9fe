"""Calendar spans against a plain reading of the calendar, and the groups of runs."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.groups import Calendar, Grouping, largest
from extend_mcp.runs.statistics import UNREAD, Group

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


def parts(count: int) -> list[tuple[str, int]]:
    return [("FAILED", count - 1), ("PROCESSED", 1)]


@given(st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=20), st.sampled_from(ZONES))
def test_a_course_has_every_run_and_no_gap(moments: list[tuple[int, bool]], zone: ZoneInfo) -> None:
    # Bring them close together: spans of hours and days are the usual ones.
    for divisor in (1, 100, 5000):
        near = Counter((1_700_000_000 + (moment - 1_600_000_000) // divisor) // 900 for moment, _ in moments)
        course = Calendar(zone).course(
            {(quarter, status): count for quarter, each in near.items() for status, count in parts(each)}
        )
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
    course = Calendar(ZONES[0]).course({(begin // 900 + 4 * hour, "PROCESSED"): 1 for hour in range(25)})
    assert course is not None
    assert (course.unit, set(course.runs)) == ("hour", {1})
    assert course.spans[2:4] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]
    assert {Calendar(ZONES[0]).span("day", begin + 3600 * hour) for hour in range(25)} == {"2026-10-25"}


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_a_time_that_no_calendar_has_is_unknown(unit: str) -> None:
    assert Calendar(ZONES[0]).span(unit, 1e12) == ""


def test_a_span_before_1970_is_named_too() -> None:
    assert Calendar(timezone.utc).span("hour", -1) == "1969-12-31T23:00Z"


@pytest.mark.parametrize(
    ("days", "unit"), [(46 / 24, "hour"), (60, "day"), (60 * 7, "week"), (58 * 28, "month"), (1e9, None)]
)
def test_a_course_has_the_smallest_spans_of_which_few_show_it(days: float, unit: str | None) -> None:
    calendar, last = Calendar(timezone.utc), round(days * 96)
    longer: dict[str | None, str | None] = {"hour": "day", "day": "week", "week": "month"}
    for quarter, expected in ((last, unit), (last + 1, longer.get(unit))):
        course = calendar.course({(quarter, "FAILED"): 1, (quarter, "PENDING"): 1, (0, "PENDING"): 1, (None, "X"): 1})
        assert (course and course.unit) == expected
        if course:
            assert (course.runs[0], course.runs[-1]) == (1, 2)
            assert (course.failed[0], course.failed[-1]) == (0, 1)
    assert calendar.course({}) is calendar.course({(None, "FAILED"): 3}) is None


@pytest.mark.parametrize(
    ("by", "facts", "group"),
    [
        ("workflow", ["w1"], Group("w1", "Invoices", "w1")),
        ("version", ["w1", "3"], Group("w1 3", "Invoices, version 3")),
        ("version", ["gone", ""], Group("gone ?", ", version ?")),
        ("status", [""], Group("", "")),
        ("batch", [None], Group("no batch", "no batch")),
        ("batch", ["b1"], Group("b1", "b1")),
        ("reviewer", [""], Group("not reviewed", "not reviewed")),
        ("file_type", [""], Group("unknown", "unknown")),
        ("failure_reason", ["FAILED", "OCR_ERROR"], Group("OCR_ERROR", "OCR_ERROR")),
        ("failure_reason", ["FAILED", ""], Group("no reason given", "no reason given")),
        ("failure_reason", ["FAILED", None], UNREAD),
        ("failure_reason", ["PROCESSED", "X"], None),
        ("failing_step", ["FAILED", "w1", "read"], Group("Invoices: read", "Invoices: read")),
        ("failing_step", ["FAILED", "w1", ""], Group("before any step", "before any step")),
        ("failing_step", ["FAILED", "w1", None], UNREAD),
        ("failing_step", ["REJECTED", "w1", "read"], None),
        ("metadata", [True, "x" * 300], Group("x" * 200, "x" * 200)),
        ("metadata", [True, None], Group("(not set)", "(not set)")),
        ("metadata", [False, None], UNREAD),
        ("day", [92], Group("1970-01-02", "1970-01-02", is_time=True)),
        ("hour", [96], Group("1970-01-02T01:00Z", "1970-01-02T01:00Z", is_time=True)),
        ("day", [None], Group("unknown", "unknown")),
        ("day", [10**12], Group("unknown", "unknown")),
    ],
)
def test_a_group_is_a_fact_or_its_absence(by: str, facts: list[Any], group: Group | None) -> None:
    grouping = Grouping([by], Calendar(timezone.utc), shift=3600)
    assert len(grouping.columns) == len(facts)
    found = grouping.count([("FAILED", 0, None, None, None, *facts)], {"w1": "Invoices"})
    assert list(found.groups) == ([] if group is None or group is UNREAD else [(group,)])
    assert (found.total.runs, found.unread) == (1, int(group is UNREAD))


def test_each_of_several_groupings_has_its_own_facts() -> None:
    grouping = Grouping(["version", "day", "status"], Calendar(timezone.utc))
    assert grouping.columns == ["workflow_id", "version", "day", "status"]
    found = grouping.count([("FAILED", 0, None, None, None, "w1", "3", 0, "FAILED")], {"w1": "Invoices"})
    [groups] = found.groups
    assert [group.name for group in groups] == ["Invoices, version 3", "1970-01-01", "FAILED"]


def test_the_largest_group_is_first_and_of_equals_the_one_that_began_first() -> None:
    assert largest("abcbca", str) == [["a", "a"], ["b", "b"], ["c", "c"]]
    assert largest("abbb", str) == [["b", "b", "b"], ["a"]]
