"""docs/faults.md holds the rows that the matrix proves; print them with ``python -m tests.robustness.fault_rules``."""

from __future__ import annotations

from pathlib import Path

from tests.robustness.fault_rules import table

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_table_of_faults_is_what_the_matrix_proves() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert shown == table()
