"""Runs that hang: by the usual time of their workflow, by pages where these explain more, and by state."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from extend_mcp.runs.statistics import RunFacts
from extend_mcp.runs.stuck import stalls, stuck_runs, usual_times

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)


def run(number: int, status: str = "PROCESSED", *, changed: float = 0, **facts: Any) -> RunFacts:
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


def done(seconds: list[float], pages: list[int] | None = None, queue: float = 5.0) -> list[RunFacts]:
    return [
        run(number, duration_seconds=took, queue_seconds=queue, pages=pages[number] if pages else 1)
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
    found, unjudged = stuck_runs([run(99, status, changed=changed)], usual_times(done(STEADY)), NOW)
    assert bool(found) == hangs
    assert unjudged == 0


def test_a_review_says_nothing_about_speed() -> None:
    reviewed = [each._replace(duration_seconds=90_000.0, reviewer="ana") for each in done(STEADY)]
    found, _ = stuck_runs([run(99, "PROCESSING", changed=100)], usual_times(done(STEADY) + reviewed), NOW)
    assert [each.usual for each in found] == [78.0]


def test_pages_count_where_they_explain_more() -> None:
    pages = [1 + 10 * (number % 5) for number in range(20)]
    by_page = usual_times(done([3.0 * count + number % 2 for number, count in enumerate(pages)], pages))
    small, large = run(1, "PROCESSING", changed=200, pages=2), run(2, "PROCESSING", changed=200, pages=100)
    assert [each.run.id for each in stuck_runs([small, large], by_page, NOW)[0]] == ["workflow_run_1"]
    # Times that do not follow the pages are compared as they are.
    flat = usual_times(done(STEADY, pages))
    assert len(stuck_runs([small, large], flat, NOW)[0]) == 2


def test_too_few_runs_show_no_usual_time() -> None:
    runs = [run(99, "PROCESSING", changed=9_000), run(98, "CANCELLING", changed=9_000)]
    found, unjudged = stuck_runs(runs, usual_times(done(STEADY[:4])), NOW)
    assert [each.run.status for each in found] == ["CANCELLING"]
    assert unjudged == 1


def test_stalls_count_what_runs_and_what_hangs() -> None:
    other: dict[str, Any] = {"workflow_id": "workflow_2", "workflow_name": "Claims"}
    moving = [run(97, "PROCESSING", changed=500), run(98, "PROCESSING", changed=1), run(99, "PROCESSING", **other)]
    ended = done(STEADY) + [each._replace(**other) for each in done(STEADY)]
    stuck, _ = stuck_runs(moving, usual_times(ended), NOW)
    assert [(each.workflow, each.stuck, each.running, each.last_good) for each in stalls(stuck, moving, ended)] == [
        ("Invoices", 1, 2, NOW),
        ("Claims", 0, 1, NOW),
    ]
