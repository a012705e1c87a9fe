from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from extend_mcp.runs.reruns import Repeat, chains, created_first, fate, later_runs, same_files
from extend_mcp.runs.statistics import RunFacts

START = datetime(2026, 2, 10, tzinfo=timezone.utc)


def run(name: str, minute: int | None = 0, files: str = "f1", **known: Any) -> RunFacts:
    created = None if minute is None else START + timedelta(minutes=minute)
    listed = "\n".join(f"{each}\t{each}.pdf" for each in files.split())
    facts: dict[str, Any] = dict.fromkeys(RunFacts._fields[:12]) | {"id": name, "status": "FAILED", "workflow_id": "w"}
    return RunFacts(**{**facts, "created": created, "files": listed, **known})


def names(groups: list[list[RunFacts]]) -> list[list[str]]:
    return [[each.id for each in group] for group in groups]


def test_runs_of_the_same_files_and_workflow_are_grouped_oldest_first() -> None:
    runs = [run("c", 3), run("a", 1), run("x", 2, files="f2 f1"), run("y", 1, files="f1 f2"), run("none", files="")]
    runs += [run("other", 1, workflow_id="v"), run("b", 1), run("never", None)]
    assert names(same_files(runs)) == [["never", "a", "b", "c"], ["y", "x"], ["other"]]
    later = {name: [each.id for each in found] for name, found in later_runs(runs).items()}
    assert later == {"never": ["a", "b", "c"], "a": ["b", "c"], "b": ["c"], "y": ["x"]}
    assert created_first(run("never", None)) < created_first(run("a"))


def test_a_mark_joins_runs_of_other_files() -> None:
    runs = [
        run("a", 1),
        run("b", 2),
        run("again", 3, files="f9"),
        run("third", 4, files="f8"),
        run("alone", 5, files=""),
    ]
    marks = {"again": "a", "third": "again", "b": "a", "gone": "a", "alone": "gone"}
    assert names(chains(runs, marks)) == [["a", "b", "again", "third"], ["alone"]]
    assert names(chains(iter(runs[:3]), {})) == [["a", "b"], ["again"]]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "never_rerun"),
        (["FAILED"], "failed_again"),
        (["FAILED", "CANCELLED"], "failed_again"),
        (["FAILED", "PROCESSING"], "running"),
        (["PENDING"], "running"),
        (["PROCESSING", "PROCESSED"], "resolved"),
        (["PROCESSED", "FAILED"], "resolved"),
    ],
)
def test_what_became_of_a_failure(statuses: list[str], expected: str) -> None:
    chain = [run("first", status="PROCESSED"), *(run(f"{place}", status=each) for place, each in enumerate(statuses))]
    assert fate(chain) == expected


def test_a_repeat_says_what_it_cost_how_late_it_came_and_between_which_batches() -> None:
    first = run("a", 0, credits=9.0, batch_id="one")
    again = [
        run("b", 2, credits=2.5, batch_id="two"),
        run("c", 5, credits=None, batch_id="three"),
        run("d", 6, credits=1.0),
    ]
    repeat = Repeat(first, again)
    assert (repeat.credits, repeat.seconds_apart, repeat.batches) == (3.5, 120.0, ("one", "two"))
    for other in (run("b", None, batch_id="one"), run("b", None)):
        assert Repeat(first, [other]).seconds_apart is None
        assert Repeat(first, [other]).batches is None
    assert Repeat(run("a", None), again).seconds_apart is None
    assert Repeat(run("a"), again).batches is None
