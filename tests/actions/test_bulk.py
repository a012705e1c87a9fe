"""Note what was sent for each run of a plan, also when the call is cut short."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from mcp.client.client import Client

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.sqlite_store import SqliteStore
from extend_mcp.actions.store import Plan, PlannedRun
from extend_mcp.callers import Shared
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from tests.actions.test_cancel_runs import batch_of, posts
from tests.harness import KEY, Box, BoxClock, facts_of

SCENARIO = "empty"


class Remote(SqliteStore):
    """A store that takes time to reach, as Redis does; it shows the test what was noted."""

    noted: set[str]

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        await anyio.lowlevel.checkpoint()
        self.noted.add(run.run_id)
        await super().save_run(plan, run)


@pytest.mark.parametrize("stop_after", [1, 15])
async def test_what_was_sent_is_noted_though_the_call_is_cut_short(box: Box, stop_after: int) -> None:
    ids, store = batch_of(box, 10), Remote()
    store.noted = set()
    settings = Settings.model_validate({"api_key": KEY, "base_url": box.base_url})
    server, registry = build_server(settings, clock=BoxClock(box), shared=Shared(SealingKeys(), store=store))
    async with Client(server) as client:
        plan = facts_of(await client.call_tool("cancel_runs", {"run_ids": ids}))
        box.forget()

        async def cut_short() -> None:
            while len(box.requests()) < stop_after:
                await anyio.sleep(0)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cut_short)
            await client.call_tool("cancel_runs", {"confirmation_token": plan["confirmation_token"]})
            group.cancel_scope.cancel()
    await registry.aclose()
    assert set(posts(box)) <= store.noted <= set(ids)
