"""From process start to the first tools/list answer: extend-mcp beside a one-tool server on the bare SDK.

    python benchmarks/startup.py [--pairs N] [--most RATIO] [--fastmcp PYTHON]

All run in turn, round by round, so that a change in the machine's speed meets them alike. The client is a few lines
that write and read raw JSON, so that its own cost is next to nothing. Prints Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchkit.extend import RATE
from benchkit.report import Section, Target, median_of_ratios
from benchkit.servers import ALL, OURS, PING, baselines
from benchkit.stdio import StdioServer

MOST = 1.25


def seconds_to_tools(command: Sequence[str]) -> tuple[float, int]:
    """Start ``command``, ask for its tools, and return seconds until they came, with their number."""
    # The servers make no call, so nothing needs to answer there.
    with StdioServer(command, EXTEND_BASE_URL="http://127.0.0.1:9", **RATE) as server:
        tools = server.tools()
        return time.perf_counter() - server.begun, len(tools)


def section(pairs: int, most: float, fastmcp: Path | None) -> Section:
    """Measure ``pairs`` rounds, after one that is not counted."""
    commands = {
        PING.name: PING.stdio,
        "extend-mcp, all toolsets": (*OURS.stdio, *ALL),
        "extend-mcp, default toolsets": OURS.stdio,
        **{server.name: server.stdio for server in baselines(fastmcp)},
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    tools = dict.fromkeys(commands, 0)
    for number in range(pairs + 1):
        for name, command in commands.items():
            seconds, tools[name] = seconds_to_tools(command)
            if number:
                taken[name].append(seconds)
    bare, *_ = taken.values()
    result = Section("Start to first tools/list, over stdio")
    result.table(
        ["server", "tools", "median s", "min s", "max s", "beside bare SDK"],
        [
            [
                name,
                tools[name],
                f"{statistics.median(each):.3f}",
                f"{min(each):.3f}",
                f"{max(each):.3f}",
                f"{median_of_ratios(each, bare):.2f}",
            ]
            for name, each in taken.items()
        ],
    )
    result.say(f"The last column is the median of the ratios, round by round over {pairs}.")
    ratio = median_of_ratios(taken["extend-mcp, all toolsets"], bare)
    result.targets.append(Target("start, all toolsets, beside the bare SDK", most, ratio))
    return result


def main() -> int:
    """Measure, print, and judge against ``--most`` where it is given."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--pairs", type=int, default=15, help="how many rounds are counted, after one that is not")
    options.add_argument("--most", type=float, help="exit with 1 where the ratio of all toolsets is above this")
    options.add_argument("--fastmcp", type=Path, help="a Python that has fastmcp, for a generated server beside")
    given = options.parse_args()
    result = section(given.pairs, given.most or MOST, given.fastmcp)
    print(result.markdown())
    return 1 if given.most and not all(target.met for target in result.targets) else 0


if __name__ == "__main__":
    sys.exit(main())
