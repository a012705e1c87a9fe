"""Measure the time to the first tools/list, and the memory held then, compared with the bare SDK.

    python benchmarks/startup.py [--pairs N] [--most RATIO] [--earlier PYTHON]

The servers are started in turn, round by round, so that a change in the machine's speed affects all of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from kit.report import Section, Target, median_of_ratios, show
from kit.sandbox import RATE
from kit.servers import OURS, OURS_ALL, PING, WHOLE, Server, earlier
from kit.stdio import StdioServer

MOST = 1.3


def section(pairs: int, most: float = MOST, also: Sequence[Server] = ()) -> Section:
    """Measure ``pairs`` rounds, after one that is not counted."""
    servers = (PING, OURS_ALL, OURS, WHOLE, *also)
    taken: dict[str, list[float]] = {each.name: [] for each in servers}
    held: dict[str, list[float]] = {each.name: [] for each in servers}
    tools = dict.fromkeys(taken, 0)
    for number in range(pairs + 1):
        for each in servers:
            # The servers make no call, so nothing needs to answer at that address.
            with StdioServer(each.stdio, EXTEND_BASE_URL="http://127.0.0.1:9", **RATE) as server:
                tools[each.name] = len(server.tools())
                seconds = time.perf_counter() - server.begun
                if number:
                    taken[each.name].append(seconds)
                    held[each.name].append(server.resident_mb())
    result = Section("Start to first tools/list, over stdio")
    result.table(
        ["server", "tools", "median s", "min s", "max s", "ratio to bare SDK", "MB in RAM", "ratio to bare SDK"],
        [
            [
                name,
                tools[name],
                f"{statistics.median(each):.3f}",
                f"{min(each):.3f}",
                f"{max(each):.3f}",
                f"{median_of_ratios(each, taken[PING.name]):.2f}",
                f"{statistics.median(held[name]):.1f}",
                f"{median_of_ratios(held[name], held[PING.name]):.2f}",
            ]
            for name, each in taken.items()
        ],
    )
    result.say(f"A ratio is the median of the ratios, round by round over {pairs}.")
    ratio = median_of_ratios(taken[OURS_ALL.name], taken[PING.name])
    result.targets.append(Target("start, all toolsets", PING.name, most, ratio))
    return result


def main() -> int:
    """Measure and print; return 1 if the ratio is above ``--most``."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--pairs", type=int, default=15, help="how many rounds are counted, after one that is not")
    options.add_argument("--most", type=float, default=MOST, help="the highest accepted ratio for all toolsets")
    options.add_argument("--earlier", metavar="PYTHON", help="also measure the version installed for this Python")
    given = options.parse_args()
    return show([section(given.pairs, given.most, earlier(given.earlier))])


if __name__ == "__main__":
    sys.exit(main())
