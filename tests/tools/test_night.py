"""The night of the scenario `incident`: 9,000 runs, and the questions of the person who is on call.

Each question is answered in at most two calls and 700 tokens, and the rerun starts exactly the right runs, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from mcp.client.client import Client

from evals.room import tokens
from extend_mcp.limits import CallLimits
from extend_mcp.sandbox.scenarios import incident
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from tests.harness import KEY, Box, BoxClock, facts_of, serving, text_of
from tests.hosting import Host

MOST_CALLS, MOST_TOKENS = 2, 700
SINCE = {"created_since": "2d"}


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

    async def ask(
        self, question: str, *calls: tuple[str, dict[str, Any]], most: int = MOST_TOKENS
    ) -> tuple[dict[str, Any], str]:
        """Ask, and return the facts of the last answer and the text of all."""
        assert len(calls) <= MOST_CALLS
        self._box.forget()
        results = [await self._client.call_tool(tool, arguments) for tool, arguments in calls]
        text = "\n".join(map(text_of, results))
        spent = tokens(text)
        self.rows.append(
            f"| {question} | {', '.join(tool for tool, _ in calls)} | {spent} | {len(self._box.requests())} |"
        )
        assert spent <= most, f"{question}: {spent} tokens\n{text}"
        return facts_of(results[-1]), text


async def test_the_night_is_understood_in_a_few_short_answers(night: Box, capsys: pytest.CaptureFixture[str]) -> None:
    # The operator lets one call read as many runs as failed; by default the second question would read the rest.
    async with serving(night, toolsets=["runs", "incidents", "webhooks"], detail_runs=500) as client:
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
        facts, _ = await morning.ask(
            "Which results did we miss while our receiver was down?",
            ("list_runs", {"status": "PROCESSED", "page_size": 50, **updated}),
            # Forty ids alone are 800 tokens.
            most=2200,
        )
        assert {run["run_id"] for run in facts["runs"]} == set(story(night, "lost_webhooks"))
        assert facts["complete"] is True

        _, text = await morning.ask("Which endings is nobody notified of?", ("check_webhooks", {}))
        assert "«Insurance Claims Intake»" in text
        assert "failed, rejected, cancelled, needs_review" in text

        facts, text = await morning.ask(
            "Which of tonight's failures were customer 0412's?",
            ("list_open_failures", {**SINCE, "metadata": {"customer": "cust_0412"}}),
        )
        theirs = {run_id for run_id in failed_for_good(night) if customer(night, run_id) == "cust_0412"}
        assert {run["run_id"] for run in facts["open_runs"]} <= theirs
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


@pytest.mark.parametrize("most", [12, pytest.param(30, marks=pytest.mark.thorough)])
async def test_two_people_rerun_what_version_4_broke_and_are_cut_off_twice(night: Box, most: int) -> None:
    wanted = broken_for_good(night)[:most]
    last = night.sandbox.record(wanted[-1]).created_at + timedelta(milliseconds=1)
    filters = {**SINCE, "failure_reason": "PARSING_ERROR", "created_before": last.isoformat()}
    settings = Settings.model_validate({"api_key": KEY, "base_url": night.base_url})
    server, registry = build_server(settings, clock=BoxClock(night), limits=CallLimits(detail_runs=500))
    planned: list[int] = []
    cuts: list[int] = []
    both_have_planned = anyio.Event()

    before = len(night.sandbox.store.runs)

    def started() -> int:
        return len(night.sandbox.store.runs) - before

    async def time_passes() -> None:
        seen = 0
        while True:
            if seen < (now := started()):
                night.advance(0.5 * (now - seen))
                seen = now
            await anyio.sleep(0.001)

    async def confirm(client: Client, cut_after: list[int]) -> None:
        plan = facts_of(await client.call_tool("rerun_workflow_runs", filters))
        token = {"confirmation_token": plan["confirmation_token"]}
        planned.append(plan["planned"])
        if len(planned) == 2:
            both_have_planned.set()
        await both_have_planned.wait()
        for count in cut_after:
            async with anyio.create_task_group() as group:

                async def cut(count: int = count, scope: anyio.CancelScope = group.cancel_scope) -> None:
                    while started() < count:
                        await anyio.sleep(0.001)
                    cuts.append(count)
                    scope.cancel()

                group.start_soon(cut)
                # A call that was cut off may still be releasing the plan.
                while facts_of(await client.call_tool("rerun_workflow_runs", token))["outcome"] == "busy":
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()
        for _ in range(100):
            if facts_of(await client.call_tool("rerun_workflow_runs", token))["outcome"] == "done":
                return
            await anyio.sleep(0.01)
        raise AssertionError("the plan was never finished")

    try:
        async with Client(server) as anna, Client(server) as ben, anyio.create_task_group() as clock:
            clock.start_soon(time_passes)
            async with anyio.create_task_group() as people:
                people.start_soon(confirm, anna, [len(wanted) // 10, len(wanted) // 2])
                people.start_soon(confirm, ben, [len(wanted) // 5, len(wanted) * 3 // 4])
            clock.cancel_scope.cancel()
    finally:
        await registry.aclose()
    bodies = [each["body"] for each in night.requests("POST")]
    assert planned == [len(wanted)] * 2
    assert len(cuts) == 4
    assert sorted(body["metadata"]["rerunOf"] for body in bodies) == sorted(wanted)
    assert started() == len(wanted)
    for body in bodies:
        original = night.sandbox.record(body["metadata"]["rerunOf"]).run
        assert body["file"] == {"id": original["files"][0]["id"]}
        assert body["workflow"] == {"id": original["workflow"]["id"]}
