"""Measure questions to a file of a million kept runs, compared with a plain table of the same runs.

    python benchmarks/kept_runs.py [RUNS]

Prints Markdown, and fails if a ratio or a bound is missed. Needs 700 MB of disk for a million runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from kit.processes import resident_mb
from kit.report import Section, Target, median_of_ratios, show

from extend_mcp.history.details import Passage, RunDetails
from extend_mcp.history.search import TextQuery
from extend_mcp.history.store import KeptLimits, RunStore
from extend_mcp.runs.groups import Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, Selection, quantile

RUNS = 1_000_000
MOST_SECONDS, MOST_MB, MOST_OPENING = 3.0, 200.0, 0.5
MOST_RATIO = 2.0
BASELINE = "a plain table"

_ACCOUNT = b"account" * 4
_ROUNDS = 3
_PAGE = 1000
_READ_IN_FULL = 2_000
_NEWEST = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
_GROUPINGS = {
    "workflow": ["workflow"],
    "day": ["day"],
    "workflow by day": ["workflow", "day"],
    "failure reason": ["failure_reason"],
    "status": ["status"],
    "metadata key": ["metadata"],
}
_PLAIN = {
    "workflow": "workflow",
    "day": "CAST(created / 86400 AS INTEGER)",
    "workflow by day": "workflow, CAST(created / 86400 AS INTEGER)",
    "failure reason": "reason",
    "status": "status",
}
_LIMITS = KeptLimits(rows=10_000_000, bytes=10_000_000_000)


def made_up(count: int) -> Iterator[RunFacts]:
    """Return runs, the newest first."""
    chance = random.Random(16)
    workflows = [(f"workflow_{chance.getrandbits(100):x}", f"Workflow {number}") for number in range(12)]
    for number in range(count):
        created = _NEWEST - timedelta(seconds=30 * number)
        workflow, name = chance.choice(workflows)
        seconds = round(chance.lognormvariate(3.5, 1.0), 3)
        failed = chance.random() < 0.05
        yield RunFacts(
            id=f"workflow_run_{chance.getrandbits(120):x}",
            status="FAILED" if failed else "PROCESSED",
            workflow_id=workflow,
            workflow_name=name,
            version=str(chance.randint(1, 9)),
            file_type="PDF",
            batch_id=None,
            created=created,
            updated=created + timedelta(seconds=seconds),
            duration_seconds=seconds,
            queue_seconds=round(chance.random() * 20, 3),
            credits=float(chance.randint(1, 20)),
            files=f"file_{chance.getrandbits(120):x}\tinvoice-{number:07}.pdf",
            pages=chance.randint(1, 9),
        )


def fill(path: Path, plain: Path, count: int) -> float:
    """Write the runs to both files; return the seconds that ours took."""
    store, table = RunStore(str(path), _LIMITS), sqlite3.connect(plain)
    table.execute(
        "CREATE TABLE runs (id TEXT PRIMARY KEY, created REAL, updated REAL, status TEXT, workflow TEXT, version TEXT,"
        " file_type TEXT, batch TEXT, duration REAL, queue REAL, credits REAL, files TEXT, pages INTEGER, reason TEXT)"
    )
    number = store.begin_pass(_ACCOUNT, 0.0, 0.0).number
    taken = 0.0
    runs = made_up(count)
    while page := list(islice(runs, _PAGE)):
        begun = time.perf_counter()
        store.save_page(_ACCOUNT, number, page, -1.0, "token")
        taken += time.perf_counter() - begun
        table.executemany(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            [
                (
                    *(run.id, run.created.timestamp(), run.updated.timestamp(), run.status, run.workflow_id),
                    *(run.version, run.file_type, run.batch_id, run.duration_seconds, run.queue_seconds),
                    *(run.credits, run.files, run.pages),
                )
                for run in page
                if run.created and run.updated
            ],
        )
    store.save_page(_ACCOUNT, number, [], -float("inf"), None)
    for run in made_up(_READ_IN_FULL):
        step, reason = ("Extract", "OCR_ERROR") if run.status == "FAILED" else ("", "")
        details = RunDetails(
            *(run.status, step, reason),
            metadata={"customer": f"cust_{run.pages:04}"},
            texts=(Passage("page 1", f"Invoice INV-{run.id[-8:]} of {run.workflow_name} " + "lorem ipsum " * 200),),
        )
        store.save_details(_ACCOUNT, [(run, details)])
    store.close()
    table.commit()
    table.close()
    return taken


def ours(path: Path) -> dict[str, Any]:
    """Ask everything once, in a separate process."""
    idle, calendar = resident_mb(os.getpid()), Calendar(timezone.utc)
    opened, store = _timed(lambda: RunStore(str(path), _LIMITS))
    seconds, most = {}, 0.0
    with _Peak() as peak:
        for name, by in _GROUPINGS.items():

            def answer(by: list[str] = by) -> list[tuple[int, float | None, float | None]]:
                figures = store.figures(_ACCOUNT, Selection(), Grouping(by, calendar), "customer")
                return [
                    (each.runs, quantile(each.durations, 0.5), quantile(each.durations, 0.95))
                    for each in figures.groups.values()
                ]

            seconds[name], _ = _timed(answer)
        since = Selection(since=(_NEWEST - timedelta(days=7)).timestamp())
        seconds["workflow, last 7 days"], _ = _timed(
            lambda: store.figures(_ACCOUNT, since, Grouping(["workflow"], calendar))
        )
        last = next(made_up(1))
        seconds["find a text"], found = _timed(
            lambda: store.search(_ACCOUNT, Selection(), TextQuery(f"inv {last.id[-8:]}")).hits
        )
        assert [hit.run.id for hit in found] == [last.id]
        most = peak.most
    return {"opening": opened, "seconds": seconds, "mb": most - idle}


def plain(path: Path) -> dict[str, Any]:
    """Group the plain table as an engineer would: figures by SQL, percentiles of durations sorted in Python."""
    opened, table = _timed(lambda: sqlite3.connect(path))
    seconds = {}
    for name, keys in _PLAIN.items():

        def answer(keys: str = keys) -> None:
            figures = "count(*), sum(status = 'FAILED'), sum(credits)"
            table.execute(f"SELECT {keys}, {figures} FROM runs GROUP BY {keys}").fetchall()
            table.execute("SELECT CAST(created / 900 AS INTEGER), status, count(*) FROM runs GROUP BY 1, 2").fetchall()
            waiting = "status IN ('PENDING', 'NEEDS_REVIEW')"
            table.execute(f"SELECT status, id, min(created) FROM runs WHERE {waiting} GROUP BY status").fetchall()
            durations: dict[tuple[Any, ...], list[float]] = {}
            for *key, duration in table.execute(f"SELECT {keys}, duration FROM runs"):
                durations.setdefault(tuple(key), []).append(duration)
            for values in durations.values():
                values.sort()

        seconds[name], _ = _timed(answer)
    return {"opening": opened, "seconds": seconds}


class _Peak:
    """The most memory of this process while a block runs."""

    def __enter__(self) -> _Peak:
        self.most = resident_mb(os.getpid())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, resident_mb(os.getpid()))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def section(count: int = RUNS) -> Section:
    """Fill both files and ask them alternately."""
    result = Section("Kept runs")
    with tempfile.TemporaryDirectory() as folder:
        files = {"ours": Path(folder, "runs.db"), "plain": Path(folder, "plain.db")}
        filling = fill(files["ours"], files["plain"], count)
        sizes = {name: path.stat().st_size / 1e6 for name, path in files.items()}
        rounds = [{name: _in_a_process(name, path) for name, path in files.items()} for _ in range(_ROUNDS)]
    mine, base = [each["ours"] for each in rounds], [each["plain"] for each in rounds]
    rows = []
    for name in mine[0]["seconds"]:
        own = [each["seconds"][name] for each in mine]
        theirs = [each["seconds"].get(name) for each in base]
        ratio = "-"
        if None not in theirs:
            found = median_of_ratios(own, theirs)
            ratio = f"{found:.2f}"
            result.targets.append(Target(f"{count:,} kept runs by {name}", BASELINE, MOST_RATIO, found))
        rows.append([name, f"{min(own):.2f}", "-" if None in theirs else f"{min(theirs):.2f}", ratio])
        result.targets.append(Target(f"{name}, seconds", "the bound", MOST_SECONDS, min(own)))
    opening, memory = min(each["opening"] for each in mine), max(each["mb"] for each in mine)
    result.targets.append(Target("opening, seconds", "the bound", MOST_OPENING, opening))
    result.targets.append(Target("memory above idle, MB", "the bound", MOST_MB, memory))
    result.table(["question", "s", f"s for {BASELINE}", "ratio"], rows)
    result.say(
        f"{count:,} runs in a file of {sizes['ours']:.0f} MB ({BASELINE}: {sizes['plain']:.0f} MB), {_READ_IN_FULL:,} "
        f"of them read in full, written in {filling:.0f} s. Opening takes {opening * 1000:.0f} ms, and all questions "
        f"together take {memory:.0f} MB above idle. Seconds are processor time, the least of {_ROUNDS} rounds, "
        "each in a separate process, so that other programs on the machine count little. Each grouping gives runs, "
        "failures, credits and two percentiles a group, runs by quarters of an hour and the oldest that waits. "
        f"{BASELINE} does so by a GROUP BY for each, and by sorting in Python."
    )
    return result


def _in_a_process(name: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", name, str(path)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> int:
    """Measure and print; return 1 if a ratio or a bound is missed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("runs", nargs="?", type=int, default=RUNS)
    options.add_argument("--measure", nargs=2, metavar=("KIND", "PATH"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        kind, path = given.measure
        print(json.dumps((ours if kind == "ours" else plain)(Path(path))))
        return 0
    return show([section(given.runs)])


if __name__ == "__main__":
    sys.exit(main())
