"""The scenario `incident` holds exactly the events that its page in docs and its constants name."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest

from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.store import RunRecord
from extend_mcp.sandbox.scenarios import incident
from extend_mcp.sandbox.scenarios.sample_workflows import INVOICES
from tests.sandbox.kit import START, make_sandbox


@pytest.fixture(scope="module")
def night() -> Sandbox:
    return make_sandbox(scenario="incident")


def group(night: Sandbox, name: str) -> list[RunRecord]:
    return [night.store.runs[run_id] for run_id in night.story["runs"][name]]


def window(night: Sandbox, name: str) -> tuple[datetime, datetime]:
    times = night.story["times"][name]
    start, end = wire.read_timestamp(times["from"]), wire.read_timestamp(times["until"])
    assert start
    assert end
    return start, end


def name_of(record: RunRecord) -> str:
    return str(record.brief["workflow"]["name"])


def reason(run: dict[str, Any]) -> str:
    (failed,) = [step for step in run["stepRuns"] if step["status"] == "FAILED"]
    return str(wire.child_runs(failed["result"])[0]["failureReason"])


def test_the_groups_have_their_sizes_and_the_account_no_other_failures(night: Sandbox) -> None:
    sizes = {name: len(ids) for name, ids in night.story["runs"].items()}
    assert sizes["bad_version_failed"] == incident.BAD_VERSION_FAILED == 400
    assert sizes["out_of_credits"] == incident.OUT_OF_CREDITS_FAILED == 60
    assert sizes["password_protected"] + sizes["corrupt"] == 30
    assert sizes["lost_webhooks"] == incident.LOST_WEBHOOKS == 40
    assert sizes["hostile"] == 1
    assert night.store.counts() == {
        "PROCESSED": incident.RUNS - 490 - 165 - 35 - 30 - 2 - 20 - 5,
        "FAILED": 400 + 60 + 30,
        "NEEDS_REVIEW": incident.WAITING + incident.NEW_LAYOUT_WAITING,
        "REJECTED": incident.REJECTED + incident.NEW_LAYOUT_REJECTED,
        "CANCELLED": incident.CANCELLED,
        "CANCELLING": incident.STUCK_CANCELLING,
        "PROCESSING": incident.STALLED + incident.RUNNING,
        "PENDING": incident.QUEUED,
    }
    assert night.state()["story"] == night.story


@pytest.mark.parametrize("hour", [6, 7, 23])
def test_the_night_is_over_at_any_hour(hour: int) -> None:
    start = START - 10 * 3600 + hour * 3600
    night = Sandbox(SandboxSettings(scenario="incident"), SandboxClock(source=lambda: start))
    began, ended = window(night, "night")
    assert (began.hour, ended.hour, ended - began) == (12, 6, timedelta(hours=18))
    assert timedelta(minutes=30) <= night.started_at - ended < timedelta(hours=24.5)
    assert night.store.counts()["FAILED"] == 490
    assert max(record.updated_at for record in night.store) <= night.started_at


def test_a_seed_makes_the_same_night(night: Sandbox) -> None:
    same, other = make_sandbox(scenario="incident"), make_sandbox(scenario="incident", seed=2)
    assert same.story == night.story
    assert [record.summary() for record in same.store] == [record.summary() for record in night.store]
    assert other.store.counts() == night.store.counts()
    assert not set(other.store.runs) & set(night.store.runs)


def test_the_bad_version_fails_while_it_is_deployed(night: Sandbox) -> None:
    start, end = window(night, "bad_version")
    invoices = [record for record in night.store if name_of(record) == INVOICES]
    on_bad = {record.id for record in invoices if record.brief["workflowVersion"]["version"] == "4"}
    assert on_bad == set(night.story["runs"]["bad_version_failed"] + night.story["runs"]["bad_version_processed"])
    assert on_bad == {record.id for record in invoices if start <= record.created_at < end}
    for record in group(night, "bad_version_failed")[::50]:
        assert record.updated_at < end
        assert reason(record.run) == "PARSING_ERROR"
        (extract,) = [step["result"]["extractRun"] for step in record.run["stepRuns"] if step["stepType"] == "EXTRACT"]
        assert extract["extractorVersion"]["version"] == "2.0"
    workflow = next(each for each in night.store.workflows.values() if each.summary["name"] == INVOICES)
    assert [(each["version"], each["createdAt"]) for each in workflow.versions[3:5]] == [
        ("4", wire.timestamp(start)),
        ("5", wire.timestamp(end)),
    ]
    steps = [workflow.steps[night.story["versions"][name]] for name in ("before", "bad", "after")]
    assert steps[0] == steps[2] != steps[1]


def test_reruns_name_what_they_repeat(night: Sandbox) -> None:
    reruns = {record.brief["metadata"].get("rerunOf"): record for record in night.store}
    good = [reruns.get(run_id) for run_id in night.story["runs"]["bad_version_failed"][: incident.RERUN_GOOD]]
    assert [record and record.id for record in good] == night.story["runs"]["rerun_good"]
    assert {record.status for record in good if record} == {"PROCESSED"}
    again = [reruns.get(run_id) for run_id in night.story["runs"]["out_of_credits"][: incident.RERUN_FAILED_AGAIN]]
    assert [record and record.id for record in again] == night.story["runs"]["rerun_failed_again"]
    assert len(reruns) - 1 == incident.RERUN_GOOD + incident.RERUN_FAILED_AGAIN


def test_nothing_but_failures_in_the_hour_without_credits(night: Sandbox) -> None:
    start, end = window(night, "no_credits")
    inside = [record for record in night.store if start <= record.created_at < end]
    assert {record.id for record in inside} == set(night.story["runs"]["out_of_credits"])
    assert all(record.updated_at < end for record in inside)
    assert {reason(record.run) for record in inside[::10]} == {"OUT_OF_CREDITS"}
    assert len({name_of(record) for record in inside}) == 4


def test_the_vendors_new_layout_fails_one_check(night: Sandbox) -> None:
    start, _ = window(night, "new_layout")
    since = {
        record.id
        for record in night.store
        if name_of(record) == INVOICES
        and record.brief["files"][0]["name"].startswith("halvorsen-freight")
        and record.created_at >= start
    }
    names = ("new_layout_waiting", "new_layout_approved", "new_layout_rejected")
    assert since == {record.id for name in names for record in group(night, name)}
    run = group(night, "new_layout_rejected")[0].run
    check = run["stepRuns"][3]["result"]
    assert [rule["name"] for rule in check["rules"] if not rule["valid"]] == ["Subtotal plus tax equals total"]
    assert run["rejectionNote"] == incident.LAYOUT_NOTE
    assert run["stepRuns"][2]["result"]["extractRun"]["output"]["value"]["vendor_name"] == incident.LAYOUT_VENDOR


def test_the_parser_was_slow_for_an_hour_in_every_workflow(night: Sandbox) -> None:
    slow = group(night, "slow_parser")
    assert len({name_of(record) for record in slow}) == 4
    for record in slow[::60]:
        metrics = record.run["stepRuns"][0]["result"]["parseRun"]["metrics"]
        assert metrics["processingTimeMs"] > 0.6 * 1000 * (record.updated_at - record.created_at).total_seconds()
    usual = sorted(record.updated_at - record.created_at for record in night.store if record.status == "PROCESSED")
    assert min(record.updated_at - record.created_at for record in slow) > usual[int(len(usual) * 0.95)]


def test_stalled_runs_wait_in_one_step(night: Sandbox) -> None:
    for record in group(night, "stalled"):
        (current,) = [step for step in record.run["stepRuns"] if step["status"] == "PROCESSING"]
        assert current["step"]["name"] == incident.STALLED_STEP
        assert night.started_at - record.updated_at > timedelta(minutes=30)


def test_lost_events_are_those_of_all_runs_that_ended_in_their_window(night: Sandbox) -> None:
    start, end = window(night, "lost_webhooks")
    ended = {record.id for record in night.store if start <= record.updated_at < end}
    lost = set(night.story["runs"]["lost_webhooks"])
    assert ended == lost == {each.subject_id for each in night.outbox.deliveries}
    assert {night.store.runs[run_id].status for run_id in lost} == {"PROCESSED"}
    assert {each.status for each in night.outbox.deliveries} == {"given_up"}


def test_twelve_files_were_processed_twice_without_intent(night: Sandbox) -> None:
    by_file: defaultdict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in night.store:
        if record.status == "PROCESSED" and "rerunOf" not in record.brief["metadata"]:
            by_file[name_of(record), record.brief["files"][0]["id"]].append(record)
    twice = {file: [each.id for each in records] for (_, file), records in by_file.items() if len(records) > 1}
    assert twice == {each["fileId"]: each["runs"] for each in night.story["processedTwice"]}
    assert len(twice) == incident.BATCH_FILES + incident.SENT_TWICE == 12
    batches = Counter(record.brief["batchId"] for record in group(night, "batch_run_twice"))
    assert batches == dict.fromkeys(night.story["batches"], incident.BATCH_FILES)


def test_one_document_alone_gives_orders(night: Sandbox) -> None:
    def text(record: RunRecord) -> str:
        chunks = record.run["stepRuns"][0]["result"]["parseRun"]["output"]["chunks"]
        return " ".join(chunk["content"] for chunk in chunks)

    (hostile,) = group(night, "hostile")
    assert incident.HOSTILE_TEXT in text(hostile)
    assert all(incident.HARMLESS_TEXT in text(record) for record in group(night, "harmless_words"))
    others = [record for record in night.store if record.status == "PROCESSED" and record is not hostile]
    assert not [record for record in others[::80] if "cancel_workflow_run" in text(record)]
