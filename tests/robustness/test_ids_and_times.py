"""Reading what people paste: an id or a time is found in any wrapping, and means the same when it is read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.ids import is_workflow_id, parse_batch_id, parse_run_id
from extend_mcp.runs.times import format_instant, format_span, parse_moment

NOW = datetime(2026, 2, 10, 9, 30, tzinfo=timezone.utc)
TAIL = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=60)
SPACE = st.text(" \t\n\r", max_size=3)
AROUND = st.builds("{}{}{}".format, SPACE, st.text("\"'`<>", max_size=3), SPACE)
KINDS = st.sampled_from(["workflow_run_", "batch_", "file_", "workflow_", "wf_", "step_", "exr_", "ws_", "req_"])
# Before year 1000 the C library writes a year with fewer digits.
INSTANTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30), timezones=st.just(timezone.utc))  # noqa: DTZ001


@given(TAIL, AROUND, AROUND)
def test_a_run_id_is_found_in_any_quotes(tail: str, before: str, after: str) -> None:
    run_id = f"workflow_run_{tail}"
    assert parse_run_id(f"{before}{run_id}{after}") == run_id
    assert parse_batch_id(f"{before}batch_{tail}{after}") == f"batch_{tail}"


@given(TAIL, st.sampled_from(["", "/", "/steps", "/steps/2?tab=x", "?a=b#c", "#workflow_run_other"]), AROUND)
def test_a_run_id_is_found_in_its_address(tail: str, rest: str, around: str) -> None:
    run_id = f"workflow_run_{tail}"
    address = f"https://dashboard.extend.ai/ws_1/workflows/workflow_abc/{run_id}{rest}"
    assert parse_run_id(f"{around}{address}{around}") == run_id


@pytest.mark.parametrize("parse", [parse_run_id, parse_batch_id])
@given(st.text(max_size=80) | st.builds(lambda kind, tail: f"{kind}{tail}", KINDS, st.text(max_size=30)))
def test_what_is_read_is_read_alike_again(parse: Callable[[str], str], text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(found) == found
    assert found in text or "%" in text


@given(KINDS, TAIL)
def test_an_id_of_another_kind_is_never_a_run(kind: str, tail: str) -> None:
    if kind == "workflow_run_" or f"{kind}{tail}".startswith("workflow_run_"):
        return
    with pytest.raises(ValueError, match="is not a workflow run id"):
        parse_run_id(f"{kind}{tail}")
    assert not is_workflow_id(f"workflow_run_{tail}")


@given(INSTANTS)
def test_an_instant_that_is_shown_can_be_given_back(moment: datetime) -> None:
    assert parse_moment(format_instant(moment), NOW) == moment.replace(microsecond=0)


@given(INSTANTS, st.integers(-14 * 60, 14 * 60))
def test_an_instant_means_the_same_in_every_zone(moment: datetime, minutes: int) -> None:
    there = moment.astimezone(timezone(timedelta(minutes=minutes))) if moment.year < 9999 else moment
    assert parse_moment(there.isoformat(), NOW) == moment


@given(st.integers(0, 10**7), st.sampled_from("smhdw"), st.sampled_from(["", " ", " ago"]))
def test_a_span_lies_before_now_and_a_longer_one_no_later(amount: int, unit: str, rest: str) -> None:
    text = f"{amount}{unit}{rest if rest != ' ' else ''}"
    if amount >= 10**6:
        with pytest.raises(ValueError, match="span before now"):
            parse_moment(text, NOW)
        return
    moment = parse_moment(text, NOW)
    assert moment <= NOW
    assert parse_moment(f"{max(amount - 1, 0)}{unit}", NOW) >= moment


@given(st.floats(-1e12, 1e12))
def test_a_span_is_shown_in_two_units_at_most(seconds: float) -> None:
    shown = format_span(seconds)
    assert 1 <= len(shown.split(" ")) <= 2
    sizes = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    total = sum(int(part[:-1]) * sizes[part[-1]] for part in shown.split(" "))
    least = sizes[shown.split(" ")[-1][-1]] if len(shown.split(" ")) > 1 else sizes[shown[-1]] * 60
    assert abs(total - max(0.0, seconds)) < max(least, 1) * 60
