"""Since when a run is in its present state, how long such runs usually take, and which of them hang."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.timing import (
    Began,
    Usual,
    present_state,
    review_began,
    stuck_runs,
    usual_times,
)

NOW = datetime(2026, 2, 10, 12, tzinfo=timezone.utc)


def at(minutes: float) -> datetime:
    """So many minutes before now."""
    return NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("earliest", "latest", "said"),
    [
        (at(90), at(89.5), "since 2026-02-10T10:30:30Z (1h 29m ago)"),
        (at(10), at(9), "since 2026-02-10T11:51:00Z (9m ago)"),
        (
            at(10),
            at(8.9),
            "since some time between 2026-02-10T11:50:00Z (10m ago) and 2026-02-10T11:51:06Z (8m 54s ago)",
        ),
        (at(600), at(580), "since 2026-02-10T02:20:00Z (9h 40m ago)"),
        (
            at(90),
            at(10),
            "since some time between 2026-02-10T10:30:00Z (1h 30m ago) and 2026-02-10T11:50:00Z (10m ago)",
        ),
        (at(90), None, "since 2026-02-10T10:30:00Z (1h 30m ago) at the earliest"),
        (None, at(90), "since 2026-02-10T10:30:00Z (1h 30m ago)"),
        (None, None, ""),
    ],
)
def test_what_is_not_known_exactly_is_said_as_bounds(
    earliest: datetime | None, latest: datetime | None, said: str
) -> None:
    assert Began(earliest, latest).words(NOW) == said


def test_a_step_began_after_the_last_child_run_and_before_the_last_change() -> None:
    step = {"stepType": "EXTRACT", "result": {"extractRun": {"updatedAt": "2026-02-10T11:20:00.000Z"}}}
    odd = {"stepType": "EXTRACT", "result": {"extractRun": {"updatedAt": "soon"}}}
    run = WorkflowRun.model_validate({"startTime": "2026-02-10T11:00:00Z", "stepRuns": [step, odd]})
    assert present_state(run, at(30)) == Began(at(40), at(30))
    assert present_state(run, None) == Began(at(40), None)
    # A change that is older than what it should follow says nothing.
    assert present_state(run, at(50)) == Began(None, at(40))
    assert present_state(run, at(40)) == Began(at(40), at(40))
    assert present_state(WorkflowRun(), None) == Began(None, None)
    waiting = WorkflowRun.model_validate({"initialRunAt": "2026-02-10T11:00:00Z"})
    assert present_state(waiting, None) == Began(at(60), None)


@pytest.mark.parametrize(
    ("reviewed", "began"), [(None, None), (60, None), (50, None), (49, 50), (40, 50), (39, 40), (0, 40)]
)
def test_a_review_began_after_the_last_child_run_before_its_end(reviewed: float | None, began: float | None) -> None:
    steps = [
        {"stepType": "EXTRACT", "result": {"extractRun": {"updatedAt": at(minutes).isoformat()}}}
        for minutes in (40, 50)
    ]
    ended = {} if reviewed is None else {"reviewedAt": at(reviewed).isoformat()}
    run = WorkflowRun.model_validate({"stepRuns": steps, **ended})
    assert review_began(run) == (None if began is None else at(began))


def fact(number: int, status: str = "PROCESSED", *, changed: float = 0, **facts: Any) -> RunFacts:
    given: dict[str, Any] = {
        "id": f"workflow_run_{number}",
        "status": status,
        "workflow_id": "workflow_1",
        "workflow_name": "Invoices",
        "version": "1",
        "file_type": "PDF",
        "batch_id": None,
        "created": NOW - timedelta(seconds=max(changed, 10_000 if status != "PENDING" else 0)),
        "updated": NOW - timedelta(seconds=changed),
        "duration_seconds": None,
        "queue_seconds": None,
        "credits": None,
        "pages": 1,
    }
    return RunFacts(**{**given, **facts})


def ended(seconds: list[float], pages: list[int] | None = None, queue: float = 5.0) -> list[RunFacts]:
    return [
        fact(number, duration_seconds=took, queue_seconds=queue, pages=pages[number] if pages else 1)
        for number, took in enumerate(seconds)
    ]


STEADY = [60.0 + number for number in range(20)]


@pytest.mark.parametrize(
    ("status", "changed", "hangs"),
    [
        ("PROCESSING", 78, False),
        ("PROCESSING", 79, True),
        ("CANCELLING", 300, False),
        ("CANCELLING", 301, True),
        # The usual queue is five seconds, but a minute is never called stuck.
        ("PENDING", 60, False),
        ("PENDING", 61, True),
        ("NEEDS_REVIEW", 9_999, False),
        ("FAILED", 9_999, False),
    ],
)
def test_a_run_hangs_past_the_95th_percentile_of_its_state(status: str, changed: float, hangs: bool) -> None:
    judged = stuck_runs([fact(99, status, changed=changed)], ended(STEADY), NOW)
    found, unjudged = judged.stuck, judged.unjudged
    assert bool(found) == hangs
    assert unjudged == 0


def test_a_review_says_nothing_about_speed() -> None:
    slow = [each._replace(duration_seconds=90_000.0) for each in ended(STEADY)]
    reviewed = [each._replace(reviewer="ana") for each in slow] + [each._replace(reviewed=NOW) for each in slow]
    found = stuck_runs([fact(99, "PROCESSING", changed=100)], ended(STEADY) + reviewed, NOW).stuck
    assert [each.usual for each in found] == [78.0]


def test_pages_count_where_they_explain_more() -> None:
    pages = [1 + 10 * (number % 5) for number in range(20)]
    by_page = ended([3.0 * count + number % 2 for number, count in enumerate(pages)], pages)
    small, large = fact(1, "PROCESSING", changed=200, pages=2), fact(2, "PROCESSING", changed=200, pages=100)
    assert [each.run.id for each in stuck_runs([small, large], by_page, NOW).stuck] == ["workflow_run_1"]
    usual = usual_times(by_page)["workflow_1"]
    assert usual.words(10, 31.0) == "30s, 95% within 40s for 10 pages (20 processed runs); this one is within that"
    assert usual.words(None, None) == "1m 3s, 95% within 2m 4s (20 processed runs)"
    # Times that do not follow the pages are compared as they are.
    for flat in (ended(STEADY, pages), ended(STEADY, [10 + number % 11 for number in range(20)]), ended(STEADY)):
        assert usual_times(flat)["workflow_1"].page is None
        assert len(stuck_runs([small, large], flat, NOW).stuck) == 2


def test_a_run_may_take_no_time_and_one_that_never_started_shows_none() -> None:
    assert usual_times([*ended([0.0] * 5), fact(9)]) == {"workflow_1": Usual(5, (0.0, 0.0), None, 5.0)}


def test_too_few_runs_show_no_usual_time() -> None:
    runs = [fact(99, "PROCESSING", changed=9_000), fact(98, "CANCELLING", changed=9_000)]
    judged = stuck_runs(runs, ended(STEADY[:4]), NOW)
    found, unjudged = judged.stuck, judged.unjudged
    assert [each.run.status for each in found] == ["CANCELLING"]
    assert unjudged == 1
    assert stuck_runs(runs, ended(STEADY[:5]), NOW).unjudged == 0


def test_the_longest_is_first_whatever_comes_before_it() -> None:
    late = NOW - timedelta(seconds=500)
    runs = [
        fact(1, "PROCESSED", changed=900),
        fact(2, "PROCESSING", changed=100),
        fact(3, "PROCESSING", updated=None, created=None),
        fact(5, "PROCESSING", updated=None, created=late),
        # A summary's update says nothing of a run that still waits for its start.
        fact(4, "PENDING", changed=0, created=late),
        *(fact(number, status, workflow_id="new") for number, status in ((6, "PENDING"), (7, "PROCESSING"))),
    ]
    judged = stuck_runs(runs, ended(STEADY), NOW)
    found, unjudged = judged.stuck, judged.unjudged
    assert [(each.run.id[-1], each.seconds) for each in found] == [("4", 500), ("5", 500), ("2", 100)]
    assert unjudged == 2


def test_a_queue_is_usual_up_to_its_95th_percentile() -> None:
    waited = [each._replace(queue_seconds=100.0 + number) for number, each in enumerate(ended(STEADY))]
    waiting = [fact(98, "PENDING", changed=118), fact(99, "PENDING", changed=119)]
    found = stuck_runs(waiting, waited, NOW).stuck
    assert [(each.run.id, each.usual) for each in found] == [("workflow_run_99", 118.0)]


def test_stalls_count_what_runs_and_what_hangs() -> None:
    other: dict[str, Any] = {"workflow_id": "workflow_2", "workflow_name": "Claims"}
    running = [fact(97, "PROCESSING", changed=500), fact(98, "PROCESSING", changed=1), fact(99, "PROCESSING", **other)]
    # A run that waits or is being cancelled may hang too, but does not run.
    running += [fact(95, "CANCELLING", changed=500), fact(96, "PENDING", changed=500)]
    over = ended(STEADY) + [each._replace(**other) for each in ended(STEADY)]
    over += [fact(94, changed=40, duration_seconds=60.0), fact(93, updated=None), fact(92, "FAILED", changed=-5)]
    judged = stuck_runs(running, over, NOW)
    assert (len(judged.stuck), judged.moving) == (3, 5)
    assert [(each.workflow, each.stuck, each.running, each.last_good) for each in judged.stalls] == [
        ("Invoices", 1, 2, NOW),
        ("Claims", 0, 1, NOW),
    ]
