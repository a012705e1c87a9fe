"""Run startup, calls, summaries and tokens as one page of Markdown, each compared with its baseline.

    python benchmarks/run.py [--quick] [--judge] [--earlier PYTHON]

Needs `pip install '.[bench,dev]'` and Linux: it reads /proc. Under load and for long: `load.py`, `soak.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

import calls
import startup
import summaries
import tokens
from kit.report import Section, show
from kit.sandbox import Extend
from kit.servers import Server, earlier


def measure(quick: bool, also: Sequence[Server]) -> list[Section]:
    """Run every part; ``quick`` shows that it works, in well under a minute."""
    found = [startup.section(2 if quick else 21, also=also)]
    with Extend.start() as extend:
        found += calls.sections(extend, calls.Effort(10, 20, 1) if quick else calls.Effort(), also)
        found += tokens.sections(extend)
    kept = summaries.kept_section(("large",), ("workflow",)) if quick else summaries.kept_section()
    return [*found, summaries.section(summaries.SIZES[:1] if quick else summaries.SIZES), kept]


def main() -> int:
    """Measure and print; with ``--judge``, return 1 if a ratio is too high."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="few rounds: shows that it works, measures little")
    options.add_argument("--judge", action="store_true", help="exit with 1 if a ratio is too high")
    options.add_argument("--earlier", metavar="PYTHON", help="also measure the version installed for this Python")
    given = options.parse_args()
    # By default this signal would end the program at once, and leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    packages = ", ".join(f"{name} {version(name)}" for name in ("mcp", "pydantic", "httpx"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {packages}.\n")
    return show(measure(given.quick, earlier(given.earlier)), judge=given.judge)


if __name__ == "__main__":
    sys.exit(main())
