"""Many clients at once over HTTP: extend-mcp beside a server on the bare SDK that makes the same calls to Extend.

    python benchmarks/load.py [--calls N] [--clients N] [--rounds N] [--era ERA] [--tool TOOL] [--bare whole|brief]
        [--least RATIO] [--most-growth PART] [--deadline SECONDS]

A sandbox, extend-mcp and the baseline run as processes of their own, and the clients in this one. The two servers are
called in turn, round by round, so that a change in the machine's speed meets both; every answer is checked. Throughput
suffers from whatever else runs on the machine, so the servers' CPU time is told as well. Prints Markdown, and fails
when an answer was wrong, memory grew, or the ratio is too low. Needs Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
import urllib.request
from contextlib import ExitStack
from functools import partial

from loadkit.processes import free_port, start_bare, start_ours, start_sandbox
from loadkit.report import Limits, faults, markdown
from loadkit.requests import ERAS, TOOLS, calls_on
from loadkit.rounds import Target

RUNS = 40


def known_runs(base_url: str) -> list[str]:
    """Ids of runs that the sandbox has."""
    request = urllib.request.Request(
        f"{base_url}/workflow_runs?sortBy=createdAt&sortDir=desc&maxPageSize={RUNS}",
        headers={"Authorization": "Bearer x", "x-extend-api-version": "2026-02-09"},
    )
    # Nothing of this may leave the machine through a proxy.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return [run["id"] for run in json.load(answer)["data"]]


async def load(ours: Target, bare: Target, calls: int, rounds: int) -> None:
    """Warm both up, then play round after round in turn."""
    for target in (ours, bare):
        await target.warm_up(2 * len(target.clients))
    for _ in range(rounds):
        for target in (ours, bare):
            await target.measure(calls // rounds)


async def run(given: argparse.Namespace) -> int:
    """Start everything, measure, print and judge; 1 when something misses what was asked."""
    with ExitStack() as children:
        sandbox, base_url = start_sandbox()
        children.enter_context(sandbox)
        calls = calls_on(known_runs(base_url), (given.tool,) if given.tool else TOOLS)
        targets = []
        bare_start = partial(start_bare, answers=given.bare)
        for name, start in (("extend-mcp", start_ours), (f"bare SDK, {given.bare} answers", bare_start)):
            port = free_port()
            child = children.enter_context(start(port, base_url))
            targets.append(await Target.prepare(name, child, port, given.era, given.clients, calls))
        ours, bare = targets
        before = (sandbox.cpu_seconds(), time.process_time(), time.perf_counter())
        await load(ours, bare, given.calls, given.rounds)
        taken = (sandbox.cpu_seconds(), time.process_time(), time.perf_counter())
        shared, own, seconds = (after - begun for after, begun in zip(taken, before, strict=True))
        words = [each.child.last_words() for each in targets]
    print(f"{given.clients} clients, era {given.era}, {given.tool or ' and '.join(TOOLS) + ' in turn'}\n")
    print(markdown(ours, bare))
    print(f"meanwhile the sandbox was busy {shared / seconds:.0%}, the clients {own / seconds:.0%} of {seconds:.0f} s")
    problems = faults(ours, bare, Limits(given.least, given.most_growth))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        for target, said in zip(targets, words, strict=True):
            if said:
                print(f"{target.name} wrote: {said}", file=sys.stderr)
    return 1 if problems else 0


def main() -> int:
    """Read the options and hold the run to its deadline."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--calls", type=int, default=20_000, help="calls of each server, at most a million")
    options.add_argument("--clients", type=int, default=200, help="how many call at once, at most 1,000")
    options.add_argument("--rounds", type=int, default=10, help="how many rounds the calls are spread over, at least 2")
    options.add_argument("--era", choices=ERAS, default=ERAS[0], help="version of the protocol")
    options.add_argument("--tool", choices=TOOLS, help="call only this one; by default both in turn")
    options.add_argument(
        "--bare", choices=("whole", "brief"), default="whole", help="what the baseline hands on of Extend's answers"
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
