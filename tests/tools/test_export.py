"""export_fields: exact values in a new local file, never in the answer, and nothing a spreadsheet would run."""

from __future__ import annotations

import copy
import csv
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp_types import CallToolResult

from extend_mcp.runs.times import format_instant
from extend_mcp.tools import export
from tests.harness import Box, example_run, facts_of, serving, text_of

SCENARIO = "empty"

VALUES: list[dict[str, Any]] = [
    {"invoice_number": '=HYPERLINK("http://evil.test","x")', "total": -12.5},
    {"invoice_number": "+1-555-0100", "total": 3, "paid": True},
    {"invoice_number": "-12.50", "note": "-1+cmd|' /C calc'!A0"},
    {"invoice_number": "@SUM(A1)", "note": " \t=1+1", "total": None},
    {"invoice_number": "\uff1d1+1", "note": 'say "hi", then; go\r\nnext line\rlast\n'},
    {
        "invoice_number": "Zu\u0308rich \u202eevil\u202c \U0001f9fe \u4e2d\u6587 \u05e9\u05dc\u05d5\u05dd",
        "note": "canary-value",
    },
    {"vendor": {"name": "Acme; Sons", "address": {"city": "=city", "zip": "01234"}}, "lines": [{"a": 1}, {"a": "=x"}]},
    {"=evil(heading)": "x", "total": 12345678901234567890},
]


def load(box: Box, count: int) -> dict[str, dict[str, Any]]:
    """Load processed runs, a minute apart, and return the values of each by run id."""
    made = {}
    for number in range(count):
        run = example_run(f"workflow_run_export{number:015}", "PROCESSED")
        step = copy.deepcopy(next(each for each in run["stepRuns"] if each["stepType"] == "EXTRACT"))
        values = {**VALUES[number % len(VALUES)], "number": number}
        step["result"]["extractRun"]["output"] = {"value": values, "metadata": {}}
        run["stepRuns"] = [step]
        run["initialRunAt"] = run["createdAt"] = format_instant(box.now() - timedelta(minutes=number))
        made[box.load(run)] = values
    return made


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for name, value in values.items():
        pairs |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return pairs


def as_cell(value: Any) -> str:
    """Return a value as a spreadsheet should show it."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    dangerous = {
        '=HYPERLINK("http://evil.test","x")',
        "+1-555-0100",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        " \t=1+1",
        "\uff1d1+1",
        "=city",
        "=evil(heading)",
    }
    return f"'{text}" if text in dangerous else text


async def export_to(client: Client, path: str, **given: Any) -> CallToolResult:
    workflow = example_run("workflow_run_x", "PROCESSED")["workflow"]["id"]
    return await client.call_tool("export_fields", {"workflow": workflow, "path": path, **given})


@pytest.mark.parametrize("count", [130, pytest.param(1000, marks=pytest.mark.thorough)])
async def test_a_table_holds_every_value_exactly(box: Box, tmp_path: Path, count: int) -> None:
    made = load(box, count)
    async with serving(box, toolsets="all", file_roots=[tmp_path]) as client:
        result = await export_to(client, "a.csv")
        lines = await export_to(client, str(tmp_path / "a.jsonl"), fields=["vendor", "total", "nowhere"])
    facts = facts_of(result)
    assert (facts["outcome"], facts["rows"], facts["path"]) == ("done", count, str(tmp_path / "a.csv"))
    assert "canary-value" not in text_of(result) + json.dumps(facts)
    assert "cells begin with '" in text_of(result)
    raw = (tmp_path / "a.csv").read_bytes()
    assert raw.startswith("\ufeff".encode())
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    # Newest first, and a row for each run that the sandbox holds.
    assert [row["run_id"] for row in rows] == list(made)
    assert {run["id"] for run in box.state()["runs"]} == set(made)
    for row in rows:
        values = {as_cell(name): as_cell(value) for name, value in flat(made[row["run_id"]]).items()}
        held = {name: cell for name, cell in row.items() if name not in export._ABOUT}
        assert {name: cell for name, cell in held.items() if cell or name in values} == values
    kept = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    for row in kept:
        values = flat(made[row["run_id"]])
        wanted = ("vendor.name", "vendor.address.city", "vendor.address.zip", "total")
        assert row["fields"] == {name: values[name] for name in wanted if values.get(name) is not None}
    assert facts_of(lines)["left_out"] == {"field nowhere (no run has it)": 1}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.jsonl"]
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


async def test_an_export_that_runs_out_of_time_continues_where_it_stopped(box: Box, tmp_path: Path) -> None:
    made = load(box, 130)
    async with serving(box, toolsets="all", file_roots=[tmp_path], requests_per_second=2) as client:
        answer = await export_to(client, "a.csv")
        first = facts_of(answer)
        assert (first["outcome"], first["rows"]) == ("partial", 0)
        assert 20 <= (tmp_path / "a.csv.partial").read_text().count("\n") < 130
        assert not (tmp_path / "a.csv").exists()
        for _ in range(9):
            token = facts_of(answer)["next_page_token"]
            # A call whose answer is lost changes nothing of what its repetition finds.
            lost = await client.call_tool("export_fields", {"page_token": token})
            if facts_of(lost)["outcome"] == "done":
                break
            answer = await client.call_tool("export_fields", {"page_token": token})
        assert facts_of(lost)["rows"] == 130
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == list(made)


async def test_what_has_no_row_is_counted(box: Box, tmp_path: Path) -> None:
    ids = list(load(box, 4))
    empty = example_run("workflow_run_withoutValues0000001", "PROCESSED")
    box.load({**empty, "stepRuns": []})
    box.load(example_run("workflow_run_stillRunning0000001", "PROCESSING"))
    box.fault(method="GET", path=f"/workflow_runs/{ids[1]}", status=404)
    async with serving(box, toolsets="all", file_roots=[tmp_path]) as client:
        facts = facts_of(await export_to(client, "a.csv", created_since="150s"))
        none = facts_of(await export_to(client, "b.csv", created_before="2001-01-01"))
        whole = facts_of(await export_to(client, "c.csv"))
    assert (facts["rows"], facts["left_out"]) == (2, {"deleted meanwhile": 1})
    assert (none["outcome"], none["rows"]) == ("nothing_to_do", 0)
    assert (whole["rows"], whole["left_out"]) == (4, {"without extracted values": 1})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "c.csv"]


async def test_two_steps_with_one_field_have_a_column_each(box: Box, tmp_path: Path) -> None:
    box.load(example_run("workflow_run_twoSteps000000001", "PROCESSED"))
    async with serving(box, toolsets="all", file_roots=[tmp_path]) as client:
        await export_to(client, "a.jsonl", fields=["total"])
    (row,) = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert row["fields"]["extract: total"] == 120.5
    assert len(row["fields"]) > 1


async def test_nothing_is_written_elsewhere_or_over_anything(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(box, 1)
    root, outside = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "kept.csv").write_text("kept")
    (root / "dangling.csv").symlink_to(outside / "made.csv")
    (root / "half.csv.partial").symlink_to(outside / "half")
    async with serving(box, toolsets="all", file_roots=[root]) as client:
        for path in ("link/a.csv", "../out/a.csv", str(outside / "a.csv"), "kept.csv", "dangling.csv", "half.csv",
                     "a.txt", "a.csv.exe", "nowhere/a.csv", "\x00.csv", ".csv"):  # fmt: skip
            result = await export_to(client, path)
            assert result.is_error, path
            assert text_of(result).partition("path: ")[1], path
        # A link that takes a folder's place after the check leads nowhere.
        (root / "inner").mkdir()
        locate = export.locate

        def locate_and_swap(*given: Any) -> Any:
            found = locate(*given)
            (root / "inner").rename(tmp_path / "moved")
            (root / "inner").symlink_to(outside)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(export, "locate", locate_and_swap)
            result = await export_to(client, "inner/a.csv")
        assert "cannot be written" in text_of(result)
    assert (list(outside.iterdir()), (root / "kept.csv").read_text()) == ([], "kept")
    assert not any(each.name.startswith("a.") for each in (*root.iterdir(), *(tmp_path / "moved").iterdir()))


async def test_a_kept_file_that_was_changed_is_not_continued(box: Box, tmp_path: Path) -> None:
    load(box, 130)
    other = tmp_path / "other"
    other.write_text("x" * 100_000)
    async with serving(box, toolsets="all", file_roots=[tmp_path], requests_per_second=2) as client:
        token = facts_of(await export_to(client, "a.csv"))["next_page_token"]
        (tmp_path / "a.csv.partial").unlink()
        os.link(other, tmp_path / "a.csv.partial")
        result = await client.call_tool("export_fields", {"page_token": token})
        assert "is not as the last call left it" in text_of(result)
        assert (await client.call_tool("export_fields", {"page_token": "bm9uZQ"})).is_error
        assert (await client.call_tool("export_fields", {"workflow": "x"})).is_error
    assert other.read_text() == "x" * 100_000
    async with serving(box, toolsets="all") as client:
        assert facts_of(await export_to(client, "a.csv"))["outcome"] == "refused"
