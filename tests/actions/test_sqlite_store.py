"""Plans, used confirmations and leases in a file: two stores on one folder are two processes."""

from __future__ import annotations

import copy
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.sqlite_store import SqliteStore, state_folder
from extend_mcp.actions.store import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    PLAN_SECONDS,
    ActionStore,
    Plan,
    PlannedRun,
    StoreUnavailableError,
)

NOW = 1_800_000_000.0
KEYS = SealingKeys(["k" * 32])


class Folder:
    """A folder that several stores share, and their time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW

    def store(self, keys: SealingKeys = KEYS) -> SqliteStore:
        return SqliteStore(self.path, keys, now=lambda: self.now)

    def rows(self) -> int:
        with sqlite3.connect(self.path / "actions.sqlite3") as file:
            (number,) = file.execute("SELECT count(*) FROM kept").fetchone()
        file.close()
        return int(number)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "state" / "extend-mcp")


def plan_of(principal: str = "local", **fields: Any) -> Plan:
    runs = [PlannedRun(run_id=f"workflow_run_{number}", status="PENDING") for number in range(3)]
    given: dict[str, Any] = {"action": "cancel_runs", "principal": principal, "runs": runs, "question": ["Cancel 3?"]}
    return Plan(**{**given, "skipped": {}, "made_at": NOW, **fields})


async def found(store: ActionStore, plan: Plan, **other: Any) -> Plan | None:
    return await store.get(plan.id, **{"action": plan.action, "principal": plan.principal, "now": NOW, **other})


async def test_the_next_process_finds_the_plan_and_each_outcome(folder: Folder) -> None:
    one, other = folder.store(), folder.store()
    plan = plan_of()
    await one.put(plan)
    assert await found(other, plan) == plan
    stale = copy.deepcopy(plan)
    plan.runs[1].outcome = "cancelled"
    async with one.hold(plan) as ours:
        assert ours
        await one.save_run(plan, plan.runs[1])
    # What a process notes that read the plan before takes nothing back.
    async with other.hold(stale):
        await other.save_run(stale, stale.runs[0])
    assert await found(one, plan) == plan


async def test_another_account_action_or_hour_finds_no_plan(folder: Folder) -> None:
    store, plan = folder.store(), plan_of()
    await store.put(plan)
    assert await found(folder.store(SealingKeys(["other" * 8])), plan) is None
    assert await found(store, plan, now=NOW + PLAN_SECONDS) == plan
    for other in ({"principal": "ben"}, {"action": "rerun"}, {"now": NOW + PLAN_SECONDS + 1}):
        assert await found(store, plan, **other) is None


async def test_a_value_put_in_another_plan_s_place_does_not_count(folder: Folder) -> None:
    store, one, other = folder.store(), plan_of(), plan_of()
    for plan in (one, other):
        await store.put(plan)
    with sqlite3.connect(folder.path / "actions.sqlite3") as file:
        first, _, _, second, *_ = file.execute("SELECT rowid, value FROM kept WHERE field LIKE 'item:%' ORDER BY rowid")
        file.execute("UPDATE kept SET value = ? WHERE rowid = ?", (first[1], second[0]))
    file.close()
    assert await found(store, one) == one
    assert await found(store, other) is None


async def test_a_yes_is_used_once_among_all_processes(folder: Folder) -> None:
    one, other = folder.store(), folder.store()
    assert await one.use("proposal")
    assert not await other.use("proposal")
    await other.unuse("proposal")
    assert await one.use("proposal")
    folder.now += PLAN_SECONDS
    assert not await other.use("proposal")


async def test_processes_share_a_sum_that_none_passes(folder: Folder) -> None:
    for one, other in ((folder.store(), folder.store()), (SqliteStore(),) * 2):
        assert await one.add_up("credits", 60.5, most=100, seconds=60) == (True, 60.5)
        assert await other.add_up("credits", 40, most=100, seconds=60) == (False, 60.5)
        assert await other.add_up("credits", 39.5, most=100, seconds=60) == (True, 100)
        assert await one.add_up("credits", 0.5, most=100, seconds=60) == (False, 100)
        assert await one.add_up("credits", -100, most=50, seconds=60) == (True, 0)
        assert await other.add_up("others", 7, most=100, seconds=60) == (True, 7)
    folder.now += 61
    assert await folder.store().add_up("others", 9, most=9, seconds=60) == (True, 9)


async def test_a_lease_has_one_holder_and_ends_with_a_dead_one(folder: Folder) -> None:
    one, other, plan = folder.store(), folder.store(), plan_of()
    await one.put(plan)
    async with one.hold(plan) as ours:
        assert ours
        async with other.hold(plan) as theirs:
            assert not theirs
        # Another process's failed try has not released it.
        async with other.hold(plan) as theirs:
            assert not theirs
        # The holder hangs for longer than its lease: another takes over, and the first can save nothing more.
        folder.now += LEASE_SECONDS
        async with other.hold(plan) as theirs:
            assert theirs
            with pytest.raises(StoreUnavailableError):
                await one.save_run(plan, plan.runs[0])
            await other.save_run(plan, plan.runs[0])
    async with one.hold(plan) as ours:
        assert ours


async def test_a_value_that_its_holder_extends_does_not_end(folder: Folder) -> None:
    one, other = folder.store(), folder.store()
    assert await one._claim("lease", "mine", 20)
    folder.now += 15
    await one._extend("lease", "mine", 20)
    await other._extend("lease", "theirs", 99)
    await other._extend("another lease", "mine", 99)
    folder.now += 19
    assert not await other._claim("lease", "theirs", 20)
    folder.now += 1
    assert await other._claim("lease", "theirs", 20)
    # What one holds no longer, one neither extends nor gives back.
    await one._extend("lease", "mine", 0)
    folder.now += 19
    assert not await one._claim("lease", "mine", 20)


async def test_what_is_too_old_is_removed(folder: Folder) -> None:
    store = folder.store()
    await store.put(plan_of())
    await store.use("proposal")
    async with store.lease("run"):
        pass
    # The lease that was given back is removed by the next change.
    assert folder.rows() == 6
    folder.now += KEPT_SECONDS
    await store.use("another")
    assert folder.rows() == 1


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_200_proposals_of_one_caller_do_not_evict_another_s_plan(folder: Folder, kind: str) -> None:
    store: ActionStore = SqliteStore() if kind == "memory" else folder.store()
    mine = plan_of("ana")
    await store.put(mine)
    others = [plan_of("ben") for _ in range(200)]
    for plan in others:
        folder.now += 1
        await store.put(plan)
    assert await found(store, mine) == mine
    kept = [plan for plan in others if await found(store, plan)]
    assert kept == others[-20:]


async def test_a_broken_file_is_reported_at_once_or_when_it_breaks(folder: Folder) -> None:
    store = folder.store()
    with sqlite3.connect(folder.path / "actions.sqlite3") as file:
        file.execute("DROP TABLE kept")
    file.close()
    with pytest.raises(StoreUnavailableError):
        await store.put(plan_of())
    (folder.path / "actions.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreUnavailableError):
        folder.store()


def test_the_folder_is_the_platform_s_for_state() -> None:
    home = Path("/home/ana")
    assert state_folder({}, "linux", home) == home / ".local/state/extend-mcp"
    assert state_folder({"XDG_STATE_HOME": "/state"}, "linux", home) == Path("/state/extend-mcp")
    assert state_folder({"XDG_STATE_HOME": "relative"}, "linux", home) == home / ".local/state/extend-mcp"
    assert state_folder({"LOCALAPPDATA": "/local"}, "win32", home) == Path("/local/extend-mcp")
    assert state_folder({}, "win32", home) == home / "AppData/Local/extend-mcp"
