"""What a server holds in memory when it has listed its tools and nobody calls."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchkit.extend import RATE
from benchkit.report import Section, median_of_ratios
from benchkit.servers import ALL, OURS, PING, baselines
from benchkit.stdio import StdioServer


def section(rounds: int, fastmcp: Path | None) -> Section:
    """Start every server ``rounds`` times, in turn."""
    commands = {
        PING.name: PING.stdio,
        "extend-mcp, all toolsets": (*OURS.stdio, *ALL),
        "extend-mcp, default toolsets": OURS.stdio,
        **{server.name: server.stdio for server in baselines(fastmcp)},
    }
    held: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            # The servers make no call, so nothing needs to answer there.
            with StdioServer(command, EXTEND_BASE_URL="http://127.0.0.1:9", **RATE) as server:
                server.tools()
                held[name].append(server.resident_mb())
    bare = held[PING.name]
    result = Section("Memory at rest")
    result.table(
        ["server", "MB in RAM, median", "beside bare SDK"],
        [
            [name, f"{statistics.median(each):.1f}", f"{median_of_ratios(each, bare):.2f}"]
            for name, each in held.items()
        ],
    )
    result.say("Over stdio, after the handshake and one tools/list. Extend's API is called by none of them yet.")
    return result
