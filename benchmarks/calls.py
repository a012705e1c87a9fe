"""Measure the latency and the throughput of calls over stdio and HTTP, compared with servers that make the same call.

    python benchmarks/calls.py [--rounds N] [--burst N] [--bursts N] [--earlier PYTHON]

The servers are called in turn, round by round. Prints Markdown, and fails if a ratio is not as asked.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from kit.http import HttpServer
from kit.report import Section, Target, median_of_ratios, ms, show
from kit.requests import TOOLS
from kit.sandbox import Extend
from kit.servers import BRIEF, OURS, WHOLE, Server, arguments, earlier
from kit.stdio import StdioServer

MOST = {"get_workflow_run": 1.25, "list_runs": 1.35}
"""The highest ratio of our latency to that of the server that returns id and status only."""
LEAST = 0.75
"""The lowest ratio of our throughput to that server's."""
AT_ONCE = 16
TRIES = 3
"""Times a call of a baseline is made when it fails."""
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


def sections(extend: Extend, effort: Effort, also: Sequence[Server] = ()) -> list[Section]:
    """Measure the latency, then the throughput in bursts."""
    servers = (OURS, BRIEF, WHOLE, *also)
    found = []
    for transport in ("stdio", "streamable HTTP"):
        with ExitStack() as stack:
            running = {each: stack.enter_context(_start(each, transport, extend)) for each in servers}
            found += [_section(tool, transport, running, extend, effort) for tool in TOOLS]
    return found


def _start(server: Server, transport: str, extend: Extend) -> Running:
    if transport == "stdio":
        return StdioServer(server.stdio, **extend.environment)
    return HttpServer(server, **extend.environment)


def _section(tool: str, transport: str, running: dict[Server, Running], extend: Extend, effort: Effort) -> Section:
    lost: Counter[str] = Counter()
    taken = _latencies(tool, running, extend, effort.rounds, lost)
    rates = _rates(tool, running, extend, effort, lost)
    result = Section(f"{tool} over {transport}")
    base = taken[BRIEF.name]
    result.table(
        [
            "server",
            "median ms",
            "p95 ms",
            f"ratio to {BRIEF.name}",
            f"calls/s, {AT_ONCE} at once",
            f"ratio to {BRIEF.name}",
        ],
        [
            [
                name,
                *_spread(each),
                f"{median_of_ratios(each, base):.2f}",
                f"{statistics.median(_measured(rates[name])):.0f}" if name in rates else "",
                f"{median_of_ratios(rates[name], rates[BRIEF.name]):.2f}" if name in rates else "",
            ]
            for name, each in taken.items()
        ],
    )
    ratio = median_of_ratios(taken[OURS.name], base)
    result.targets.append(Target(f"{tool}, latency over {transport}", BRIEF.name, MOST[tool], ratio))
    ratio = median_of_ratios(rates[OURS.name], rates[BRIEF.name])
    what = f"{tool}, calls a second with {AT_ONCE} at once over {transport}"
    result.targets.append(Target(what, BRIEF.name, LEAST, ratio, is_lowest=True))
    result.lines += [f"{name} failed {count} times, and was repeated or left out." for name, count in lost.items()]
    return result


def _measured(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]


def _spread(values: Sequence[float]) -> list[str]:
    found = sorted(_measured(values))
    return [ms(statistics.median(found)), ms(found[int(0.95 * (len(found) - 1))])]


def _latencies(
    tool: str, running: dict[Server, Running], extend: Extend, rounds: int, lost: Counter[str]
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {UPSTREAM: [], **{server.name: [] for server in running}}
    for number in range(rounds + 3):
        run_id = extend.runs[number % len(extend.runs)]
        seconds = {UPSTREAM: _again(UPSTREAM, lost, lambda run_id=run_id: _upstream(tool, run_id, extend))}
        for server, child in running.items():
            given = arguments(tool, run_id)
            seconds[server.name] = _again(
                server.name, lost, lambda child=child, given=given: _timed(child, tool, given)
            )
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


def _again(name: str, lost: Counter[str], measure: Callable[[], float], tries: int = TRIES) -> float:
    """Measure; repeat a baseline that fails, since it does not retry a read whose connection was being closed.

    Returns:
        Seconds; NaN if a baseline failed each time. What it is compared with is left out then.

    Raises:
        RuntimeError: ours failed.
    """
    try:
        return measure()
    except (RuntimeError, OSError, httpx.TransportError) as error:
        if name == OURS.name:
            raise RuntimeError(f"{name} failed: {error}") from error
        print(f"{name} failed, which is a baseline: {error}", file=sys.stderr)
        lost[name] += 1
        return _again(name, lost, measure, tries - 1) if tries > 1 else math.nan


def _upstream(tool: str, run_id: str, extend: Extend) -> float:
    begun = time.perf_counter()
    extend.page() if tool == "list_runs" else extend.run(run_id)
    return time.perf_counter() - begun


def _rates(
    tool: str, running: dict[Server, Running], extend: Extend, effort: Effort, lost: Counter[str]
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {server.name: [] for server in running}
    for _ in range(effort.bursts):
        for server, child in running.items():
            calls = [(tool, arguments(tool, extend.runs[number % len(extend.runs)])) for number in range(effort.burst)]
            seconds = _again(server.name, lost, lambda child=child, calls=calls: child.burst(calls, AT_ONCE))
            rates[server.name].append(effort.burst / seconds)
    return rates


def main() -> int:
    """Measure and print; return 1 if a ratio is not as asked."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=Effort.rounds, help="timed calls of each server")
    options.add_argument("--burst", type=int, default=Effort.burst, help="calls in a burst")
    options.add_argument("--bursts", type=int, default=Effort.bursts, help="bursts of each server")
    options.add_argument("--earlier", metavar="PYTHON", help="also measure the version installed for this Python")
    given = options.parse_args()
    with Extend.start() as extend:
        effort = Effort(given.rounds, given.burst, given.bursts)
        return show(sections(extend, effort, earlier(given.earlier)))


if __name__ == "__main__":
    sys.exit(main())
