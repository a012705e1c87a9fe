"""Every guarded write but the cancel: who is asked, with which text, and what is sent, over both protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult

from tests.actions.test_bulk import Odd
from tests.harness import ERAS, Box, Mode, Person, example_run, facts_of, serving, text_of

SCENARIO = "empty"

RUN = "workflow_run_guardMe00000000001"
STEPS = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE"},
]


@dataclass(frozen=True)
class Ready:
    """A guarded write that is set up: how it is called and what it must send."""

    tool: str
    arguments: dict[str, Any]
    method: str
    path: str
    shown: tuple[str, ...]
    """Texts that the person must read."""
    alter: Callable[[], object]
    """Changes the object so that an earlier consent no longer fits."""
    target_gone: Callable[[], object] | None = None
    secrets: tuple[str, ...] = field(default=())


def _run(box: Box) -> Ready:
    box.load(example_run(RUN, "PROCESSED"))
    return Ready(
        "delete_workflow_run",
        {"run_id": RUN},
        "DELETE",
        f"/workflow_runs/{RUN}",
        (RUN, "PROCESSED", "Invoices.pdf", "15 credits"),
        lambda: box.load(example_run(RUN, "REJECTED")),
        lambda: box.api("DELETE", f"/workflow_runs/{RUN}"),
    )


def _update_workflow(box: Box) -> Ready:
    workflow = box.workflow()
    return Ready(
        "update_workflow",
        {"workflow": "Invoice Processing", "name": "Bills", "steps": STEPS},
        "POST",
        f"/workflows/{workflow}",
        ("«Invoice Processing» -> «Bills»", "«Extract invoice»"),
        lambda: box.api("POST", f"/workflows/{workflow}", json={"steps": STEPS}),
    )


def _deploy(box: Box) -> Ready:
    workflow = box.workflow()
    box.api("POST", f"/workflows/{workflow}", json={"steps": STEPS})
    return Ready(
        "deploy_workflow_version",
        {"workflow": workflow, "name": "Short"},
        "POST",
        f"/workflows/{workflow}/versions",
        ("Deploy the draft", "version 3, the newest published", "«Extract invoice»"),
        lambda: box.api("POST", f"/workflows/{workflow}/versions", json={"steps": STEPS}),
    )


def _file(box: Box) -> Ready:
    file = box.api("POST", "/files/upload", files={"file": ("old.pdf", b"x")})["id"]
    return Ready(
        "delete_file",
        {"file_id": file},
        "DELETE",
        f"/files/{file}",
        (file, "«old.pdf»", "for good"),
        lambda: box.api("DELETE", f"/files/{file}"),
        lambda: box.api("DELETE", f"/files/{file}"),
    )


def _endpoint(box: Box, **fields: Any) -> str:
    body = {
        "url": "https://user:pw-canary@hooks.example/x?token=query-canary",
        "name": "Ops",
        "enabledEvents": ["workflow.created"],
        "apiVersion": "2026-02-09",
        "advancedOptions": {"headers": {"Authorization": "header-canary"}},
        **fields,
    }
    made: str = box.api("POST", "/webhook_endpoints", json=body)["id"]
    return made


def _subscription(box: Box, endpoint: str) -> str:
    body = {
        "webhookEndpointId": endpoint,
        "resourceType": "workflow",
        "resourceId": box.workflow(),
        "enabledEvents": ["workflow_run.failed"],
    }
    made: str = box.api("POST", "/webhook_subscriptions", json=body)["id"]
    return made


_CANARIES = ("pw-canary", "query-canary", "header-canary")


def _update_endpoint(box: Box) -> Ready:
    endpoint = _endpoint(box)
    return Ready(
        "update_webhook_endpoint",
        {"endpoint_id": endpoint, "url": "https://other.example/y", "status": "disabled"},
        "POST",
        f"/webhook_endpoints/{endpoint}",
        ("https://hooks.example/x", "https://other.example/y", "enabled -> disabled"),
        lambda: box.api("POST", f"/webhook_endpoints/{endpoint}", json={"name": "Renamed"}),
        lambda: box.api("DELETE", f"/webhook_endpoints/{endpoint}"),
        _CANARIES,
    )


def _delete_endpoint(box: Box) -> Ready:
    endpoint = _endpoint(box)
    _subscription(box, endpoint)
    return Ready(
        "delete_webhook_endpoint",
        {"endpoint_id": endpoint},
        "DELETE",
        f"/webhook_endpoints/{endpoint}",
        ("for good", endpoint, "Subscriptions that end with it: 1", "signing secret is lost", "Authorization"),
        lambda: box.api("DELETE", f"/webhook_endpoints/{endpoint}"),
        lambda: box.api("DELETE", f"/webhook_endpoints/{endpoint}"),
        _CANARIES,
    )


def _create_subscription(box: Box) -> Ready:
    endpoint = _endpoint(box)
    return Ready(
        "create_webhook_subscription",
        {"endpoint_id": endpoint, "resource_id": "Invoice Processing", "events": ["workflow_run.failed"]},
        "POST",
        "/webhook_subscriptions",
        ("«Ops»", box.workflow(), "workflow_run.failed", "document data"),
        lambda: box.api("POST", f"/webhook_endpoints/{endpoint}", json={"url": "https://elsewhere.example"}),
        lambda: box.api("DELETE", f"/webhook_endpoints/{endpoint}"),
        _CANARIES,
    )


def _update_subscription(box: Box) -> Ready:
    subscription = _subscription(box, _endpoint(box))
    path = f"/webhook_subscriptions/{subscription}"
    return Ready(
        "update_webhook_subscription",
        {"subscription_id": subscription, "events": ["workflow_run.completed"]},
        "POST",
        path,
        ("workflow_run.failed -> workflow_run.completed", subscription),
        lambda: box.api("POST", path, json={"enabledEvents": ["workflow_run.rejected"]}),
        lambda: box.api("DELETE", path),
    )


def _delete_subscription(box: Box) -> Ready:
    subscription = _subscription(box, _endpoint(box))
    path = f"/webhook_subscriptions/{subscription}"
    return Ready(
        "delete_webhook_subscription",
        {"subscription_id": subscription},
        "DELETE",
        path,
        (subscription, "workflow_run.failed"),
        lambda: box.api("DELETE", path),
        lambda: box.api("DELETE", path),
    )


SETUPS: dict[str, Callable[[Box], Ready]] = {
    "delete_workflow_run": _run,
    "update_workflow": _update_workflow,
    "deploy_workflow_version": _deploy,
    "delete_file": _file,
    "update_webhook_endpoint": _update_endpoint,
    "delete_webhook_endpoint": _delete_endpoint,
    "create_webhook_subscription": _create_subscription,
    "update_webhook_subscription": _update_subscription,
    "delete_webhook_subscription": _delete_subscription,
}


@pytest.fixture(params=SETUPS)
def ready(request: pytest.FixtureRequest, box: Box) -> Ready:
    set_up = SETUPS[request.param](box)
    box.forget()
    return set_up


def writes(box: Box) -> list[tuple[str, str]]:
    return [(each["method"], each["path"]) for each in box.requests() if each["method"] != "GET"]


async def call(
    box: Box, ready: Ready, *, mode: Mode = "auto", person: Person | None = None, **more: Any
) -> dict[str, Any]:
    async with serving(box, mode=mode, person=person, toolsets="all") as client:
        result = await client.call_tool(ready.tool, {**ready.arguments, **more})
    seen = text_of(result) + "".join(person.asked if person else [])
    for canary in ready.secrets:
        assert canary not in seen
    return facts_of(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_yes_sends_it_once(box: Box, ready: Ready, mode: Mode) -> None:
    person = Person()
    facts = await call(box, ready, mode=mode, person=person)
    assert facts["outcome"] == "done", facts
    assert facts["request_sent"] is True
    [question] = person.asked
    for part in ready.shown:
        assert part in question
    assert writes(box) == [(ready.method, ready.path)]
    # What is asked about is read again after the answer: nothing stale is acted on.
    reads = [index for index, each in enumerate(box.requests()) if each["method"] == "GET"]
    assert len(reads) >= 2


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_no_sends_nothing(box: Box, ready: Ready, mode: Mode, action: Any) -> None:
    facts = await call(box, ready, mode=mode, person=Person(action))
    assert facts["outcome"] == "declined"
    assert facts["request_sent"] is False
    assert writes(box) == []


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_person_a_plan_and_a_token_come_first(box: Box, ready: Ready, mode: Mode) -> None:
    plan = await call(box, ready, mode=mode)
    assert plan["outcome"] == "confirmation_required"
    for part in ready.shown:
        assert part in "\n".join(plan["details"])
    assert writes(box) == []


async def test_the_token_sends_it_and_an_altered_one_does_not(box: Box, ready: Ready) -> None:
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        token = plan["confirmation_token"]
        spoilt = token[:-2] + ("AA" if not token.endswith("AA") else "BB")
        refused = facts_of(await client.call_tool(ready.tool, {**ready.arguments, "confirmation_token": spoilt}))
        assert refused["outcome"] == "confirmation_required"
        assert writes(box) == []
        done = facts_of(await client.call_tool(ready.tool, {**ready.arguments, "confirmation_token": token}))
    assert done["outcome"] == "done", done
    assert writes(box) == [(ready.method, ready.path)]


@pytest.mark.parametrize("mode", ERAS)
async def test_what_changes_while_a_person_thinks_voids_their_answer(box: Box, ready: Ready, mode: Mode) -> None:
    person = Person(meanwhile=lambda: (ready.alter(), box.forget()))
    facts = await call(box, ready, mode=mode, person=person)
    assert facts["outcome"] in ("changed", "not_found")
    assert facts["request_sent"] is False
    assert writes(box) == []


async def test_a_token_is_void_once_the_object_has_changed(box: Box, ready: Ready) -> None:
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        ready.alter()
        box.forget()
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool(ready.tool, again))
    assert facts["outcome"] in ("changed", "not_found", "confirmation_required")
    assert writes(box) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"drop": True},
        {"drop": True, "after": True},
        {"truncate": 3},
        {"text": "<html>", "status": 502},
    ],
    ids=["500", "dropped", "dropped after acting", "truncated", "html"],
)
async def test_an_unclear_outcome_is_looked_up_and_never_sent_again(
    box: Box, ready: Ready, fault: dict[str, Any]
) -> None:
    box.fault(method=ready.method, path=ready.path, **fault)
    facts = await call(box, ready, person=Person())
    assert facts["outcome"] == "unknown", facts
    assert facts["request_sent"] is True
    assert "second look" in facts["message"]
    assert writes(box) == [(ready.method, ready.path)]


async def test_a_clear_refusal_is_told_and_nothing_changed(box: Box, ready: Ready) -> None:
    box.fault(method=ready.method, path=ready.path, status=403)
    async with serving(box, person=Person(), toolsets="all") as client:
        result = await client.call_tool(ready.tool, ready.arguments)
    assert result.is_error
    assert "Nothing was changed." in text_of(result)


async def test_what_is_not_there_is_said_to_be_so(box: Box, ready: Ready) -> None:
    if ready.target_gone is None:
        pytest.skip("workflows cannot be deleted through the API")
    ready.target_gone()
    box.forget()
    person = Person()
    facts = await call(box, ready, person=person)
    assert facts["outcome"] == "not_found"
    assert person.asked == []
    assert writes(box) == []


@pytest.mark.parametrize("tool", SETUPS)
async def test_a_read_only_server_does_not_offer_it(box: Box, tool: str) -> None:
    async with serving(box, toolsets="all", read_only=True) as client:
        assert tool not in {each.name for each in (await client.list_tools()).tools}


CREATES: dict[str, tuple[dict[str, Any], str]] = {
    "create_webhook_endpoint": (
        {"url": "https://hooks.example/x", "name": "Ops", "events": ["workflow.created"]},
        "/webhook_endpoints",
    ),
    "deploy_workflow_version": ({"workflow": "Invoice Processing", "name": "Short", "steps": STEPS}, "/versions"),
}


@pytest.mark.parametrize("tool", CREATES)
async def test_a_token_creates_once(box: Box, tool: str) -> None:
    arguments, path = CREATES[tool]
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(tool, arguments))
        again = {**arguments, "confirmation_token": plan["confirmation_token"]}
        first = facts_of(await client.call_tool(tool, again))
        second = facts_of(await client.call_tool(tool, again))
    assert first["outcome"] == "done"
    assert second["outcome"] in ("refused", "changed")
    assert [each for each in box.requests("POST") if each["path"].endswith(path)][1:] == []


@pytest.mark.parametrize(("setup", "outcome"), [(_file, "done"), (_create_subscription, "refused")])
async def test_a_yes_that_cannot_be_checked_counts_only_where_a_repeat_adds_nothing(
    box: Box, setup: Callable[[Box], Ready], outcome: str
) -> None:
    ready, store = setup(box), Odd("cannot note a use")
    box.forget()
    async with serving(box, toolsets="all", store=store) as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool(ready.tool, again))
    assert facts["outcome"] == outcome
    assert len(writes(box)) == (outcome == "done")


async def test_a_subscription_is_created_once_by_a_token(box: Box) -> None:
    ready = _create_subscription(box)
    box.forget()
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        outcomes = [facts_of(await client.call_tool(ready.tool, again))["outcome"] for _ in range(3)]
    # The subscription that it made is part of what the yes was for.
    assert outcomes == ["done", "changed", "changed"]
    assert len(writes(box)) == 1


async def test_a_yes_stays_good_when_extend_refused_the_request(box: Box) -> None:
    ready = _create_subscription(box)
    box.forget()
    box.fault(method=ready.method, path=ready.path, status=429)
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        assert (await client.call_tool(ready.tool, again)).is_error
        assert facts_of(await client.call_tool(ready.tool, again))["outcome"] == "done"


_ELSEWHERE = {"url": "https://user:pw-canary@hooks.example/x?token=another"}  # only the part that is not shown differs


def _long(prompt: str) -> dict[str, Any]:
    block = {"blockType": "semantic", "name": "check", "semantic": {"promptText": prompt}}
    return {"name": "Long", "type": "VALIDATION", "config": {"blocks": [block]}}


def _drop_step(box: Box) -> Ready:
    """An update that takes out a step of which only the beginning is shown."""
    made = box.api("POST", "/workflows", json={"name": "Long", "steps": [*STEPS, _long("x" * 5000)]})["id"]
    return Ready("update_workflow", {"workflow": made, "steps": STEPS}, "POST", f"/workflows/{made}", (), lambda: None)


def _deploy_long(box: Box) -> Ready:
    ready = _drop_step(box)
    return Ready("deploy_workflow_version", {"workflow": ready.arguments["workflow"]}, "POST", ready.path, (), str)


@pytest.mark.parametrize(
    ("setup", "change"),
    [
        (_delete_endpoint, {"name": "Renamed"}),
        (_delete_endpoint, {"enabledEvents": []}),
        (_delete_endpoint, _ELSEWHERE),
        (_update_endpoint, _ELSEWHERE),
        (_update_endpoint, {"enabledEvents": []}),
        (_delete_subscription, {"enabledEvents": ["workflow_run.rejected"]}),
        (_run, {"metadata": {"customer": "another"}}),
        (_run, {"metadata": {"customerId": "another"}}),
        (_drop_step, {"steps": [*STEPS, _long("x" * 4999 + "y")]}),
        (_drop_step, {"name": "Renamed"}),
        (_deploy_long, {"steps": [*STEPS, _long("x" * 4999 + "y")]}),
    ],
)
async def test_a_token_is_void_once_any_fact_has_changed_also_one_that_is_not_shown_whole(
    box: Box, setup: Callable[[Box], Ready], change: dict[str, Any]
) -> None:
    ready = setup(box)
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        box.api("POST", ready.path, json=change)
        box.forget()
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool(ready.tool, again))
    assert facts["outcome"] == "changed"
    assert writes(box) == []


async def test_a_subscription_s_yes_is_for_the_whole_address_of_its_endpoint(box: Box) -> None:
    ready = _create_subscription(box)
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool(ready.tool, ready.arguments))
        box.api("POST", f"/webhook_endpoints/{ready.arguments['endpoint_id']}", json=_ELSEWHERE)
        again = {**ready.arguments, "confirmation_token": plan["confirmation_token"]}
        assert facts_of(await client.call_tool(ready.tool, again))["outcome"] == "changed"


async def test_a_client_that_cannot_ask_is_refused_where_only_a_person_may_confirm(box: Box) -> None:
    ready = _file(box)
    box.forget()
    async with serving(box, toolsets="all", confirmation="person") as client:
        facts = facts_of(await client.call_tool(ready.tool, ready.arguments))
    assert (facts["outcome"], facts["request_sent"]) == ("refused", False)
    assert "confirmation_token" not in facts
    asked = await call(box, ready, person=Person("decline"))
    assert asked["outcome"] == "declined"
    assert writes(box) == []


async def test_a_yes_is_bound_to_arguments_that_the_question_does_not_show(box: Box) -> None:
    arguments, path = CREATES["create_webhook_endpoint"]
    async with serving(box, toolsets="all") as client:
        plan = facts_of(await client.call_tool("create_webhook_endpoint", arguments))
        other = {**arguments, "status": "disabled", "confirmation_token": plan["confirmation_token"]}
        facts = facts_of(await client.call_tool("create_webhook_endpoint", other))
    assert facts["outcome"] in ("changed", "confirmation_required")
    assert ("POST", path) not in writes(box)


async def test_a_request_state_creates_once(box: Box) -> None:
    """A yes that comes back with its request state counts for one send, however often both are sent."""
    arguments, path = CREATES["create_webhook_endpoint"]
    async with serving(box, person=Person(), toolsets="all") as client:
        asked = await client.session.call_tool("create_webhook_endpoint", arguments, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        answers = {"confirm": ElicitResult(action="accept", content={"confirm": True})}
        outcomes: list[Any] = []
        for _ in range(2):
            result = await client.session.call_tool(
                "create_webhook_endpoint",
                arguments,
                input_responses=answers,
                request_state=asked.request_state,
                allow_input_required=True,
            )
            outcomes.append(facts_of(result)["outcome"] if isinstance(result, CallToolResult) else result)
    # The first answer shows the secret to the person.
    assert isinstance(outcomes[0], InputRequiredResult)
    assert outcomes[1] == "refused"
    assert [sent for sent in writes(box) if sent == ("POST", path)] == [("POST", path)]
