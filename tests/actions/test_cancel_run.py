"""Check the answer and the requests of cancel_workflow_run: by status, protocol, person, token, race and fault."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, ElicitResult, ErrorData, InputRequiredResult

from extend_mcp.runs.lifecycle import describe
from tests.harness import ERAS, Box, Mode, Person, example_run, facts_of, running_server, serving, text_of

SCENARIO = "empty"

RUN = "workflow_run_cancelMe0000000001"

REFUSED = {
    "NEEDS_REVIEW": "not_cancellable",
    "CANCELLING": "already_cancelling",
    "PROCESSED": "already_finished",
    "FAILED": "already_finished",
    "REJECTED": "already_finished",
    "CANCELLED": "already_finished",
    "PAUSED_BY_TOMORROW": "not_cancellable",
}


async def cancel(box: Box, *, mode: Mode = "auto", person: Person | None = None, **settings: Any) -> dict[str, Any]:
    async with serving(box, mode=mode, person=person, **settings) as client:
        return facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN, "reason": "wrong file"}))


def cancels(box: Box) -> list[dict[str, Any]]:
    return [request for request in box.requests("POST") if request["path"].endswith("/cancel")]


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize(("status", "outcome"), REFUSED.items())
async def test_a_run_in_any_other_state_is_refused_without_asking_or_sending(
    box: Box, mode: Mode, asks: bool, status: str, outcome: str
) -> None:
    box.load(example_run(RUN, status))
    person = Person()
    facts = await cancel(box, mode=mode, person=person if asks else None)
    assert facts["outcome"] == outcome
    assert (facts["status_before"], facts["status_after"]) == (status, status)
    assert facts["request_sent"] is False
    assert facts["next_step"]
    assert person.asked == []
    assert box.requests("POST") == []


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("status", ["PENDING", "PROCESSING"])
async def test_a_confirmed_cancel_is_sent_once_and_followed_until_cancelled(box: Box, mode: Mode, status: str) -> None:
    box.load(example_run(RUN, status))
    person = Person()
    facts = await cancel(box, mode=mode, person=person)
    assert facts["outcome"] == "cancelled"
    assert (facts["status_before"], facts["status_after"]) == (status, "CANCELLED")
    assert facts["request_sent"] is True
    assert len(cancels(box)) == 1
    [question] = person.asked
    assert all(part in question for part in (RUN, "Invoices.pdf", status, "15 credits", "10 done", "wrong file"))
    # The last read before the POST is a read of this run: no stale state is acted on.
    order = [(request["method"], request["path"]) for request in box.requests()]
    assert order[order.index(("POST", f"/workflow_runs/{RUN}/cancel")) - 1] == ("GET", f"/workflow_runs/{RUN}")


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    "person",
    [Person("decline"), Person("cancel"), Person("accept", confirm=False), Person("accept", confirm=None)],
    ids=["declined", "dismissed", "unticked", "empty form"],
)
async def test_without_a_clear_yes_nothing_is_sent(box: Box, mode: Mode, person: Person) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    facts = await cancel(box, mode=mode, person=Person(person.action, person.confirm))
    assert facts["outcome"] == "declined"
    assert facts["request_sent"] is False
    assert facts["status_after"] == "PROCESSING"
    assert box.requests("POST") == []


async def test_a_client_that_fails_to_ask_is_not_taken_for_a_yes(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))

    class Absent(Person):
        async def answer(self, context: Any, params: Any) -> Any:
            return ErrorData(code=-32603, message="nobody at the screen")

    facts = await cancel(box, mode="legacy", person=Absent())
    assert facts["outcome"] == "declined"
    assert "failed to ask" in facts["message"]
    assert box.requests("POST") == []


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("answer", [{"action": "reject"}, {}, {"action": None}, {"content": {"confirm": True}}])
async def test_an_answer_that_mcp_does_not_know_is_no_yes(box: Box, mode: Mode, answer: dict[str, Any]) -> None:
    box.load(example_run(RUN, "PROCESSING"))

    class Odd(Person):
        async def answer(self, context: Any, params: Any) -> Any:
            return ElicitResult.model_construct(**answer)

    if mode == "legacy":
        facts = await cancel(box, mode=mode, person=Odd())
        assert (facts["outcome"], facts["request_sent"]) == ("declined", False)
    else:
        # Here the answer is part of the next call, whose parameters the SDK refuses.
        async with serving(box, mode=mode, person=Odd()) as client:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("cancel_workflow_run", {"run_id": RUN})
        assert refused.value.error.code == INVALID_PARAMS
    assert box.requests("POST") == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_cannot_ask_gets_a_plan_and_a_token_and_the_second_call_acts(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with serving(box, mode=mode) as client:
        first = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
        assert first["outcome"] == "confirmation_required"
        plan = "\n".join(first["details"])
        assert f"Cancel workflow run {RUN}?" in plan
        assert "Reason given" not in plan
        assert "15 credits used so far" in plan
        assert first["request_sent"] is False
        assert box.requests("POST") == []
        token = first["confirmation_token"]
        second = await client.call_tool("cancel_workflow_run", {"run_id": RUN, "confirmation_token": token})
        assert facts_of(second)["outcome"] == "cancelled"
        assert len(cancels(box)) == 1
        # The token is worth nothing once the state has changed.
        third = await client.call_tool("cancel_workflow_run", {"run_id": RUN, "confirmation_token": token})
        assert facts_of(third)["outcome"] == "already_finished"
        assert len(cancels(box)) == 1


async def test_a_token_counts_for_its_run_its_state_and_its_time_only(box: Box) -> None:
    other = "workflow_run_cancelMe0000000002"
    box.load(example_run(RUN, "PENDING"))
    box.load(example_run(other, "PENDING"))
    async with serving(box) as client:

        async def call(run_id: str, token: str | None = None) -> dict[str, Any]:
            arguments = {"run_id": run_id} | ({"confirmation_token": token} if token else {})
            return facts_of(await client.call_tool("cancel_workflow_run", arguments))

        token = (await call(RUN))["confirmation_token"]
        for wrong in (token[:-1] + ("A" if token[-1] != "A" else "B"), "v1.nonsense", "x"):
            answer = await call(RUN, wrong)
            assert answer["outcome"] == "confirmation_required"
            assert "not valid" in answer["message"]
        assert (await call(other, token))["message"] == (
            "The confirmation token is not valid: it is for another action, object or state than this call. "
            "A person must agree first. Nothing was sent."
        )
        renamed = example_run(RUN, "PROCESSING")
        renamed["files"][0]["name"] = "another.pdf"
        box.load(renamed)
        moved = await call(RUN, token)
        assert moved["outcome"] == "changed"
        token = (await call(RUN))["confirmation_token"]
        box.advance(301)
        assert "not valid" in (await call(RUN, token))["message"]
    assert cancels(box) == []


async def test_a_token_still_counts_when_the_queued_run_has_started(box: Box) -> None:
    """The status changes on its own; a yes is bound to what does not change."""
    box.load(example_run(RUN, "PENDING"))
    async with serving(box) as client:
        token = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))["confirmation_token"]
        box.load(example_run(RUN, "PROCESSING"))
        again = {"run_id": RUN, "confirmation_token": token}
        assert facts_of(await client.call_tool("cancel_workflow_run", again))["outcome"] == "cancelled"
    assert len(cancels(box)) == 1


async def test_a_token_does_not_replace_a_person_who_can_be_asked(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with serving(box) as client:
        token = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))["confirmation_token"]
    person = Person("decline")
    async with serving(box, person=person) as client:
        arguments = {"run_id": RUN, "confirmation_token": token}
        assert facts_of(await client.call_tool("cancel_workflow_run", arguments))["outcome"] == "declined"
    assert len(person.asked) == 1
    assert cancels(box) == []


async def test_the_state_of_a_question_is_no_yes_from_a_client_that_cannot_ask(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    async with (
        running_server(box) as server,
        Client(server, elicitation_callback=Person().answer) as asking,
        Client(server) as other,
    ):
        asked = await asking.session.call_tool("cancel_workflow_run", {"run_id": RUN}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        answer = await other.session.call_tool(
            "cancel_workflow_run",
            {"run_id": RUN},
            input_responses={"confirm": ElicitResult(action="decline")},
            request_state=asked.request_state,
            allow_input_required=True,
        )
    assert isinstance(answer, CallToolResult)
    assert facts_of(answer)["outcome"] == "confirmation_required"
    assert cancels(box) == []


async def test_the_policy_decides_who_is_asked(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    person = Person()
    by_token = await cancel(box, person=person, confirmation="token")
    assert (by_token["outcome"], person.asked) == ("confirmation_required", [])
    assert (await cancel(box, confirmation="trusted"))["outcome"] == "cancelled"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_run_that_ends_while_the_person_thinks_is_not_touched(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    person = Person(meanwhile=lambda: box.finish(RUN, "PROCESSED", before_cancel=False))
    facts = await cancel(box, mode=mode, person=person)
    assert facts["outcome"] == "finished_first"
    assert (facts["status_before"], facts["status_after"]) == ("PROCESSING", "PROCESSED")
    assert facts["request_sent"] is False
    assert cancels(box) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_run_that_moves_on_while_the_person_thinks_is_asked_about_once(box: Box, mode: Mode) -> None:
    box.load(example_run(RUN, "PENDING"))
    person = Person(meanwhile=lambda: box.load(example_run(RUN, "PROCESSING")))
    facts = await cancel(box, mode=mode, person=person)
    assert facts["outcome"] == "cancelled"
    assert len(person.asked) == 1


@pytest.mark.parametrize("ended", ["PROCESSED", "FAILED"])
async def test_a_race_lost_between_read_and_post_is_told_as_it_is(box: Box, ended: str) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.finish(RUN, ended, before_cancel=True)
    facts = await cancel(box, person=Person())
    assert facts["outcome"] == "finished_first"
    assert (facts["status_before"], facts["status_after"]) == ("PROCESSING", ended)
    assert facts["request_sent"] is True


async def test_a_cancel_that_takes_too_long_is_reported_as_cancelling(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_mcp.actions.cancel_run.FOLLOW_SECONDS", 1.0)
    box.load(example_run(RUN, "PROCESSING"))
    facts = await cancel(box, person=Person())
    assert facts["outcome"] == "cancelling"
    assert facts["status_after"] == "CANCELLING"
    assert facts["request_sent"] is True
    assert facts["message"] == "Extend accepted the cancel; the run was still CANCELLING when last seen."


async def test_an_unknown_run_is_not_found(box: Box) -> None:
    facts = await cancel(box, person=Person())
    assert facts["outcome"] == "not_found"
    assert (facts["status_before"], facts["status_after"]) == (None, None)
    assert facts["request_sent"] is False


FAULT = {"method": "POST", "path": f"/workflow_runs/{RUN}/cancel"}


async def test_a_cancel_refused_for_its_rate_is_repeated_once_after_a_fresh_read(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, status=429, headers={"Retry-After": "3"})
    facts = await cancel(box, person=Person())
    assert facts["outcome"] == "cancelled"
    seen = [request["method"] for request in box.requests()]
    first, second = (index for index, method in enumerate(seen) if method == "POST")
    assert "GET" in seen[first:second]
    assert [request["status"] for request in cancels(box)] == [429, 200]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("PROCESSED", "finished_first"),
        ("CANCELLED", "already_finished"),
        ("CANCELLING", "already_cancelling"),
        ("NEEDS_REVIEW", "not_cancellable"),
    ],
)
async def test_a_run_that_ends_while_a_refusal_for_rate_is_waited_for_is_not_sent_again(
    box: Box, status: str, outcome: str
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, status=429, headers={"retry-after": "2"})
    async with serving(box, person=Person(), on_sleep=lambda: box.load(example_run(RUN, status))) as client:
        facts = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
    assert (facts["outcome"], facts["status_after"], facts["request_sent"]) == (outcome, status, False)
    verdict = describe(status)
    assert facts["next_step"] == verdict.instead
    ended = f"The run ended as {status} before the cancel took effect."
    said = ended if status == "PROCESSED" else f"The run is {status}: {verdict.reason}."
    assert facts["message"] == f"{said} Nothing was sent."
    assert len(cancels(box)) == 1


async def test_a_rate_limit_that_stays_is_an_error_that_says_nothing_changed(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, status=429, times=5, headers={"Retry-After": "3600"})
    async with serving(box, person=Person()) as client:
        result = await client.call_tool("cancel_workflow_run", {"run_id": RUN})
    assert result.is_error
    assert "Nothing was changed" in text_of(result)
    assert "3600 seconds" in text_of(result)
    assert len(cancels(box)) == 1


@pytest.mark.parametrize(("asked", "waited", "sent"), [(None, [1, 1], 3), (10, [10, 10], 3), (11, [], 1)])
async def test_a_refusal_for_rate_is_waited_for_twice_and_for_ten_seconds_at_most(
    box: Box, asked: int | None, waited: list[int], sent: int
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, status=429, times=9, headers={} if asked is None else {"Retry-After": str(asked)})
    moments = [box.now()]
    async with serving(box, confirmation="trusted", on_sleep=lambda: moments.append(box.now())) as client:
        result = await client.call_tool("cancel_workflow_run", {"run_id": RUN})
    moments.append(box.now())
    assert result.is_error
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(moments)][1:] == waited
    assert len(cancels(box)) == sent


@pytest.mark.parametrize(
    ("answered", "outcome", "message"),
    [
        ("PROCESSING", "unknown", "Extend accepted the cancel, yet the run was PROCESSING when last seen."),
        ("REJECTED", "finished_first", "The run ended as REJECTED before the cancel took effect."),
        ("NEEDS_REVIEW", "not_cancellable", f"The run is NEEDS_REVIEW: {describe('NEEDS_REVIEW').reason}."),
    ],
)
async def test_the_status_that_extend_answers_with_is_said(box: Box, answered: str, outcome: str, message: str) -> None:
    box.load(example_run(RUN, "PENDING"))
    box.fault(**FAULT, status=200, body=example_run(RUN, answered))
    facts = await cancel(box, person=Person())
    assert (facts["outcome"], facts["message"]) == (outcome, message)
    assert (facts["status_before"], facts["status_after"], facts["request_sent"]) == ("PENDING", answered, True)


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"drop": True}, {"status": 503, "body": {"error": "overloaded"}}],
    ids=["500", "dropped before", "503"],
)
async def test_an_unclear_answer_is_looked_up_and_never_repeated(box: Box, fault: dict[str, Any]) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, **fault)
    facts = await cancel(box, person=Person())
    assert facts["outcome"] == "unknown"
    assert facts["status_after"] == "PROCESSING"
    assert "second look" in facts["message"]
    assert facts["request_sent"] is True
    assert len(cancels(box)) == 1


@pytest.mark.parametrize("fault", [{"drop": True, "after": True}, {"truncate": 20}, {"text": "<html>gateway</html>"}])
async def test_a_cancel_that_took_effect_behind_a_lost_answer_is_seen_by_the_second_look(
    box: Box, fault: dict[str, Any]
) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, **fault)
    facts = await cancel(box, person=Person())
    if "text" in fault:
        # The sandbox answers this in place of acting, so here the run continues.
        assert (facts["outcome"], facts["status_after"]) == ("unknown", "PROCESSING")
    else:
        assert (facts["outcome"], facts["status_after"]) == ("cancelled", "CANCELLED")
    assert len(cancels(box)) == 1


async def test_an_unclear_cancel_with_a_failing_second_look_stays_unknown(box: Box) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, drop=True)

    # The server pauses before its second look: only then do reads begin to fail.
    def fail_reads() -> None:
        box.fault(method="GET", path="/workflow_runs/*", status=403, times=100)

    async with serving(box, person=Person(), on_sleep=fail_reads) as client:
        facts = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
    assert facts["outcome"] == "unknown"
    assert facts["status_after"] is None
    assert "second look failed" in facts["message"]


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_request_is_an_error_that_says_nothing_changed(box: Box, status: int) -> None:
    box.load(example_run(RUN, "PROCESSING"))
    box.fault(**FAULT, status=status)
    async with serving(box, person=Person()) as client:
        result = await client.call_tool("cancel_workflow_run", {"run_id": RUN})
    assert result.is_error
    assert "Nothing was changed" in text_of(result)
    assert str(status) in text_of(result)


@pytest.mark.parametrize("part", ["files", "workflow"])
async def test_a_yes_is_for_these_files_of_this_workflow_whatever_their_names(box: Box, part: str) -> None:
    run = example_run(RUN, "PROCESSING")
    box.load(run)
    async with serving(box) as client:
        plan = facts_of(await client.call_tool("cancel_workflow_run", {"run_id": RUN}))
        changed = run["files"][0] if part == "files" else run["workflow"]
        changed["id"] = "another"
        box.load(run)
        arguments = {"run_id": RUN, "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("cancel_workflow_run", arguments))
    assert (facts["outcome"], facts["request_sent"]) == ("changed", False)
