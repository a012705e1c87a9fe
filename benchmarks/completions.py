"""A completion from what was read a moment ago, beside a list of prompts on the same connection.

    python benchmarks/completions.py [--pairs N] [--most MILLISECONDS]

A real client talks to a child process on the embedded sandbox; the two are asked in turn. Prints Markdown, and fails
when the median completion takes longer than `--most`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import PromptReference

REF = PromptReference(type="ref/prompt", name="investigate_run")
ARGUMENT = {"name": "run_id", "value": "workflow_run_"}


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds that one call takes."""
    begun = time.perf_counter()
    await call()
    return (time.perf_counter() - begun) * 1000


async def measure(pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of warm completions and of as many lists of prompts, asked in turn."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "extend_mcp", "serve", "--sandbox"],
        env=environment,
        cwd=str(Path(__file__).parent.parent),
    )
    async with Client(server) as client:
        await client.complete(REF, ARGUMENT)
        ours, baseline = [], []
        for _ in range(pairs):
            ours.append(await timed(lambda: client.complete(REF, ARGUMENT)))
            baseline.append(await timed(client.list_prompts))
    return ours, baseline


def main() -> int:
    """Print the table; 1 when completions are too slow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--most", type=float, default=50.0, help="milliseconds that the median may take")
    given = parser.parse_args()
    ours, baseline = anyio.run(measure, given.pairs)
    print("| warm, over stdio | median ms | p95 ms |")
    print("| --- | --- | --- |")
    for name, values in (("completion/complete", ours), ("prompts/list", baseline)):
        print(f"| {name} | {statistics.median(values):.2f} | {statistics.quantiles(values, n=20)[-1]:.2f} |")
    ratio = statistics.median(one / other for one, other in zip(ours, baseline, strict=True))
    print(f"\nratio, pair by pair over {given.pairs}: median {ratio:.2f}")
    return 0 if statistics.median(ours) <= given.most else 1


if __name__ == "__main__":
    sys.exit(main())
