"""Half an hour of everything at once: does the server stay up, and does it let go of what it took?

    python benchmarks/soak.py [--minutes 2] [--seed 1]

A sandbox whose answers fail again and again, extend-mcp over HTTP (two callers with tokens, webhooks) and over stdio,
and clients of both eras that call every tool, confirm, decline, cancel, subscribe and vanish. Prints Markdown; fails on
a crash, a traceback, a protocol error, a call that hangs, a leaked task or descriptor, and growth in the second half.
Needs Linux: it reads /proc. Always ends what it started.
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
from soakkit.clients import Record, soakers
from soakkit.fleet import Fleet, fleet
from soakkit.readings import Reading, Watch
from soakkit.report import End, faults, markdown
from soakkit.world import World

LOOK_SECONDS = 2.0
QUIET_SECONDS = 40.0
"""After the last client went: longer than a session stays, and than any call may take on."""


async def soak(running: Fleet, minutes: float, seed: int) -> tuple[Record, World, list[Watch], End]:
    """Play everything for so many minutes, then let it come to rest."""
    dice = random.Random(seed)
    world, record = World(running), Record()
    watches = [Watch(name, running.folder / name) for name in ("http", "stdio")]
    everybody = soakers(running, world, record, dice)
    rest = await _at_rest(watches[0])
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.keep)
        await anyio.sleep(2)
        tasks.start_soon(world.strike, dice)
        for soaker in everybody:
            tasks.start_soon(soaker.live)
        tasks.start_soon(_watch, watches, running, stopped)
        with anyio.move_on_after(minutes * 60):
            await stopped.wait()
        world.stopping = True
        stopped.set()
    # Its stdio child ends with its client; what it held is in its readings.
    await anyio.sleep(QUIET_SECONDS)
    # Connections to Extend that are too old are closed by the next call.
    for soaker in everybody:
        await soaker.call_once("list_workflows")
    end = await _at_rest(watches[0])
    metrics = await _metrics(running)
    errors = [running.server.errors(), (running.folder / "stdio.errors").read_text(encoding="utf-8")]
    return record, world, watches, End(rest, end, metrics, errors, running.server.ended())


async def _at_rest(watch: Watch) -> Reading | None:
    """What the server holds while nobody calls: the second look tells the tasks that the first one asked for."""
    looking = Watch(watch.name, watch.file)
    for _ in range(3):
        looking.look()
        await anyio.sleep(0.5)
    return looking.readings[-1] if looking.readings else None


async def _watch(watches: list[Watch], running: Fleet, stopped: anyio.Event) -> None:
    while not stopped.is_set():
        for watch in watches:
            watch.look()
        if running.server.ended() is not None:
            stopped.set()
        await anyio.sleep(LOOK_SECONDS)


async def _metrics(running: Fleet) -> str:
    async with httpx.AsyncClient(base_url=running.url, timeout=10, trust_env=False) as client:
        try:
            return (await client.get("/metrics")).text
        except httpx.HTTPError:
            return ""


def main() -> int:
    """Read the options and hold the soak to its time."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--minutes", type=float, default=2, help="how long, at most a day")
    options.add_argument("--seed", type=int, default=1, help="what is called and what fails follows from it")
    given = options.parse_args()
    if not 0.5 <= given.minutes <= 1440:
        options.error("out of bounds: 0.5 <= minutes <= 1440")
    # A client that leaves abruptly logs what reaches it after that: no fault of the server's.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
    # By default this signal would end the program at once, and leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory() as folder, fleet(Path(folder)) as running:
            deadline = given.minutes * 60 + 300
            result = asyncio.run(asyncio.wait_for(soak(running, given.minutes, given.seed), deadline))
    except asyncio.TimeoutError:
        print("the clients did not come to an end", file=sys.stderr)
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
