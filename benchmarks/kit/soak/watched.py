"""Run extend-mcp and report its tasks and memory blocks on SIGUSR1. Only the soak starts it.

    python watched.py FILE [arguments of extend-mcp]

FILE gets the process id at the start, and a line ``tasks N blocks N`` per signal. Each Python object or buffer holds a
block: their number grows with a leak, and does not depend on the layout of pages.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path


def _report(file: Path) -> None:
    try:
        count = len(asyncio.all_tasks())
    except RuntimeError:
        return  # no event loop is running
    with file.open("a") as lines:
        lines.write(f"tasks {count} blocks {sys.getallocatedblocks()}\n")


def main() -> None:
    """Handle the signal, and serve."""
    file = Path(sys.argv.pop(1))
    file.write_text(f"pid {os.getpid()}\n")
    signal.signal(signal.SIGUSR1, lambda *_: _report(file))
    sys.argv[0] = "extend-mcp"
    from extend_mcp.cli import main as serve
    from extend_mcp.http.settings import HttpLimits, HttpSettings

    # Clients that leave without a word leave their sessions behind: those must end within the soak.
    HttpSettings.limits = property(lambda _: HttpLimits(session_idle_seconds=15, drain_seconds=0))  # type: ignore[method-assign, assignment]
    serve()


if __name__ == "__main__":
    main()
