"""Facts of single runs: read once, kept until the run changes, and never seen by another account."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from extend_mcp.api.models import WorkflowRun
from extend_mcp.history.database import StoreLostError
from extend_mcp.history.details import CheckFacts, Passage, RunDetails, run_details
from extend_mcp.history.search import TextQuery
from extend_mcp.history.store import KeptLimits, RunStore
from extend_mcp.runs.statistics import Selection
from tests.harness import Box, example, example_run, facts_of, serving
from tests.history.test_store import ANN, BEN, EVERYTHING, fill, run
from tests.tools.test_triage import cause

SCENARIO = "empty"


def reads(box: Box) -> list[str]:
    """The runs that were read in full."""
    paths = [each["path"].rpartition("/") for each in box.requests()]
    return [run_id for folder, _, run_id in paths if folder == "/workflow_runs"]


async def groups(client: Client, **arguments: Any) -> tuple[dict[str, int], bool]:
    facts = facts_of(await client.call_tool("summarize_runs", arguments))
    return {group["group"]: group["runs"] for group in facts["groups"]}, facts["complete"]


@pytest.mark.parametrize(
    "filters",
    [
        pytest.param({}, id="all", marks=pytest.mark.thorough),
        pytest.param({"status": "FAILED"}, id="a narrow question"),
    ],
)
async def test_each_failed_run_is_read_once_and_questions_go_deeper(large: Box, filters: dict[str, str]) -> None:
    runs = [run for run in large.state()["runs"] if run["status"] == "FAILED"]
    causes = {run["id"]: cause(large, run["id"]) for run in runs}
    names = {each["id"]: each["name"] for each in large.state()["workflows"]}
    large.fault(path="/parse_runs", status=403, times=9)
    async with serving(large, detail_runs=350) as client:
        _, complete = await groups(client, group_by="failing_step", **filters)
        assert not complete
        assert len(reads(large)) == 350
        by_step, complete = await groups(client, group_by="failing_step", **filters)
        assert complete
        assert by_step == Counter(f"{names[run['workflowId']]}: {causes[run['id']][0]}" for run in runs)
        assert Counter(reads(large)) == Counter(run["id"] for run in runs)
        large.forget()
        by_reason, complete = await groups(client, group_by="failure_reason", **filters)
        assert complete
        assert by_reason == Counter(reason for _, reason in causes.values())
        assert reads(large) == []


async def test_lists_of_child_runs_say_why_runs_failed(large: Box) -> None:
    failed = [run for run in large.state()["runs"] if run["status"] == "FAILED"]
    names = {each["id"]: each["name"] for each in large.state()["workflows"]}
    by_reason = Counter(cause(large, run["id"])[1] for run in failed)
    by_step = Counter(f"{names[run['workflowId']]}: {cause(large, run['id'])[0]}" for run in failed)
    async with serving(large) as client:
        assert await groups(client, group_by="failure_reason") == (by_reason, True)
        asked = Counter(each["path"] for each in large.requests())
        lists = ("/parse_runs", "/extract_runs", "/classify_runs", "/split_runs")
        assert asked == {"/workflow_runs": 11} | dict.fromkeys(lists, 1)
        large.forget()
        assert await groups(client, group_by="failure_reason") == (by_reason, True)
        assert [each["path"] for each in large.requests()] == ["/workflow_runs"]
        large.forget()
        assert await groups(client, group_by="failing_step") == (by_step, True)
        assert reads(large) == [], "the definitions say which step starts parse runs"
        large.forget()
        assert await groups(client, group_by="failing_step") == (by_step, True)
        assert [each["path"] for each in large.requests()] == ["/workflow_runs"]


async def test_a_run_is_read_where_no_list_of_child_runs_explains_it(large: Box) -> None:
    large.fault(path="/parse_runs", status=403, times=1)
    async with serving(large, detail_runs=20) as client:
        explained, complete = await groups(client, group_by="failure_reason")
    assert sum(explained.values()) == 20
    assert not complete
    assert len(reads(large)) == 20


async def test_a_run_that_changed_is_read_again(box: Box) -> None:
    ids = [box.load(example_run(f"workflow_run_{number}", "PROCESSED")) for number in range(3)]
    async with serving(box) as client:
        customers = {"group_by": "metadata", "metadata_key": "customer"}
        before, _ = await groups(client, **customers)
        assert sorted(reads(box)) == ids
        box.advance(120)
        box.api("POST", f"/workflow_runs/{ids[1]}", json={"metadata": {"customer": "Globex"}})
        box.forget()
        assert await groups(client, **customers) == (before | {"(not set)": 2, "Globex": 1}, True)
        assert reads(box) == [ids[1]]
        box.forget()
        await groups(client, **customers)
        assert reads(box) == []


async def test_a_run_that_is_not_final_is_never_answered_from_memory(box: Box) -> None:
    box.load(example_run("workflow_run_1", "NEEDS_REVIEW"))
    async with serving(box) as client:
        for _ in range(2):
            box.forget()
            await groups(client, group_by="metadata", metadata_key="customer")
            assert reads(box) == ["workflow_run_1"]


def test_everything_of_a_run_is_taken() -> None:
    document = copy.deepcopy(example("workflow_run.allsteps"))
    document |= {"metadata": {"customer": "Acme", "amount": 12.5, "tags": ["a"]}}
    chunks = document["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"]
    chunks[:] = [
        {**chunks[0], "content": f"text {n}", "metadata": {"pageRange": {"start": n, "end": n}}} for n in (1, 2)
    ]
    details = run_details(WorkflowRun.model_validate(document))
    assert details.metadata == {"customer": "Acme", "amount": "12.5", "tags": '["a"]'}
    assert details.texts[-2:] == (Passage("page 1", "text 1"), Passage("page 2", "text 2"))
    assert Passage("field invoice_number", "INV-001") in details.texts
    assert Passage("field total", "120.5") in details.texts
    assert Passage("metadata amount", "12.5") in details.passages()
    assert [check[1:] for check in details.checks] == [
        ("lines ok", "RULE_FAILED (items 1)"),
        ("bad formula", "PARSE_ERROR, unexpected token"),
    ]
    assert details.texts[-3].text == "bad formula PARSE_ERROR, unexpected token"
    chunks[:] = [{**chunks[0], "content": content} for content in ("x" * 3_999_000, "y" * 2000, "z")]
    cut = run_details(WorkflowRun.model_validate(document))
    assert (details.is_cut, cut.is_cut) == (False, True)
    assert 3_999_900 < sum(len(text) for _, text in cut.texts) <= 4_000_000


DETAILS = RunDetails(
    "PROCESSED",
    checks=(CheckFacts("Check", "Total matches", "off by 3"),),
    metadata={"customer": "Acme", "lone": "\ud800"},
    texts=(Passage("field invoice_number", "INV-30627"), Passage("page 90", "Globex \ud800 Corporation")),
)


def test_another_account_sees_no_facts(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "runs.db"))
    for account in (ANN, BEN):
        fill(store, account, [run(1), run(2)])
    store.save_details(ANN, [(run(1), DETAILS)])
    assert store.details(ANN, ["workflow_run_1", "workflow_run_2"]) == {"workflow_run_1": DETAILS._replace(texts=())}
    assert store.metadata(ANN, EVERYTHING, "customer") == {"workflow_run_1": "Acme"}
    assert [hit.run.id for hit in store.search(ANN, EVERYTHING, TextQuery("globex")).hits] == ["workflow_run_1"]
    assert store.details(BEN, ["workflow_run_1"]) == {}
    assert store.metadata(BEN, EVERYTHING, "customer") == {}
    assert store.search(BEN, EVERYTHING, TextQuery("globex")).hits == []
    assert store.read_counts(BEN, EVERYTHING) == (2, 0, 0, 0)


@pytest.mark.parametrize("how", ["changed", "deleted", "gone", "not seen again", "account left"])
def test_facts_leave_with_their_run(how: str) -> None:
    store = RunStore(limits=KeptLimits(rows=2))
    fill(store, ANN, [run(1), run(2)])
    store.save_details(ANN, [(run(1), DETAILS)])
    if how == "changed":
        store.save_changes(ANN, [run(1, changed=9)])
    elif how in ("deleted", "gone"):
        store.forget(ANN, "workflow_run_1", deleted=how == "deleted")
    elif how == "not seen again":
        fill(store, ANN, [run(2)])
    else:
        fill(store, BEN, [run(3)])
        store.trim(BEN)
    assert store.details(ANN, ["workflow_run_1"]) == {}
    assert store.search(ANN, EVERYTHING, TextQuery("globex")).hits == []
    assert store._database.execute("SELECT count(*) FROM details").fetchone() == (0,)
    assert store._database.execute("SELECT rowid FROM words WHERE words MATCH 'glo'").fetchall() == []


def test_what_was_read_of_an_earlier_state_is_not_kept() -> None:
    store = RunStore()
    fill(store, ANN, [run(1, changed=9)])
    store.save_details(ANN, [(run(1), DETAILS), (run(1, changed=9), RunDetails("PROCESSING"))])
    assert store.unread(ANN, EVERYTHING, 9) == [run(1, changed=9)]


def test_facts_of_the_oldest_runs_make_room_first_and_are_not_read_again() -> None:
    store = RunStore(limits=KeptLimits(bytes=700_000))
    runs = [run(number) for number in range(200)]
    fill(store, ANN, runs)
    for each in runs:
        text = random.Random(each.id).randbytes(2000).hex()
        details = RunDetails("PROCESSED", metadata={"number": each.id}, texts=(Passage("page 1", text),))
        store.save_details(ANN, [(each, details)])
    store.trim(ANN)
    assert len(store.select(ANN, EVERYTHING)) == 200
    known = store.metadata(ANN, EVERYTHING, "number")
    assert set(known) == {each.id for each in runs[: len(known)]}
    assert 20 < len(known) < 200
    assert store.unread(ANN, EVERYTHING, 500) == []
    # What was learned of a failure stays.
    assert {each.reason for each in store.select(ANN, EVERYTHING)} == {""}


def test_selections_by_facts() -> None:
    store = RunStore()
    runs = [run(number, status="FAILED")._replace(files=f"file_{number}\tdocument {number}.pdf") for number in range(4)]
    fill(store, ANN, runs)
    found = [RunDetails("FAILED", metadata={"customer": f"c{n}", "half": f"{n % 2}"}) for n in range(3)]
    store.save_details(ANN, list(zip(runs, found, strict=False)))

    def ids(**conditions: Any) -> list[str]:
        return [each.id[-1] for each in store.select(ANN, Selection(**conditions))]

    assert ids(metadata={"customer": "c2"}) == ["2"]
    assert ids(metadata={"customer": "c2", "other": "x"}) == []
    assert ids(metadata={"half": "0"}) == ["0", "2"]
    assert ids(metadata={"half": "0", "customer": "c2"}) == ["2"]
    assert ids(file_id="file_3") == ["3"]
    assert ids(file_id="file_") == []


def test_a_file_of_the_schema_before_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(1)])
    store._database.execute("PRAGMA user_version = 1")
    store.close()
    assert RunStore(str(path)).select(ANN, EVERYTHING) == []


WORKER = """
import sys
from extend_mcp.history.details import Passage, RunDetails
from extend_mcp.history.store import RunStore
from tests.history.test_store import ANN, run
store = RunStore(sys.argv[1])
print("ready", flush=True)
number = int(sys.argv[2])
while number < int(sys.argv[3]):
    text = Passage("page 1", f"token{number} " * 50)
    store.save_details(ANN, [(run(number), RunDetails("PROCESSED", metadata={"by": sys.argv[2]}, texts=(text,)))])
    number += 1
print("done", flush=True)
"""


def worker(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(path), str(first), str(last)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_write_facts_to_one_file_while_a_third_reads(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(number) for number in range(60)])
    processes = [worker(path, 0, 30), worker(path, 30, 60)]
    while any(process.poll() is None for process in processes):
        for hit in store.search(ANN, EVERYTHING, TextQuery("token7")).hits:
            assert hit.run.id == "workflow_run_7"
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    assert store.read_counts(ANN, EVERYTHING) == (60, 60, 0, 0)
    found = [number for number in range(60) if store.search(ANN, EVERYTHING, TextQuery(f"token{number}")).hits]
    assert found == list(range(60))


def test_a_process_that_is_killed_while_it_writes_leaves_whole_facts(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(number) for number in range(5000)])
    process = worker(path, 0, 5000)
    while store.read_counts(ANN, EVERYTHING).read < 20:
        pass
    process.kill()
    process.communicate()
    store.close()
    store = RunStore(str(path))
    read = store.read_counts(ANN, EVERYTHING).read
    assert 20 <= read < 5000
    found = [n for n in range(read + 1) if store.search(ANN, EVERYTHING, TextQuery(f"token{n}")).hits]
    assert found == list(range(read))
    assert store._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_loses_facts_and_nothing_else(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "runs.db"))
    fill(store, ANN, [run(1), run(2)])
    store.save_details(ANN, [(run(1), DETAILS)])
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    large = RunDetails("PROCESSED", texts=(Passage("page 1", random.Random(1).randbytes(200_000).hex()),))
    with pytest.raises(StoreLostError, match="full"):
        store.save_details(ANN, [(run(2), large)])
    assert store.read_counts(ANN, EVERYTHING) == (2, 1, 0, 0)
    assert [hit.run.id for hit in store.search(ANN, EVERYTHING, TextQuery("globex")).hits] == ["workflow_run_1"]


def test_a_damaged_index_is_set_aside_with_its_file_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    store = RunStore(str(path))
    fill(store, ANN, [run(1)])
    store.save_details(ANN, [(run(1), DETAILS)])
    store._database.execute("UPDATE words_data SET block = x'a5a5a5a5a5a5a5a5'")
    with pytest.raises(StoreLostError):
        store.search(ANN, EVERYTHING, TextQuery("globex"))
    assert store.search(ANN, EVERYTHING, TextQuery("globex")).hits == []
    assert len(list(tmp_path.glob("runs.db.damaged-*"))) == 1
    assert "is damaged" in caplog.text


def test_clear_leaves_nothing_of_the_facts_on_the_disk(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "runs.db"))
    fill(store, ANN, [run(1)])
    store.save_details(ANN, [(run(1), DETAILS)])
    store.clear()
    content = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert all(part not in content for part in (b"Acme", b"30627", b"glo", b"obe"))
