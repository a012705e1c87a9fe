from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.events import event as module
from extend_mcp.events.event import (
    REMEMBERED_SECONDS,
    NotAnEventError,
    Seen,
    WebhookEvent,
    needs_payload,
    read_event,
    resources_of,
)
from extend_mcp.views.uris import named_by
from tests.events.kit import event

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
    assert resources_of(read_event(event("evt_1", kind, **payload))) == uris


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
    with pytest.raises(NotAnEventError):
        read_event(body)


@given(
    json_values, st.sampled_from(["workflow_run.completed", "workflow_run.step_run.processed", "workflow.created", "x"])
)
def test_no_payload_can_break_it_or_name_what_is_not_ours(payload: Any, kind: str) -> None:
    body = json.dumps({"eventId": "e", "eventType": kind, "payload": payload}).encode()
    try:
        found = resources_of(read_event(body))
    except NotAnEventError:
        return
    assert all(named_by(uri) is not None for uri in found)


def test_a_payload_behind_a_url_is_wanted_for_runs_only() -> None:
    behind = {"object": "signed_data_url", "data": "https://files.example/x", "id": "r"}
    assert needs_payload(WebhookEvent("e", "workflow_run.completed", behind))
    assert not needs_payload(WebhookEvent("e", "workflow.created", behind))
    assert not needs_payload(WebhookEvent("e", "workflow_run.completed", {"id": "r"}))
    assert WebhookEvent("e", "t", {**behind, "data": 5}).payload_url is None


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
    now = 100.0
    seen = Seen(lambda: now, wall=lambda: now + 5000)
    assert await seen.since() == 5100
    for event_id in "abc":
        await seen.first(event_id)
        now += 10
    assert await seen.known(["a", "c", "d"]) == {"a", "c"}
    assert await seen.since() == 5100
    # What made room for others was noted at 100 and 110.
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 1)
    await seen.first("d")
    assert (await seen.known(["a", "b", "c"]), await seen.since()) == ({"c"}, 5110)
    now += 2 * REMEMBERED_SECONDS
    assert await seen.since() == 5000 + now - REMEMBERED_SECONDS


async def test_it_does_not_grow_without_bound() -> None:
    seen = Seen(lambda: 0.0)
    most = module._MOST_REMEMBERED
    for number in range(most + 50):
        await seen.first(str(number))
    assert len(seen._until) <= most + 1
    assert not await seen.first(str(most + 49))
