"""Each scenario that may fail says why, and that it is the SDK's fault."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parent / "expected-failures.yml"


def test_each_entry_has_a_reason_that_names_the_sdk() -> None:
    lines = FILE.read_text().splitlines()
    entries = [number for number, line in enumerate(lines) if line.strip().startswith("- ")]
    assert entries
    for number in entries:
        assert lines[number - 1].strip().startswith("# mcp "), lines[number]
