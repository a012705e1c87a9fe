"""How long a call takes and how many fit into a second, over stdio and HTTP, beside servers that make the same call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchkit.extend import Extend
from benchkit.http import HttpServer
from benchkit.report import Section, Target, median_of_ratios, ms
from benchkit.servers import BARE, BRIEF, OURS, Server, baselines
from benchkit.stdio import StdioServer
from loadkit.requests import TOOLS

MOST_ADDED = 2.0
"""Milliseconds that get_workflow_run may add at the median."""
AT_ONCE = 16
UPSTREAM = "the call to Extend alone"

Running = StdioServer | HttpServer


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: how many calls of each server are timed, in turn.
        burst: of how many calls a burst is.
        bursts: how many bursts of each server, in turn.
    """

    rounds: int
    burst: int
    bursts: int


def sections(extend: Extend, effort: Effort, fastmcp: Path | None) -> list[Section]:
    """Latency of each server in turn, then throughput in bursts."""
    servers = [OURS, BRIEF, *baselines(fastmcp)]
    found = []
    for transport, start in (("stdio", _over_stdio), ("streamable HTTP", _over_http)):
        with ExitStack() as stack:
            running = {server: stack.enter_context(start(server, extend)) for server in servers}
            found += [_section(tool, transport, running, extend, effort) for tool in TOOLS]
    return found


def _over_stdio(server: Server, extend: Extend) -> StdioServer:
    return StdioServer(server.stdio, **extend.environment)


def _over_http(server: Server, extend: Extend) -> HttpServer:
    return HttpServer(server, **extend.environment)


def _section(tool: str, transport: str, running: dict[Server, Running], extend: Extend, effort: Effort) -> Section:
    taken = _latencies(tool, running, extend, effort.rounds)
    rates = _rates(tool, running, extend, effort)
    result = Section(f"{tool} over {transport}")
    base = taken[BRIEF.name]
    result.table(
        [
            "server",
            "median ms",
            "p95 ms",
            "ms more than id and status",
            f"calls/s, {AT_ONCE} at once",
            "beside raw JSON",
        ],
        [
            [
                name,
                ms(statistics.median(each)),
                ms(statistics.quantiles(each, n=20)[-1]),
                ms(_added(each, base)),
                f"{statistics.median(rates[name]):.0f}" if name in rates else "",
                f"{median_of_ratios(rates[name], rates[BARE.name]):.2f}" if name in rates else "",
            ]
            for name, each in taken.items()
        ],
    )
    if tool == "get_workflow_run":
        added = _added(taken[OURS.name], base) * 1000
        result.targets.append(
            Target(f"{tool}, ms added to the bare upstream call, {transport}", MOST_ADDED, added, "{:.2f}")
        )
    return result


def _latencies(tool: str, running: dict[Server, Running], extend: Extend, rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {UPSTREAM: [], **{server.name: [] for server in running}}
    for number in range(rounds + 3):
        run_id = extend.runs[number % len(extend.runs)]
        seconds = {UPSTREAM: _upstream(tool, run_id, extend)}
        for server, child in running.items():
            arguments = server.arguments(tool, run_id)
            seconds[server.name] = _again(
                server, lambda child=child, arguments=arguments: _timed(child, tool, arguments)
            )
        # The first calls open connections and import what only calls need.
        if number >= 3:
            for name, each in seconds.items():
                taken[name].append(each)
    return taken


def _timed(child: Running, tool: str, arguments: dict[str, Any]) -> float:
    child.ready(1)
    begun = time.perf_counter()
    line = child.call(tool, arguments)
    seconds = time.perf_counter() - begun
    child.answer(line)
    return seconds


def _again(server: Server, measure: Callable[[], float]) -> float:
    """Measure, and a baseline once more where it failed: it repeats no read whose connection was just being closed."""
    try:
        return measure()
    except RuntimeError:
        if server is OURS:
            raise
        return measure()


def _upstream(tool: str, run_id: str, extend: Extend) -> float:
    begun = time.perf_counter()
    extend.page() if tool == "list_runs" else extend.run(run_id)
    return time.perf_counter() - begun


def _rates(tool: str, running: dict[Server, Running], extend: Extend, effort: Effort) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {server.name: [] for server in running}
    for _ in range(effort.bursts):
        for server, child in running.items():
            calls = _turns(server, tool, extend, effort.burst)
            seconds = _again(server, lambda child=child, calls=calls: child.burst(calls, AT_ONCE))
            rates[server.name].append(effort.burst / seconds)
    return rates


def _turns(server: Server, tool: str, extend: Extend, count: int) -> Sequence[tuple[str, dict[str, Any]]]:
    return [(tool, server.arguments(tool, extend.runs[number % len(extend.runs)])) for number in range(count)]


def _added(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the differences, round by round."""
    return statistics.median(value - each for value, each in zip(values, base, strict=True))
