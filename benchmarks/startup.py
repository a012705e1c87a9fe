"""From process start to the first tools/list answer: extend-mcp beside a one-tool server on the bare SDK.

    python benchmarks/startup.py [--pairs N] [--most RATIO]

The two run in turn, pair by pair, so that a change in the machine's speed meets both. The client is a few
lines that write and read raw JSON, so that its own cost is next to nothing. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
OURS = [sys.executable, "-m", "extend_mcp", "serve"]
BARE = [sys.executable, str(HERE / "bare_server.py")]
MESSAGES = (
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "startup-benchmark", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def seconds_to_tools(command: list[str]) -> tuple[float, int]:
    """Start ``command``, ask for its tools, and return seconds until they came, with their number."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EXTEND_")}
    begun = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=HERE.parent,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("".join(json.dumps(message) + "\n" for message in MESSAGES).encode())
        process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if answer.get("id") == 2:
                taken = time.perf_counter() - begun
                process.stdin.close()
                process.wait(10)
                return taken, len(answer["result"]["tools"])
    raise RuntimeError(f"{command} ended without listing its tools")


def main() -> int:
    """Measure, print, and judge against ``--most`` where it is given."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pairs", type=int, default=15, help="how many pairs are counted, after one that is not")
    options.add_argument("--most", type=float, help="exit with 1 where the median ratio is above this")
    given = options.parse_args()

    ours: list[float] = []
    bare: list[float] = []
    tools = 0
    for pair in range(given.pairs + 1):
        first, tools = seconds_to_tools(OURS)
        second, _ = seconds_to_tools(BARE)
        if pair:
            ours.append(first)
            bare.append(second)
    ratios = sorted(a / b for a, b in zip(ours, bare, strict=True))
    ratio = statistics.median(ratios)
    print("| start to first tools/list | median s | min s | max s |")
    print("|---|---|---|---|")
    print(f"| extend-mcp ({tools} tools) | {statistics.median(ours):.3f} | {min(ours):.3f} | {max(ours):.3f} |")
    print(f"| bare SDK (1 tool) | {statistics.median(bare):.3f} | {min(bare):.3f} | {max(bare):.3f} |")
    print(f"\nratio, pair by pair over {given.pairs}: median {ratio:.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    return 1 if given.most and ratio > given.most else 0


if __name__ == "__main__":
    sys.exit(main())
