"""Measure the latency and the throughput of calls over stdio and HTTP, compared with servers that make the same call.

    python benchmarks/calls.py [--rounds N] [--burst N] [--bursts N]

The servers are called in turn, round by round. Prints Markdown, and fails if a ratio of latencies is too high.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kit.http import HttpServer
from kit.report import Section, Target, median_of_ratios, ms, show
from kit.requests import TOOLS
from kit.sandbox import Extend
from kit.servers import BRIEF, OURS, WHOLE, Server, arguments
from kit.stdio import StdioServer

MOST = {"get_workflow_run": 1.6, "list_runs": 2.0}
"""The highest ratio of our latency to that of the server that returns id and status only."""
AT_ONCE = 16
UPSTREAM = "the call to Extend alone"

Running = StdioServer | HttpServer


@dataclass(frozen=True)
class Effort:
    """The amount of measurements.

    Attributes:
        rounds: timed calls of each server.
        burst: calls in a burst.
        bursts: bursts of each server.
    """

    rounds: int = 400
    burst: int = 400
    bursts: int = 5


def sections(extend: Extend, effort: Effort) -> list[Section]:
    """Measure the latency, then the throughput in bursts."""
    found = []
    for transport in ("stdio", "streamable HTTP"):
        with ExitStack() as stack:
            running = {each: stack.enter_context(_start(each, transport, extend)) for each in (OURS, BRIEF, WHOLE)}
            found += [_section(tool, transport, running, extend, effort) for tool in TOOLS]
    return found


def _start(server: Server, transport: str, extend: Extend) -> Running:
    if transport == "stdio":
        return StdioServer(server.stdio, **extend.environment)
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
            f"ratio to {BRIEF.name}",
            f"calls/s, {AT_ONCE} at once",
            f"ratio to {WHOLE.name}",
        ],
        [
            [
                name,
                ms(statistics.median(each)),
                ms(statistics.quantiles(each, n=20)[-1]),
                f"{median_of_ratios(each, base):.2f}",
                f"{statistics.median(rates[name]):.0f}" if name in rates else "",
                f"{median_of_ratios(rates[name], rates[WHOLE.name]):.2f}" if name in rates else "",
            ]
            for name, each in taken.items()
        ],
    )
    ratio = median_of_ratios(taken[OURS.name], base)
    result.targets.append(Target(f"{tool}, latency over {transport}", BRIEF.name, MOST[tool], ratio))
    return result


def _latencies(tool: str, running: dict[Server, Running], extend: Extend, rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {UPSTREAM: [], **{server.name: [] for server in running}}
    for number in range(rounds + 3):
        run_id = extend.runs[number % len(extend.runs)]
        seconds = {UPSTREAM: _upstream(tool, run_id, extend)}
        for server, child in running.items():
            given = arguments(tool, run_id)
            seconds[server.name] = _again(server, lambda child=child, given=given: _timed(child, tool, given))
        # The first calls open connections and load what only calls need.
        if number >= 3:
            for name, each in seconds.items():
                taken[name].append(each)
    return taken


def _timed(child: Running, tool: str, given: dict[str, Any]) -> float:
    child.ready(1)
    begun = time.perf_counter()
    line = child.call(tool, given)
    seconds = time.perf_counter() - begun
    child.answer(line)
    return seconds


def _again(server: Server, measure: Callable[[], float]) -> float:
    """Measure; repeat a baseline once, since it does not retry a read whose connection was being closed."""
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
            calls = [(tool, arguments(tool, extend.runs[number % len(extend.runs)])) for number in range(effort.burst)]
            seconds = _again(server, lambda child=child, calls=calls: child.burst(calls, AT_ONCE))
            rates[server.name].append(effort.burst / seconds)
    return rates


def main() -> int:
    """Measure and print; return 1 if a ratio is too high."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=Effort.rounds, help="timed calls of each server")
    options.add_argument("--burst", type=int, default=Effort.burst, help="calls in a burst")
    options.add_argument("--bursts", type=int, default=Effort.bursts, help="bursts of each server")
    given = options.parse_args()
    with Extend.start() as extend:
        return show(sections(extend, Effort(given.rounds, given.burst, given.bursts)))


if __name__ == "__main__":
    sys.exit(main())
