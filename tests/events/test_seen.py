from __future__ import annotations

import pytest

from extend_mcp.events import seen as module
from extend_mcp.events.seen import REMEMBERED_SECONDS, Seen


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
    for event in "abc":
        await seen.first(event)
        now += 10
    assert await seen.known(["a", "c", "d"]) == {"a", "c"}
    assert await seen.since() == 5100
    # What made room for others was noted at 100 and 110.
    monkeypatch.setattr(module, "_MOST", 1)
    await seen.first("d")
    assert (await seen.known(["a", "b", "c"]), await seen.since()) == ({"c"}, 5110)
    now += 2 * REMEMBERED_SECONDS
    assert await seen.since() == 5000 + now - REMEMBERED_SECONDS


async def test_it_does_not_grow_without_bound(monkeypatch: object) -> None:
    seen = Seen(lambda: 0.0)
    most = module._MOST
    for number in range(most + 50):
        await seen.first(str(number))
    assert len(seen._until) <= most + 1
    assert not await seen.first(str(most + 49))
