"""Follows the docs literally: runs every ``sh`` block of a page, in order, in a fresh copy of the repository.

python tests/docs/follow.py [PAGE...]        by default README.md and all pages of docs/ and of the root

A block after ``<!-- not run: REASON -->`` is left out, and its reason printed. What a ``text`` block right
behind a command shows must be what the command prints, with times, numbers and ids left aside. The README's test
command is left out too: the caller of this script runs it. Needs git; the copy and its environment are thrown away.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?P<marks>(?:<!--[^\n]*-->\n)*)```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)
_SECONDS = 300


@dataclass
class Block:
    """A command of a page.

    Attributes:
        text: what is run, by bash.
        skipped: why it is not run; empty where it is.
        shown: what the page says it prints; None where it says nothing.
    """

    text: str
    skipped: str = ""
    shown: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """The commands of a page, in order."""
    found: Block | None = None
    for match in _BLOCK.finditer(page):
        if match["kind"] == "sh":
            if found:
                yield found
            reason = re.search(r"not run: ([^\n]*?) ?-->", match["marks"])
            skipped = (
                "the tests are run by themselves" if "test-command" in match["marks"] else reason[1] if reason else ""
            )
            found = Block(match["text"], skipped)
            end = match.end()
        elif match["kind"] == "text" and found and found.shown is None and page[end : match.start()].strip() == "":
            found.shown = match["text"]
    if found:
        yield found


def same(shown: str, printed: str) -> bool:
    """Return whether a page shows what was printed, but for times, numbers and ids."""

    def bare(text: str) -> list[str]:
        text = re.sub(r"\b\w+_[\w-]{21}\b", "ID", text)
        return [re.sub(r"\d+", "N", line).strip() for line in text.strip().splitlines()]

    return bare(shown) == bare(printed)


def follow(page: Path, copy: Path) -> tuple[int, list[str]]:
    """Run a page's commands; return how many, and the reasons of those left out.

    Raises:
        SystemExit: one failed, or printed something else than the page shows.
    """
    run, reasons = 0, []
    for block in blocks(page.read_text()):
        if block.skipped:
            reasons.append(block.skipped)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text], cwd=copy, capture_output=True, text=True, timeout=_SECONDS
        )
        if done.returncode:
            sys.exit(
                f"{page.name}: status {done.returncode} of\n{block.text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        if block.shown is not None and not same(block.shown, done.stdout):
            sys.exit(f"{page.name}: the page shows\n{block.shown}\nand what was printed is\n{done.stdout}")
        run += 1
    return run, reasons


def main() -> None:
    """Copy what git knows of, and follow every page in the copy."""
    given = [Path(each).resolve() for each in sys.argv[1:]]
    pages = given or [
        ROOT / "README.md",
        *sorted(ROOT.glob("docs/*.md")),
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
    ]
    with tempfile.TemporaryDirectory() as folder:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((ROOT / name).read_bytes())
                target.chmod((ROOT / name).stat().st_mode)
        for page in pages:
            run, reasons = follow(page, Path(folder))
            left = f"; not run: {', '.join(reasons)}" if reasons else ""
            print(f"{page.relative_to(ROOT)}: {run} commands passed{left}", flush=True)


if __name__ == "__main__":
    main()
