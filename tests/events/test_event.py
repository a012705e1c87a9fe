from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged

from extend_mcp.api.wire import decode_json
from extend_mcp.events import event as module
from extend_mcp.events.event import REMEMBERED_SECONDS, Seen, WebhookEvent, waking
from extend_mcp.views.uris import named_by
from tests.events.kit import event


def read_event(body: bytes) -> WebhookEvent:
    return WebhookEvent.model_validate(decode_json(body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("kind", "payload", "uris"),
    [
        ("workflow_run.completed", {"id": "r/1"}, ["extend://workflow-runs/r%2F1"]),
        ("workflow_run.failed", {"id": "r", "batchId": "b"}, ["extend://workflow-runs/r", "extend://batches/b"]),
        ("workflow_run.of_tomorrow", {"id": "r", "batchId": None}, ["extend://workflow-runs/r"]),
        ("workflow_run.step_run.processed", {"id": "s", "workflowRunId": "r"}, ["extend://workflow-runs/r"]),
        ("workflow_run.step_run.processed", {"id": "s"}, []),
        ("workflow.deployed", {"id": "w"}, ["extend://workflows/w"]),
        ("extract_run.processed", {"id": "e"}, []),
        ("workflow_run.completed", {"id": 5}, []),
        ("workflow_run.completed", {"id": "x" * 256}, []),
    ],
)
def test_what_changes_with_an_event(kind: str, payload: dict[str, Any], uris: list[str]) -> None:
    assert read_event(event("evt_1", kind, **payload)).resources == uris


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"eventId": "e"}',
        b'{"eventId": "", "eventType": "a", "payload": {}}',
        b'{"eventId": "e", "eventType": 5, "payload": {}}',
        b'{"eventId": "e", "eventType": "a", "payload": []}',
        b'{"eventId": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting value|WebhookEvent"):
        read_event(body)


@given(
    json_values, st.sampled_from(["workflow_run.completed", "workflow_run.step_run.processed", "workflow.created", "x"])
)
def test_no_payload_can_break_it_or_name_what_is_not_ours(payload: Any, kind: str) -> None:
    body = json.dumps({"eventId": "e", "eventType": kind, "payload": payload}).encode()
    try:
        found = read_event(body).resources
    except ValueError:
        return
    assert all(named_by(uri) is not None for uri in found)


def test_a_payload_behind_a_url_is_wanted_for_runs_only() -> None:
    behind = {"object": "signed_data_url", "data": "https://files.example/x", "id": "r"}
    assert read_event(event("e", "workflow_run.completed", **behind)).payload_url == behind["data"]
    assert read_event(event("e", "workflow.created", **behind)).payload_url is None
    assert read_event(event("e", "workflow_run.completed", id="r")).payload_url is None
    assert read_event(event("e", "workflow_run.completed", **{**behind, "data": 5})).payload_url is None


async def test_an_event_is_new_once_until_it_is_forgotten_or_a_day_has_passed() -> None:
    now = 0.0
    seen = Seen(lambda: now)
    assert await seen.first("a")
    assert not await seen.first("a")
    assert await seen.first("b")
    await seen.forget("a")
    assert await seen.first("a")
    now = REMEMBERED_SECONDS - 1
    assert not await seen.first("b")
    now = REMEMBERED_SECONDS
    assert await seen.first("b")


async def test_it_says_since_when_every_note_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5100.0
    seen = Seen(lambda: now)
    assert await seen.since() == 5100
    for event_id in "abc":
        await seen.first(event_id)
        now += 10
    assert await seen.known(["a", "c", "d"]) == {"a", "c"}
    assert await seen.since() == 5100
    # What made room for others was noted at 5100 and 5110.
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 1)
    await seen.first("d")
    assert (await seen.known(["a", "b", "c"]), await seen.since()) == ({"c"}, 5110)
    now += 2 * REMEMBERED_SECONDS
    assert await seen.since() == now - REMEMBERED_SECONDS


async def test_it_does_not_grow_without_bound() -> None:
    seen = Seen(lambda: 0.0)
    most = module._MOST_REMEMBERED
    for number in range(most + 50):
        await seen.first(str(number))
    assert len(seen._noted) <= most + 1
    assert not await seen.first(str(most + 49))


async def never(_: float) -> None:
    await anyio.sleep_forever()


async def at_once(_: float) -> None:
    return


async def test_a_change_ends_the_waiting_and_only_one_that_is_waited_for() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://workflow-runs/a"], never) as sleep, anyio.fail_after(5):
        ended = anyio.Event()

        async def wait() -> None:
            await sleep(60)
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await bus.publish(ResourceUpdated("extend://workflow-runs/b"))
            await bus.publish(ToolsListChanged())
            await anyio.wait_all_tasks_blocked()
            assert not ended.is_set()
            await bus.publish(ResourceUpdated("extend://workflow-runs/a"))


async def test_a_change_between_two_waits_is_not_lost_and_counts_once() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://a"], never) as sleep, anyio.fail_after(5):
        await bus.publish(ResourceUpdated("extend://a"))
        await sleep(60)
        with anyio.move_on_after(0.01) as scope:
            await sleep(60)
        assert scope.cancelled_caught


async def test_time_ends_the_waiting_and_nothing_listens_once_the_block_has_ended() -> None:
    bus = InMemorySubscriptionBus()
    with waking(bus, ["extend://a"], at_once) as sleep:
        assert len(bus._listeners) == 1
        await sleep(60)
    assert bus._listeners == {}
