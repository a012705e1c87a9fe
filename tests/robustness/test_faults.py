"""Every method of the client meets every fault, on real sockets; what comes of it is what the rules say.

The bodies that are about size run under a limit of 1 MB in each cell, and again under the real 64 MB for one read and
one write: the limit is one number of `ExtendTransport`, which every method's answer passes.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from extend_mcp.api.client import ExtendClient
from extend_mcp.api.config import ClientConfig
from extend_mcp.api.errors import ExtendError
from extend_mcp.api.transport import MAX_BODY_BYTES, ExtendTransport
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.views.document import error_words
from tests.robustness.client_calls import CALLS, Kind, kind_of, methods
from tests.robustness.fault_rules import (
    ATTEMPTS,
    CONNECT,
    LIMIT,
    READ,
    SMALL,
    TOTAL,
    Cell,
    Fault,
    expected,
    faults,
    table,
)
from tests.robustness.faulty_server import KEY, Server, Wire, faulty, unreachable
from tests.robustness.leaping_clock import LeapingLoop

KINDS: tuple[Kind, ...] = ("read", "write", "create")
HEAVY = ("gzip bomb", "60 MB run", "body above 64 MB")


class Bench(Metrics):
    """One loop, one server and one pool of connections for all cells."""

    def __init__(self, server: Server, urls: dict[str, str], transport: httpx.AsyncBaseTransport) -> None:
        self.server = server
        self.urls = {"server": server.url, **urls}
        self.transport = transport
        self.attempts: list[str] = []

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count an attempt."""
        if name == "api_requests_total":
            self.attempts.append(f"{labels['method']} {labels['endpoint']}")

    async def run(self, method: str, wire: Wire) -> tuple[ExtendError | None, float]:
        """Make a call against a fault; return its error, if any, and the seconds that it took."""
        self.server.wire = wire
        self.server.seen.clear()
        self.attempts.clear()
        config = ClientConfig(api_key=SecretStr(KEY), base_url=self.urls[wire.where])
        loop = asyncio.get_running_loop()
        client = ExtendClient(config, ExtendTransport(self.transport, metrics=self))
        begun = loop.time()
        try:
            await CALLS[method](client)
        except ExtendError as error:
            return error, loop.time() - begun
        return None, loop.time() - begun


def defaults() -> dict[str, Any]:
    """The defaults of the transport's arguments, to be changed for a while."""
    defaults = ExtendTransport.__init__.__kwdefaults__
    assert defaults
    return defaults


@pytest.fixture(scope="module")
def loop() -> Iterator[LeapingLoop]:
    loop = LeapingLoop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(scope="module")
def bench(loop: LeapingLoop) -> Iterator[Bench]:
    async def open_all(stack: AsyncExitStack) -> Bench:
        server = await stack.enter_async_context(faulty())
        transport = await stack.enter_async_context(httpx.AsyncHTTPTransport(verify=False))
        return Bench(server, stack.enter_context(unreachable()), transport)

    stack = AsyncExitStack()
    with pytest.MonkeyPatch.context() as patch:
        # The longest that chance allows, so that "at most" is what is measured.
        patch.setitem(defaults(), "uniform", lambda least, most: most)
        patch.setitem(defaults(), "max_bytes", SMALL)
        yield loop.run_until_complete(open_all(stack))
        loop.run_until_complete(stack.aclose())


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
@pytest.mark.parametrize("method", sorted(CALLS))
def test_a_cell_is_what_the_rules_say(loop: LeapingLoop, bench: Bench, method: str, fault: Fault) -> None:
    check(loop, bench, method, fault)


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("method", ["get_workflow_run", "create_workflow_run"])
def test_a_body_of_full_size(
    loop: LeapingLoop, bench: Bench, method: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(defaults(), "max_bytes", MAX_BODY_BYTES)
    check(loop, bench, method, next(fault for fault in faults(LIMIT) if fault.name == name))


def check(loop: LeapingLoop, bench: Bench, method: str, fault: Fault) -> None:
    kind = kind_of(method)
    cell = expected(fault, kind)
    error, seconds = loop.run_until_complete(bench.run(method, fault.wire))
    assert type(error) is (cell.error or type(None))
    assert cell.longest - fault.slack <= seconds <= cell.longest + 0.1
    assert len(bench.server.seen) == cell.requests
    assert len(bench.attempts) == cell.attempts
    assert all((verb == "GET") == (kind == "read") for verb, _ in bench.server.seen)
    if error is not None:
        check_words(error, cell)


def check_words(error: ExtendError, cell: Cell) -> None:
    assert cell.says in error_words(error)
    assert error.effect == ("unknown" if cell.changed == "unclear" else "none")
    assert cell.advice in error.next_step
    said = f"{error} {error!r} {error_words(error)} {error.next_step} {vars(error)}"
    assert KEY not in said


def test_the_table_of_faults_in_the_docs_is_this_one() -> None:
    """Print the rows of docs/internals/faults.md with ``python -m tests.robustness.fault_rules``."""
    page = Path(__file__).parents[2] / "docs" / "internals" / "faults.md"
    assert [line for line in page.read_text().splitlines() if line.startswith("|")] == table()


def test_every_method_of_the_client_has_its_row() -> None:
    assert methods() == set(CALLS)
    assert {kind_of(method) for method in CALLS} == set(KINDS)


def test_no_cell_is_empty_and_no_create_is_sent_twice() -> None:
    for fault in faults():
        for kind in KINDS:
            cell = expected(fault, kind)
            assert cell.says
            assert cell.changed
            assert cell.advice
            assert cell.longest <= TOTAL
            assert cell.requests <= cell.attempts <= (ATTEMPTS if kind == "read" else 1)


def test_the_rules_speak_of_the_default_limits() -> None:
    config = ClientConfig(api_key=None, base_url="http://extend.test")
    given = (config.connect_timeout, config.read_timeout, defaults()["total_timeout"], defaults()["max_attempts"])
    assert given == (CONNECT, READ, TOTAL, ATTEMPTS)
    assert LIMIT == MAX_BODY_BYTES


def test_the_bomb_is_small_until_it_is_unpacked() -> None:
    bomb = next(fault for fault in faults() if fault.name == "gzip bomb").wire.content()
    assert len(bomb) * 50 < len(gzip.decompress(bomb)) == SMALL + 1


def test_a_create_on_a_kept_connection_that_is_reset_is_not_sent_again(loop: LeapingLoop) -> None:
    """An idle connection that breaks is the case in which HTTP clients like to send once more."""
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}', None):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            await reader.readexactly(int(length[0].partition(":")[2]) if length else 0)
            seen.append(head.split(" ")[0])
            if answer:
                writer.write(answer)
                await writer.drain()
        writer.transport.abort()

    async def run() -> Any:
        listener = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        config = ClientConfig(api_key=SecretStr(KEY), base_url=url)
        try:
            async with httpx.AsyncHTTPTransport(verify=False) as network:
                client = ExtendClient(config, ExtendTransport(network))
                await client.list_workflows()
                return await asyncio.gather(CALLS["create_workflow_run"](client), return_exceptions=True)
        finally:
            listener.close()

    [error] = loop.run_until_complete(run())
    assert isinstance(error, ExtendError)
    assert (error.effect, seen) == ("unknown", ["GET", "POST"])
