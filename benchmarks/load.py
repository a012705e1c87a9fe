"""Load extend-mcp over HTTP with many clients at once, compared with a server on the bare SDK.

    python benchmarks/load.py [--calls N] [--clients N] [--rounds N] [--protocol VERSION] [--tool TOOL]
        [--bare whole|brief] [--least RATIO] [--most-growth PART] [--deadline SECONDS]

The sandbox, extend-mcp and the baseline are processes of their own. The two servers are called in turn, round by round,
so that a change in the machine's speed affects both; every response is checked. Other programs on the machine lower the
throughput, so the servers' CPU time is reported as well. Prints Markdown, and fails if a response was wrong, memory
grew, or the ratio is too low. Needs Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from kit.processes import free_port
from kit.report import median_of_ratios, table
from kit.requests import PROTOCOLS, TOOLS, calls_on
from kit.rounds import Target
from kit.sandbox import Extend
from kit.servers import BRIEF, OURS, WHOLE

MOST_OF_BASELINE = 0.01
"""The part of a baseline's calls that may fail: it does not retry a read whose connection was being closed."""


async def load(ours: Target, bare: Target, calls: int, rounds: int) -> None:
    """Warm both up, then run round after round in turn."""
    for target in (ours, bare):
        await target.warm_up(2 * len(target.clients))
    for _ in range(rounds):
        for target in (ours, bare):
            await target.measure(calls // rounds)


async def run(given: argparse.Namespace) -> int:
    """Start everything, measure, print and judge; return 1 if a bound is missed."""
    with ExitStack() as children:
        extend = children.enter_context(Extend.start())
        calls = calls_on(extend.runs, (given.tool,) if given.tool else TOOLS)
        targets = []
        for server in (OURS, WHOLE if given.bare == "whole" else BRIEF):
            port = free_port()
            child = children.enter_context(server.start_http(port, **extend.environment))
            targets.append(await Target.prepare(server.name, child, port, given.protocol, given.clients, calls))
        ours, bare = targets
        before = (extend.child.cpu_seconds(), time.process_time(), time.perf_counter())
        await load(ours, bare, given.calls, given.rounds)
        after = (extend.child.cpu_seconds(), time.process_time(), time.perf_counter())
        shared, own, seconds = (end - begun for end, begun in zip(after, before, strict=True))
        errors = [each.child.errors()[-2000:] for each in targets]
    print(f"{given.clients} clients, {given.protocol}, {given.tool or ' and '.join(TOOLS) + ' in turn'}\n")
    print(markdown(ours, bare))
    print(f"meanwhile the sandbox was busy {shared / seconds:.0%}, the clients {own / seconds:.0%} of {seconds:.0f} s")
    problems = faults(ours, bare, given.least, given.most_growth)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        for target, said in zip(targets, errors, strict=True):
            if said:
                print(f"{target.name} wrote: {said}", file=sys.stderr)
    return 1 if problems else 0


@dataclass(frozen=True)
class Memory:
    """Megabytes held after the warm-up, after half of the calls and after the last one, and the peak."""

    start: float
    middle: float
    end: float
    peak: float

    @property
    def growth(self) -> float:
        """Return the growth over the second half, as a fraction."""
        return (self.end - self.middle) / self.middle


def memory_of(target: Target) -> Memory:
    """Return the memory of a server over its rounds."""
    half = target.memory[-1][0] / 2
    return Memory(
        start=target.memory[0][1],
        middle=next(held for calls, held in target.memory if calls >= half),
        end=target.memory[-1][1],
        peak=max(held for _, held in target.memory),
    )


def cpu_per_thousand(target: Target) -> float:
    """Return the server's processor seconds per 1,000 calls."""
    calls = sum(len(each.latencies) for each in target.rounds)
    return 1000 * sum(each.cpu for each in target.rounds) / calls


def throughput_ratio(ours: Target, bare: Target) -> float:
    """Return the median ratio of the throughputs, pair by pair."""
    return median_of_ratios(*([each.throughput for each in target.rounds] for target in (ours, bare)))


def markdown(ours: Target, bare: Target) -> str:
    """Return the tables and the ratios."""
    both = (ours, bare)
    cpu = cpu_per_thousand(bare) / cpu_per_thousand(ours)
    head = [
        "server",
        "calls",
        "errors",
        "calls/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "CPU s per 1,000",
        "busy",
        "KB per answer",
    ]
    lines = table(head, map(_load_row, both))
    head = ["server", "RSS start MB", "middle MB", "end MB", "peak MB", "growth over the second half"]
    lines += ["", *table(head, map(_memory_row, both)), ""]
    lines += [
        f"ratio of throughput to {bare.name}, median of {len(ours.rounds)} pairs: {throughput_ratio(ours, bare):.2f}  ",
        f"ratio of calls for the same CPU: {cpu:.2f}  ",
    ]
    lines += [
        f"errors of {target.name}: {', '.join(f'{count} x {fault}' for fault, count in target.faults.most_common())}  "
        for target in both
        if target.faults
    ]
    return "\n".join(lines)


def faults(ours: Target, bare: Target, least: float, most_growth: float) -> list[str]:
    """Return the missed bounds. Many errors of the baseline are one: they would make it look fast."""
    found = [f"{ours.name}: {ours.faults.total()} errors"] if ours.faults.total() else []
    if bare.faults.total() > MOST_OF_BASELINE * sum(len(each.latencies) for each in bare.rounds):
        found.append(f"{bare.name}: {bare.faults.total()} errors")
    growth = memory_of(ours).growth
    if growth >= most_growth:
        found.append(f"memory grew by {growth:.1%} over the second half; under {most_growth:.1%} is asked")
    ratio = throughput_ratio(ours, bare)
    if ratio < least:
        found.append(f"throughput is {ratio:.2f} of the baseline's; at least {least:.2f} is asked")
    return found


def _load_row(target: Target) -> list[object]:
    latencies = [latency for each in target.rounds for latency in each.latencies]
    seconds = sum(each.seconds for each in target.rounds)
    cuts = statistics.quantiles(latencies, n=100)
    return [
        target.name,
        f"{len(latencies):,}",
        target.faults.total(),
        f"{len(latencies) / seconds:.0f}",
        *(f"{cuts[at] * 1000:.0f}" for at in (49, 94, 98)),
        f"{cpu_per_thousand(target):.2f}",
        f"{sum(each.cpu for each in target.rounds) / seconds:.0%}",
        f"{sum(each.received for each in target.rounds) / len(latencies) / 1000:.1f}",
    ]


def _memory_row(target: Target) -> list[object]:
    memory = memory_of(target)
    held = (memory.start, memory.middle, memory.end, memory.peak)
    return [target.name, *(f"{each:.1f}" for each in held), f"{memory.growth:+.1%}"]


def main() -> int:
    """Read the options and hold the run to its deadline."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--calls", type=int, default=20_000, help="calls of each server, at most a million")
    options.add_argument("--clients", type=int, default=200, help="how many call at once, at most 1,000")
    options.add_argument("--rounds", type=int, default=10, help="how many rounds the calls are spread over, at least 2")
    options.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="protocol version")
    options.add_argument("--tool", choices=TOOLS, help="call only this one; by default both in turn")
    options.add_argument(
        "--bare", choices=("whole", "brief"), default="whole", help="what the baseline returns of Extend's responses"
    )
    options.add_argument("--least", type=float, default=0.8, help="lowest ratio of throughput, ours to bare")
    options.add_argument("--most-growth", type=float, default=0.05, help="growth of memory that is too much, as a part")
    options.add_argument("--deadline", type=float, default=1200, help="seconds after which the run is given up")
    given = options.parse_args()
    if not (2 <= given.rounds <= given.calls <= 1_000_000 and 1 <= given.clients <= 1_000):
        options.error("out of bounds: 2 <= rounds <= calls <= 1,000,000 and 1 <= clients <= 1,000")
    # By default this signal would end the program at once, and leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return asyncio.run(asyncio.wait_for(run(given), given.deadline))
    except asyncio.TimeoutError:
        print(f"not done after {given.deadline:g} seconds", file=sys.stderr)
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
