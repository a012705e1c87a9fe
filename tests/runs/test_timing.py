"""Since when a run is in its present state, how long such runs usually take, and which of them hang."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from extend_mcp.api.models import WorkflowRun, WorkflowRunSummary
from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.timing import (
    Began,
    UsualTime,
    present_state,
    stalls,
    stuck_runs,
    timings,
    usual_time,
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
    assert present_state(WorkflowRun(), None) == Began(None, None)


def done(minutes: float, pages: int | None, **fields: Any) -> WorkflowRunSummary:
    """A processed run."""
    return WorkflowRunSummary.model_validate(
        {
            "startTime": at(100).isoformat(),
            "endTime": at(100 - minutes).isoformat(),
            "files": [{"metadata": {"pageCount": pages}}],
            **fields,
        }
    )


def moving(pages: int | None) -> WorkflowRun:
    """A run of so many pages."""
    return WorkflowRun.model_validate({"files": [{"metadata": {"pageCount": pages}}]})


def test_usual_is_the_time_of_runs_of_about_the_same_size() -> None:
    small, large = [done(n, 2) for n in (1, 2, 3, 4, 5)], [done(50, 100)] * 5
    usual = usual_time(moving(3), timings([*small, *large]))
    assert usual
    assert (usual.runs, usual.p50, usual.p95, usual.sizes) == (5, 180, 300, (2, 2))
    assert usual.words(None) == "3m, 95% within 5m (5 processed runs of 2 pages)"
    assert usual.words(299).endswith("; this one is within that")
    assert usual.words(301).endswith("; this one takes longer")


def test_other_sizes_are_scaled_and_few_runs_are_said_to_be_few() -> None:
    usual = usual_time(moving(40), timings([done(1, 2), done(2, 8)]))
    assert usual
    assert usual.words(60) == (
        "1m, at most 2m (only 2 processed runs of 2-8 pages); none was of about 40 pages: the nearest, of 8, took 2m, "
        "and at its pace this one takes 10m"
    )
    unknown = usual_time(moving(None), timings([done(1, None)]))
    assert unknown
    assert unknown.words(10) == "1m, at most 1m (only 1 processed run); this one is within that"


def test_the_time_of_a_person_does_not_count() -> None:
    reviewed = done(90, 2, reviewedAt=at(10).isoformat())
    assert usual_time(moving(2), timings([reviewed])) is None
    usual = usual_time(moving(2), timings([reviewed, done(1, 2)]))
    assert usual
    assert usual.p95 == 60


def test_a_run_at_the_95th_percentile_is_within_it() -> None:
    usual = UsualTime(7, (1, 1), 60, 90)
    assert [usual.words(seconds).rpartition("this one ")[2] for seconds in (90, 90.5)] == [
        "is within that",
        "takes longer",
    ]


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
    found, unjudged = stuck_runs([fact(99, status, changed=changed)], usual_times(ended(STEADY)), NOW)
    assert bool(found) == hangs
    assert unjudged == 0


def test_a_review_says_nothing_about_speed() -> None:
    reviewed = [each._replace(duration_seconds=90_000.0, reviewer="ana") for each in ended(STEADY)]
    found, _ = stuck_runs([fact(99, "PROCESSING", changed=100)], usual_times(ended(STEADY) + reviewed), NOW)
    assert [each.usual for each in found] == [78.0]


def test_pages_count_where_they_explain_more() -> None:
    pages = [1 + 10 * (number % 5) for number in range(20)]
    by_page = usual_times(ended([3.0 * count + number % 2 for number, count in enumerate(pages)], pages))
    small, large = fact(1, "PROCESSING", changed=200, pages=2), fact(2, "PROCESSING", changed=200, pages=100)
    assert [each.run.id for each in stuck_runs([small, large], by_page, NOW)[0]] == ["workflow_run_1"]
    # Times that do not follow the pages are compared as they are.
    flat = usual_times(ended(STEADY, pages))
    assert len(stuck_runs([small, large], flat, NOW)[0]) == 2
    # Small figures that differ much are no better than large ones that differ little.
    near = usual_times(ended([100.0 + 4 * (number % 3) for number in range(20)], [10, 100] * 10))
    assert [each.usual for each in stuck_runs([small, large], near, NOW)[0]] == [108.0, 108.0]


def test_too_few_runs_show_no_usual_time() -> None:
    runs = [fact(99, "PROCESSING", changed=9_000), fact(98, "CANCELLING", changed=9_000)]
    found, unjudged = stuck_runs(runs, usual_times(ended(STEADY[:4])), NOW)
    assert [each.run.status for each in found] == ["CANCELLING"]
    assert unjudged == 1
    assert stuck_runs(runs, usual_times(ended(STEADY[:5])), NOW)[1] == 0


def test_a_queue_is_usual_up_to_its_95th_percentile() -> None:
    waited = [each._replace(queue_seconds=100.0 + number) for number, each in enumerate(ended(STEADY))]
    waiting = [fact(98, "PENDING", changed=118), fact(99, "PENDING", changed=119)]
    found, _ = stuck_runs(waiting, usual_times(waited), NOW)
    assert [(each.run.id, each.usual) for each in found] == [("workflow_run_99", 118.0)]


def test_stalls_count_what_runs_and_what_hangs() -> None:
    other: dict[str, Any] = {"workflow_id": "workflow_2", "workflow_name": "Claims"}
    running = [fact(97, "PROCESSING", changed=500), fact(98, "PROCESSING", changed=1), fact(99, "PROCESSING", **other)]
    # A run that waits or is being cancelled may hang too, but does not run.
    running += [fact(95, "CANCELLING", changed=500), fact(96, "PENDING", changed=500)]
    over = ended(STEADY) + [each._replace(**other) for each in ended(STEADY)]
    over.append(fact(94, changed=40, duration_seconds=60.0))
    stuck, _ = stuck_runs(running, usual_times(over), NOW)
    assert len(stuck) == 3
    assert [(each.workflow, each.stuck, each.running, each.last_good) for each in stalls(stuck, running, over)] == [
        ("Invoices", 1, 2, NOW),
        ("Claims", 0, 1, NOW),
    ]
