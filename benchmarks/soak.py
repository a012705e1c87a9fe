"""Run everything at once: does the server stay up, and does it release what it took?

    python benchmarks/soak.py [--minutes 2] [--seed 1]

A sandbox with injected faults, extend-mcp over HTTP (two callers with tokens, webhooks) and over stdio, and clients of
both protocols that call every tool, confirm, decline, cancel, subscribe and vanish. The baseline is the server itself
at half of the time: prints the ratio to it as Markdown. Fails on a crash, a traceback, a protocol error, a call that
hangs, a leaked task or descriptor, and growth in the second half. Needs Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import tempfile
from pathlib import Path

import anyio
import httpx
from kit.soak.clients import Record, soakers
from kit.soak.fleet import Fleet, fleet
from kit.soak.readings import Reading, Watch
from kit.soak.report import End, faults, markdown
from kit.soak.world import World

LOOK_SECONDS = 2.0
QUIET_SECONDS = 40.0
"""The pause after the last client left: longer than a session is kept and than any call takes."""


async def soak(running: Fleet, minutes: float, seed: int) -> tuple[Record, World, list[Watch], End]:
    """Run everything for so many minutes, then wait until the server is idle."""
    rng = random.Random(seed)
    world, record = World(running), Record()
    watches = [Watch(name, running.folder / name) for name in ("http", "stdio")]
    clients = soakers(running, world, record, rng)
    rest = await _at_rest(watches[0])
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.keep)
        await anyio.sleep(2)
        tasks.start_soon(world.strike, rng)
        for soaker in clients:
            tasks.start_soon(soaker.live)
        tasks.start_soon(_watch, watches, running, stopped)
        with anyio.move_on_after(minutes * 60):
            await stopped.wait()
        world.stopping = True
        stopped.set()
    # The server over stdio ends with its client; its readings are kept.
    await anyio.sleep(QUIET_SECONDS)
    # The next call closes connections to Extend that are too old.
    for soaker in clients:
        await soaker.call_once("list_workflows")
    end = await _at_rest(watches[0])
    metrics = await _metrics(running)
    errors = [running.server.errors(), (running.folder / "stdio.errors").read_text(encoding="utf-8")]
    return record, world, watches, End(rest, end, metrics, errors, running.server.exit_status())


async def _at_rest(watch: Watch) -> Reading | None:
    """Return a reading of the idle server. A look requests the number of tasks, which the next one reads."""
    looking = Watch(watch.name, watch.file)
    for _ in range(3):
        looking.look()
        await anyio.sleep(0.5)
    return looking.readings[-1] if looking.readings else None


async def _watch(watches: list[Watch], running: Fleet, stopped: anyio.Event) -> None:
    while not stopped.is_set():
        for watch in watches:
            watch.look()
        if running.server.exit_status() is not None:
            stopped.set()
        await anyio.sleep(LOOK_SECONDS)


async def _metrics(running: Fleet) -> str:
    async with httpx.AsyncClient(base_url=running.url, timeout=10, trust_env=False) as client:
        try:
            return (await client.get("/metrics")).text
        except httpx.HTTPError:
            return ""


def main() -> int:
    """Read the options and run the soak within its time."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--minutes", type=float, default=2, help="how long, at most a day")
    options.add_argument("--seed", type=int, default=1, help="decides the calls and the faults")
    given = options.parse_args()
    if not 0.5 <= given.minutes <= 1440:
        options.error("out of bounds: 0.5 <= minutes <= 1440")
    # A client that leaves abruptly logs what reaches it later, which is no fault of the server.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
    # By default this signal would end the program at once, and leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory() as folder, fleet(Path(folder)) as running:
            deadline = given.minutes * 60 + 300
            result = asyncio.run(asyncio.wait_for(soak(running, given.minutes, given.seed), deadline))
    except asyncio.TimeoutError:
        print("the clients did not finish", file=sys.stderr)
        return 1
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown(given.minutes, *result))
    problems = faults(*result)
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
