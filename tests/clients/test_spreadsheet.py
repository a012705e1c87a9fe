"""A spreadsheet library reads an export: every value as the sandbox holds it, and no cell is a formula."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import output_of
from tests.harness import Box, facts_of, serving
from tests.tools.test_export import as_cell, export_to, flat, load

pytestmark = pytest.mark.clients
SCENARIO = "empty"


def read(file: Path) -> dict[str, Any]:
    """The rows and formulas of a file, by SheetJS."""
    found: dict[str, Any] = json.loads(output_of([str(shutil.which("node")), "spreadsheet.mjs", str(file)]))
    return found


def held(box: Box, run_id: str) -> dict[str, Any]:
    """The values that the sandbox holds for a run, as a table shows them."""
    step = next(each for each in box.sandbox.record(run_id).run["stepRuns"] if each["stepType"] == "EXTRACT")
    values = flat(step["result"]["extractRun"]["output"]["value"])
    # SheetJS writes every line break as one character.
    return {as_cell(name): as_cell(value).replace("\r\n", "\n") for name, value in values.items()}


def test_the_library_runs_formulas(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n=1+1\n'=1+1\n")
    assert read(tmp_path / "a.csv")["formulas"] == ["A2"]


async def test_an_export_of_1000_runs_is_read_exactly_and_without_formulas(box: Box, tmp_path: Path) -> None:
    load(box, 1000)
    async with serving(box, toolsets="all", file_roots=[tmp_path]) as client:
        assert facts_of(await export_to(client, "a.csv"))["rows"] == 1000
    found = read(tmp_path / "a.csv")
    assert found["formulas"] == []
    assert {row["run_id"] for row in found["rows"]} == {run["id"] for run in box.state()["runs"]}
    assert len(found["rows"]) == 1000
    for row in found["rows"]:
        wanted = held(box, row["run_id"])
        assert {name: row[name] for name in wanted} == wanted
