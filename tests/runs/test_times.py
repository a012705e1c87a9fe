from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.times import format_instant, format_span, parse_moment, parse_span, read_instant

NOW = datetime(2026, 2, 10, 9, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("90m", NOW - timedelta(minutes=90)),
        ("30 min", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2 weeks ago", NOW - timedelta(weeks=2)),
        ("now", NOW),
        ("today", datetime(2026, 2, 10, tzinfo=timezone.utc)),
        ("Yesterday", datetime(2026, 2, 9, tzinfo=timezone.utc)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=timezone.utc)),
        ("2026-02-01T10:00:00Z", datetime(2026, 2, 1, 10, tzinfo=timezone.utc)),
        ("2026-02-01T10:00:00z", datetime(2026, 2, 1, 10, tzinfo=timezone.utc)),
        ("2026-02-01T10:00:00+02:00", datetime(2026, 2, 1, 8, tzinfo=timezone.utc)),
        ("2026-02-01 10:00", datetime(2026, 2, 1, 10, tzinfo=timezone.utc)),
    ],
)
def test_moments_as_operators_write_them(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "24", "h", "-3d", "2026-13-01", "24hours of work", "0001-01-01T00:00+14:00"]
)
def test_other_texts_are_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r'^must be a span before now like "24h" or "7d", or an ISO time$'):
        parse_moment(text, NOW)
    with pytest.raises(ValueError, match=r'^must be a span like "24h" or "7d"$'):
        parse_span(text)
    assert read_instant(text) is None


def test_only_a_text_is_an_instant() -> None:
    assert read_instant(5) is None
    assert read_instant("2026-02-10T09:30:00Z") == NOW


@given(st.text(max_size=40))
def test_any_text_gives_an_instant_or_the_rule(text: str) -> None:
    try:
        moment = parse_moment(text, NOW)
    except ValueError:
        return
    assert moment.tzinfo is not None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (-3, "0s"),
        (42, "42s"),
        (200, "3m 20s"),
        (3600, "1h"),
        (3605, "1h"),
        (18_600, "5h 10m"),
        (1_047_600, "12d 3h"),
        (90_061, "1d 1h"),
    ],
)
def test_spans_have_at_most_two_units(seconds: float | None, text: str) -> None:
    assert format_span(seconds) == text


def test_one_time_format() -> None:
    assert (
        format_instant(datetime(2026, 2, 10, 11, 59, 58, 900_000, timezone(timedelta(hours=2))))
        == "2026-02-10T09:59:58Z"
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time is nine hours ahead of UTC."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system has no time zone of the process")
    with monkeypatch.context() as here:
        here.setenv("TZ", "XYZ-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_the_machine_s_own_time_zone_does_not_matter() -> None:
    late = datetime(2026, 2, 10, 20, 15, 42, 7, tzinfo=timezone.utc)
    assert parse_moment("today", late) == datetime(2026, 2, 10, tzinfo=timezone.utc)
    assert parse_moment("yesterday", late) == datetime(2026, 2, 9, tzinfo=timezone.utc)
    assert parse_moment("2026-02-01T10:00:00+02:00", late).utcoffset() == timedelta(0)
    assert parse_moment("2026-02-01 10:00", late) == datetime(2026, 2, 1, 10, tzinfo=timezone.utc)
    assert format_instant(late) == "2026-02-10T20:15:42Z"
