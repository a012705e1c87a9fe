"""The store of runs: its file, its bounds, and what one account can see of another."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr

from extend_mcp.accounts import Account
from extend_mcp.history.database import StoreLostError
from extend_mcp.history.details import RunDetails
from extend_mcp.history.store import KeptLimits, RunStore
from extend_mcp.runs.groups import Calendar, Grouping
from extend_mcp.runs.statistics import RunFacts, Selection, Waiting

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
EVERYTHING = Selection()
ANN, BEN = b"ann" * 11, b"ben" * 11


def run(number: int, *, status: str = "PROCESSED", changed: int = 0) -> RunFacts:
    created = NOW - timedelta(minutes=number)
    return RunFacts(
        id=f"workflow_run_{number}",
        status=status,
        workflow_id="workflow_1",
        workflow_name="Invoices",
        version="3",
        file_type="PDF",
        batch_id=None,
        created=created,
        updated=created + timedelta(seconds=changed),
        duration_seconds=12.345678,
        queue_seconds=None,
        credits=2.5,
        files=f"file_a{number}\ta.pdf\nfile_b{number}\tb.pdf",
        pages=None if number % 2 else number,
    )


def fill(store: RunStore, account: bytes, runs: list[RunFacts], *, asked_at: float = 0.0) -> None:
    held = store.begin_pass(account, asked_at, 0.0)
    store.save_page(account, held.number, runs, -float("inf"), None)
    store.coverage(account, asked_at)


def test_runs_come_back_as_they_were_newest_first() -> None:
    store = RunStore()
    runs = [run(number) for number in range(5)]
    fill(store, ANN, runs[::-1])
    assert store.select(ANN, EVERYTHING) == runs
    edge = runs[2].created
    assert edge
    assert store.select(ANN, Selection(since=edge.timestamp())) == runs[:3]
    assert store.select(ANN, Selection(before=edge.timestamp())) == runs[3:]
    assert store.select(ANN, Selection(status="FAILED")) == []
    assert store.select(ANN, Selection(workflow_id="workflow_1", batch="batch_1")) == []


def test_an_account_sees_nothing_of_another() -> None:
    store = RunStore()
    fill(store, ANN, [run(1)])
    fill(store, BEN, [run(2)])
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_1"]
    store.forget(ANN, "workflow_run_2", deleted=True)
    assert [each.id for each in store.select(BEN, EVERYTHING)] == ["workflow_run_2"]
    assert store.select(b"eve" * 11, EVERYTHING) == []


def test_key_workspace_and_address_make_the_partition_and_no_key_is_in_the_file(tmp_path: Path) -> None:
    key = "sk_canary_91c2"
    account = Account(SecretStr(key), "ws_1")
    names = {
        account.fingerprint("history", "https://a"),
        account.fingerprint("history", "https://b"),
        Account(SecretStr(key), "ws_2").fingerprint("history", "https://a"),
        Account(SecretStr(f"{key}x"), "ws_1").fingerprint("history", "https://a"),
    }
    assert len(names) == 4
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, account.fingerprint("history", "https://a"), [run(1)])
    store.close()
    assert b"canary" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


def test_only_the_owner_can_read_the_file_and_its_companions(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch(mode=0o644)
    store = RunStore(str(path))
    fill(store, ANN, [run(1)])
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("runs.db", "runs.db-wal", "runs.db-shm"), 0o600)


def test_a_file_outlives_its_process_and_two_connections_share_it(tmp_path: Path) -> None:
    one, other = RunStore(str(tmp_path / "runs.db")), RunStore(str(tmp_path / "runs.db"))
    fill(one, ANN, [run(1)])
    other.save_changes(ANN, [run(1, status="FAILED", changed=5)])
    assert [each.status for each in one.select(ANN, EVERYTHING)] == ["FAILED"]
    # An older page does not undo a newer one.
    one.save_changes(ANN, [run(1)])
    assert [each.status for each in other.select(ANN, EVERYTHING)] == ["FAILED"]


def test_a_pass_that_another_process_replaced_claims_no_coverage(tmp_path: Path) -> None:
    one, other = RunStore(str(tmp_path / "runs.db")), RunStore(str(tmp_path / "runs.db"))
    mine = one.begin_pass(ANN, 1.0, 0.0)
    theirs = other.begin_pass(ANN, 2.0, 0.0)
    after = one.save_page(ANN, mine.number, [run(1)], -float("inf"), None)
    assert after == theirs
    assert not after.covers(-float("inf"))
    assert one.select(ANN, EVERYTHING) == []


def test_a_new_pass_drops_what_it_does_not_see() -> None:
    store = RunStore()
    fill(store, ANN, [run(1), run(2)])
    fill(store, ANN, [run(2)])
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_2"]


def test_a_deleted_run_never_returns_and_one_not_found_may() -> None:
    store = RunStore()
    fill(store, ANN, [run(1), run(2)])
    store.forget(ANN, "workflow_run_1", deleted=True)
    store.forget(ANN, "workflow_run_2", deleted=False)
    store.save_changes(ANN, [run(1), run(2)])
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_2"]


def test_the_account_asked_for_least_recently_makes_room() -> None:
    store = RunStore(limits=KeptLimits(rows=10))
    fill(store, ANN, [run(number) for number in range(4)], asked_at=1.0)
    fill(store, BEN, [run(number) for number in range(4)], asked_at=2.0)
    eve = b"eve" * 11
    fill(store, eve, [run(number) for number in range(4)], asked_at=3.0)
    store.trim(eve)
    assert [len(store.select(account, EVERYTHING)) for account in (ANN, BEN, eve)] == [0, 4, 4]


@pytest.mark.parametrize("limits", [KeptLimits(rows=50), KeptLimits(bytes=150_000)])
def test_an_account_that_is_too_large_keeps_its_newest_runs_and_says_so(limits: KeptLimits) -> None:
    store = RunStore(limits=limits)
    runs = [run(number) for number in range(2000)]
    fill(store, ANN, runs)
    store.trim(ANN)
    kept = store.select(ANN, EVERYTHING)
    assert 0 < len(kept) < 2000
    assert kept == runs[: len(kept)]
    held = store.coverage(ANN, 1.0)
    assert held.is_full
    assert not held.covers(-float("inf"))
    newest = kept[0].created
    assert newest
    assert held.covers(newest.timestamp())


@pytest.mark.parametrize("where", ["schema", "page"])
def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(number) for number in range(2000)])
    store.close()
    content = bytearray(path.read_bytes())
    begin = 100 if where == "schema" else 4096
    content[begin : begin + 200_000] = b"\xa5" * len(content[begin : begin + 200_000])
    path.write_bytes(content)
    store = RunStore(str(path))
    if where == "page":
        with pytest.raises(StoreLostError):
            store.select(ANN, EVERYTHING)
    fill(store, ANN, [run(1)])
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_1"]
    assert len(list(tmp_path.glob("runs.db.damaged-*"))) == 1
    assert "is damaged" in caplog.text


def test_a_file_of_another_program_or_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    foreign, newer = tmp_path / "foreign.db", tmp_path / "newer.db"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE theirs (x)")
    RunStore(str(newer)).close()
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 99")
    for path in (foreign, newer):
        with pytest.raises(StoreLostError, match="was not changed"):
            RunStore(str(path))
    with sqlite3.connect(foreign) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    with pytest.raises(StoreLostError):
        RunStore(str(tmp_path / "link.db"))
    assert not (tmp_path / "target.db").exists()


def test_a_full_disk_loses_the_write_and_nothing_else(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "runs.db"))
    fill(store, ANN, [run(1)])
    # SQLite reports the same error when the file may not grow as when the disk is full.
    store._database.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreLostError, match="full"):
        store.save_changes(ANN, [run(number) for number in range(5000)])
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_1"]
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_a_killed_process_leaves_what_it_committed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    script = (
        "import sys, time\n"
        "from extend_mcp.history.store import RunStore\n"
        "from tests.history.test_store import ANN, fill, run\n"
        f"store = RunStore({str(path)!r})\n"
        "fill(store, ANN, [run(1)])\n"
        "store._database.execute('BEGIN IMMEDIATE')\n"
        "store._database.execute('DELETE FROM runs')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    store = RunStore(str(path))
    assert [each.id for each in store.select(ANN, EVERYTHING)] == ["workflow_run_1"]


def test_clear_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(number) for number in range(100)])
    assert store.clear() == (100, 1)
    assert store.select(ANN, EVERYTHING) == []
    assert b"workflow_run_" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


def test_figures_by_groups_equal_those_of_the_runs() -> None:
    store = RunStore()
    runs = [
        run(number, status=("PROCESSED", "FAILED", "PENDING")[number % 3])._replace(version=str(number % 2))
        for number in range(30)
    ]
    fill(store, ANN, runs)
    fill(store, BEN, runs[:5])
    edge = runs[20].created
    assert edge
    calendar = Calendar(timezone.utc)
    for by in (["version", "status"], ["day", "metadata"], ["hour"], ["failure_reason"], []):
        grouping = Grouping(by, calendar, shift=900)
        for wanted in (EVERYTHING, Selection(since=edge.timestamp()), Selection(version="1")):
            listed = store.select(ANN, wanted)
            expected = grouping.count_listed(listed, {})
            assert expected.total.runs == len(listed)
            assert store.figures(ANN, wanted, grouping, "customer") == expected
    found = store.figures(ANN, EVERYTHING, Grouping(["workflow"], calendar))
    assert (found.total.runs, found.total.failed, found.total.credits) == (30, 10, 75.0)
    assert found.oldest == {"PENDING": Waiting("workflow_run_29", runs[29].created)}
    assert [(group.name, tally.runs) for (group,), tally in found.groups.items()] == [("Invoices", 30)]


def test_runs_that_are_too_many_leave_what_was_read_of_the_others() -> None:
    store = RunStore(limits=KeptLimits(rows=50))
    runs = [run(number) for number in range(60)]
    fill(store, ANN, runs)
    store.save_details(ANN, [(each, RunDetails("PROCESSED")) for each in runs])
    store.trim(ANN)
    assert store.read_counts(ANN, EVERYTHING) == (50, 50, 0, 0)
