from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_tables_name_exists() -> None:
    text = (ROOT / "docs/internals/tried.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith("| Test |")]
    assert len(rows) > 60
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert re.search(rf"^ *(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), row
