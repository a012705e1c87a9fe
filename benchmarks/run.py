"""All benchmarks, each beside its baselines in the same run, as one page of Markdown.

    python benchmarks/run.py [--quick] [--fastmcp PYTHON] [--judge]

Needs `pip install '.[bench,dev]'`: the baselines and the count of tokens. PYTHON is one that has fastmcp, in an
environment of its own (`python -m venv build/fastmcp && build/fastmcp/bin/pip install fastmcp`); without it the server
generated from OpenAPI is left out. Needs Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import answers
import calls
import rest
import startup
import summaries
import tokens
from benchkit.extend import Extend
from benchkit.report import Section, targets_table

SIZES = (1_000, 10_000, 50_000)


def machine() -> str:
    """What the figures were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("mcp", "pydantic", "httpx", "extend-ai"))
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {packages}."


def measure(quick: bool, fastmcp: Path | None) -> list[Section]:
    """Run every part; ``quick`` is for seeing that it works, in well under a minute."""
    found = [
        startup.section(2 if quick else 21, startup.MOST, fastmcp),
        rest.section(1 if quick else 5, fastmcp),
    ]
    with Extend.start() as extend:
        found += calls.sections(extend, calls.Effort(10, 20, 1) if quick else calls.Effort(400, 400, 5), fastmcp)
        found.append(answers.section(extend))
    found += [summaries.section(SIZES[:1] if quick else SIZES), tokens.section()]
    return found


def main() -> int:
    """Measure and print; with ``--judge``, 1 where something that was asked for is missed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="few rounds: shows that it works, measures little")
    options.add_argument("--fastmcp", type=Path, help="a Python that has fastmcp, for a generated server beside")
    options.add_argument("--judge", action="store_true", help="exit with 1 where a target is missed")
    given = options.parse_args()
    # By default this signal would end the program at once, and leave the servers running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sections = measure(given.quick, given.fastmcp)
    print("\n".join([machine(), "", targets_table(sections), *(each.markdown() for each in sections)]))
    return 1 if given.judge and not all(target.met for each in sections for target in each.targets) else 0


if __name__ == "__main__":
    sys.exit(main())
