"""The night of the scenario `incident`: 9,000 runs, and the questions of the person who is on call.

Each question is answered in at most two calls and 700 tokens, and the rerun starts exactly the right runs, once.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp.client.client import Client
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult

from evals.room import tokens
from extend_mcp.sandbox.scenarios import incident
from tests.harness import Box, facts_of, running_server, serving, text_of
from tests.hosting import Host

MOST_CALLS, MOST_TOKENS = 2, 700
SINCE = {"created_since": "2d"}
NEXT_PAGE = {"page_token": "of the answer before"}


@pytest.fixture
def night(host: Host) -> Iterator[Box]:
    with host.room("incident") as running:
        yield Box(running.base_url, running.sandbox)


def story(box: Box, name: str) -> list[str]:
    """The ids of the runs of one event of the night."""
    found: list[str] = box.sandbox.story["runs"][name]
    return found


def broken_for_good(box: Box) -> list[str]:
    """The runs that version 4 broke and that nobody has made good since."""
    return story(box, "bad_version_failed")[incident.RERUN_GOOD + incident.SENT_AGAIN :]


def failed_for_good(box: Box) -> set[str]:
    """The last failed run of each document that failed and is still open."""
    rerun = set(story(box, "out_of_credits")[: incident.RERUN_FAILED_AGAIN])
    names = ("out_of_credits", "password_protected", "corrupt")
    return {*broken_for_good(box), *(run_id for name in names for run_id in story(box, name))} - rerun


def customer(box: Box, run_id: str) -> str:
    """The customer that a run's metadata names."""
    found: str = box.sandbox.record(run_id).run["metadata"]["customer"]
    return found


class Morning:
    """The person who is on call, at the client."""

    def __init__(self, client: Client, box: Box) -> None:
        self._client = client
        self._box = box
        self.rows: list[str] = []

    async def ask(self, question: str, *calls: tuple[str, dict[str, Any]]) -> tuple[dict[str, Any], str]:
        """Ask, and return the facts of the last answer and the text of all. A call may name the page it continues."""
        assert len(calls) <= MOST_CALLS
        self._box.forget()
        results: list[CallToolResult] = []
        for tool, arguments in calls:
            if arguments == NEXT_PAGE:
                arguments = {"page_token": facts_of(results[-1])["next_page_token"]}
            results.append(await self._client.call_tool(tool, arguments))
        texts = [text_of(result) for result in results]
        spent = [tokens(text) for text in texts]
        said = ", ".join(tool for tool, _ in calls), " + ".join(map(str, spent)), len(self._box.requests())
        self.rows.append(f"| {question} | {said[0]} | {said[1]} | {said[2]} |")
        assert max(spent) <= MOST_TOKENS, f"{question}: {spent} tokens\n{texts}"
        text = "\n".join(texts)
        return facts_of(results[-1]), text


async def test_the_night_is_understood_in_a_few_short_answers(night: Box, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(night, toolsets=["runs", "incidents", "webhooks"]) as client:
        morning = Morning(client, night)

        _, text = await morning.ask(
            "What failed tonight, and of what?", ("summarize_runs", {**SINCE, "group_by": "failure_reason"})
        )
        for reason, count in (("PARSING_ERROR", 400), ("OUT_OF_CREDITS", 60), ("PASSWORD_PROTECTED_FILE", 18)):
            assert f"«{reason}» · {count} ·" in text

        facts, text = await morning.ask("What hangs, and is it us?", ("list_runs", {"stuck": True, "page_size": 40}))
        hanging = Counter(run["status"] for run in facts["runs"])
        assert {run["run_id"] for run in facts["runs"]} >= {*story(night, "stalled"), *story(night, "stuck_cancelling")}
        assert (hanging["PROCESSING"], hanging["CANCELLING"]) == (incident.STALLED, incident.STUCK_CANCELLING)
        assert "Probably ours" in text
        assert f"{incident.STALLED} of {incident.STALLED} hang in step «{incident.STALLED_STEP}»" in text

        facts, text = await morning.ask("What is still open?", ("list_open_failures", SINCE))
        assert (facts["failed_runs"], facts["documents"], facts["resolved"]) == (490, 486, 23)
        assert (facts["failed_again"], facts["open"]) == (incident.RERUN_FAILED_AGAIN, 463)
        assert f"- {len(broken_for_good(night))} PARSING_ERROR in «Extract invoice»" in text
        assert facts["complete"] is True

        facts, text = await morning.ask("What did we process and pay for twice?", ("list_done_twice", SINCE))
        twice = {tuple(each["runs"]) for each in night.sandbox.story["processedTwice"]}
        assert {tuple(each["run_ids"]) for each in facts["repeats"]} <= twice
        assert (facts["files"], facts["runs_too_many"], facts["complete"]) == (len(twice), len(twice), True)
        cost = sum(night.sandbox.record(second).run["usage"]["totalCredits"] for _, second in twice)
        assert facts["credits_again"] == cost
        first, second = night.sandbox.story["batches"]
        assert f"8 of them because batch {first} was run again as {second}." in text

        down = night.sandbox.story["times"]["lost_webhooks"]
        updated = {"updated_since": down["from"], "updated_before": down["until"]}
        missed = {"status": "PROCESSED", "ids_only": True, **updated}
        facts, text = await morning.ask(
            "Which results did we miss while our receiver was down?", ("list_runs", missed), ("list_runs", NEXT_PAGE)
        )
        assert sorted(re.findall(r"workflow_run_[\w-]+", text)) == sorted(story(night, "lost_webhooks"))
        assert facts["complete"] is True

        _, text = await morning.ask("Which endings is nobody notified of?", ("check_webhooks", {}))
        assert "«Insurance Claims Intake»" in text
        assert "failed, rejected, cancelled, needs_review" in text

        facts, text = await morning.ask(
            "Which of tonight's failures were customer 0412's?",
            ("list_open_failures", {**SINCE, "metadata": {"customer": "cust_0412"}}),
        )
        theirs = {run_id for run_id in failed_for_good(night) if customer(night, run_id) == "cust_0412"}
        assert set(facts["open_run_ids"]) <= theirs
        assert facts["open"] == len(theirs)

        _, text = await morning.ask(
            "Can what version 4 broke be rerun?",
            ("rerun_workflow_runs", {**SINCE, "workflow_version": "4", "failing_step": "extract invoice"}),
        )
        assert f"Rerun {len(broken_for_good(night))} workflow runs with the latest published version (5)?" in text
        assert "with version 4: " in text
        assert "files a minute" in text
        assert f"Left out: {incident.RERUN_GOOD + incident.SENT_AGAIN} already rerun" in text

        _, text = await morning.ask(
            "And what failed without credits?", ("rerun_workflow_runs", {**SINCE, "failure_reason": "OUT_OF_CREDITS"})
        )
        assert "- 56 OUT_OF_CREDITS in «Parse»" in text
        assert "later runs went well, so it may be over" in text

        facts, text = await morning.ask(
            "And the files that nobody can read?",
            ("rerun_workflow_runs", {**SINCE, "failure_reason": "PASSWORD_PROTECTED_FILE"}),
            ("rerun_workflow_runs", {**SINCE, "failure_reason": "CORRUPT_FILE"}),
        )
        assert facts["outcome"] == "nothing_to_do"
        assert "18 PASSWORD_PROTECTED_FILE: the file fails again" in text
        assert "12 CORRUPT_FILE: the file fails again" in text
    assert night.requests("POST") == []
    with capsys.disabled():
        print("\n| Question | Calls | Tokens | Requests |\n|---|---|---|---|\n" + "\n".join(morning.rows))


ALL_BROKEN = 377


async def confirmed(client: Client, plan: dict[str, Any], on_progress: ProgressFnT | None = None) -> dict[str, Any]:
    """The facts of the call that brings the yes to a plan, or continues it."""
    token = {"confirmation_token": plan["confirmation_token"]}
    return facts_of(await client.call_tool("rerun_workflow_runs", token, progress_callback=on_progress))


@pytest.mark.parametrize("most", [12, pytest.param(ALL_BROKEN, marks=pytest.mark.thorough)])
async def test_two_people_rerun_what_version_4_broke_and_are_cut_off_twice(night: Box, most: int) -> None:
    wanted = broken_for_good(night)[:most]
    before = len(night.sandbox.store.runs)
    cuts: list[bool] = []

    async def confirm(client: Client, plan: dict[str, Any], cut_after: list[int]) -> None:
        for count in [*cut_after, sys.maxsize]:
            with anyio.CancelScope() as scope:

                async def cut_when_due(*_: Any, count: int = count, scope: anyio.CancelScope = scope) -> None:
                    if len(night.sandbox.store.runs) - before >= count:
                        scope.cancel()

                # The other one may hold a run, or a call that was cut off may still be releasing the plan.
                while (await confirmed(client, plan, cut_when_due))["outcome"] != "done":
                    await anyio.lowlevel.checkpoint()
            cuts.append(scope.cancelled_caught)

    async with (
        running_server(night, requests_per_second=10) as server,
        Client(server) as anna,
        Client(server) as ben,
    ):
        last = night.sandbox.record(wanted[-1]).created_at + timedelta(milliseconds=1)
        filters = {**SINCE, "workflow_version": "4", "created_before": last.isoformat()}
        plans = [facts_of(await client.call_tool("rerun_workflow_runs", filters)) for client in (anna, ben)]
        assert [plan["planned"] for plan in plans] == [len(wanted)] * 2 == [most] * 2
        async with anyio.create_task_group() as people:
            people.start_soon(confirm, anna, plans[0], [most // 10, most // 2])
            people.start_soon(confirm, ben, plans[1], [most // 5, most * 3 // 4])
    bodies = [each["body"] for each in night.requests("POST")]
    # A few runs can be done before the last cut.
    assert sum(cuts) == 4 if most == ALL_BROKEN else sum(cuts) >= 2
    assert sorted(body["metadata"]["rerunOf"] for body in bodies) == sorted(wanted)
    assert len(night.sandbox.store.runs) - before == most
    for body in bodies:
        original = night.sandbox.record(body["metadata"]["rerunOf"]).run
        assert body["file"] == {"id": original["files"][0]["id"]}
        assert body["workflow"] == {"id": original["workflow"]["id"]}


@pytest.mark.thorough
async def test_a_plan_and_a_yes_rerun_all_of_them_at_ten_requests_a_second(night: Box) -> None:
    wanted = broken_for_good(night)
    async with serving(night, requests_per_second=10) as client:
        arguments = {**SINCE, "workflow_version": "4", "failing_step": "extract invoice"}
        plan = facts_of(await client.call_tool("rerun_workflow_runs", arguments))
        assert (plan["planned"], "INCOMPLETE" in "".join(plan["plan"])) == (len(wanted), False) == (ALL_BROKEN, False)
        night.forget()
        assert (await confirmed(client, plan))["counts"] == {"started": ALL_BROKEN}
    # One read and one start for each; what was started meanwhile is read for several at once.
    assert len(night.requests("POST")) == ALL_BROKEN
    assert len(night.requests("GET")) < 1.2 * ALL_BROKEN
