from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_names_exists() -> None:
    rows = [line for line in (ROOT / "docs/internals/tried.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        [(path, name)] = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert re.search(rf"^ *(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), row
