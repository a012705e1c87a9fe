"""Three server processes on one file of kept runs, with two callers who have an account each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio
import pytest

from tests.e2e.replicas import Child, connected, end_for_sure
from tests.harness import Box, Person
from tests.history.test_history import asked, change, counted
from tests.hosting import Host
from tests.http.kit import extend_with

pytestmark = pytest.mark.thorough

ANA, BEN = "sk_ana_canary_0001", "sk_ben_canary_0002"


@pytest.fixture
def accounts(host: Host) -> Iterator[dict[str, Box]]:
    """The accounts by key; ana's has 10,000 runs."""
    with host.room("large") as hers, host.room("default") as his:
        yield {ANA: Box(hers.base_url, hers.sandbox), BEN: Box(his.base_url, his.sandbox)}


@pytest.fixture
def servers(accounts: dict[str, Box], tmp_path: Path) -> Iterator[list[Child]]:
    with extend_with(accounts) as url, ExitStack() as stack:
        environment = {
            "EXTEND_BASE_URL": url,
            "EXTEND_MCP_AUTH": "passthrough",
            "EXTEND_MCP_HISTORY": str(tmp_path / "runs.db"),
            "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
            "EXTEND_MCP_TOOLSETS": "all",
        }
        command = ["-m", "extend_mcp", "serve", "--transport", "http", "--port", "0"]
        ready = r"serves (http://127\.0\.0\.1:\d+)/mcp\n"
        children = [Child(tmp_path / f"server{number}", command, ready, environment) for number in range(3)]
        for child in children:
            stack.callback(end_for_sure, child)
            child.start()
        for child in children:
            child.await_ready()
        yield children
        for child in children:
            assert "Traceback" not in child.errors, child.errors


async def test_each_caller_sees_their_own_runs_whichever_process_answers(
    accounts: dict[str, Box], servers: list[Child]
) -> None:
    chance = random.Random(5)

    async def compare(asking: list[Child]) -> None:
        for server in asking:
            for key, box in accounts.items():
                async with connected(server.url, bearer=key, person=Person()) as client:
                    for _ in range(20):
                        await change(box, client, chance)
                    assert await asked(client) == counted(box)

    async def ask(server: Child) -> None:
        with suppress(Exception):
            async with connected(server.url, bearer=ANA) as client:
                await asked(client)

    first, *others = servers
    async with anyio.create_task_group() as tasks:
        # Killed in the middle of the first pass over ana's runs.
        tasks.start_soon(ask, first)
        with anyio.fail_after(20):
            while len(accounts[ANA].requests()) < 4:
                await anyio.sleep(0.001)
        first.kill()
    await compare(others)
    first.start()
    first.await_ready()
    await compare(servers)
    assert [path.name for path in first.folder.parent.glob("runs.db*") if "damaged" in path.name] == []
