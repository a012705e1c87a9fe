"""extend-mcp report: the figures of the tools, thresholds and exit statuses, and no model or person involved."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click import UsageError
from click.testing import CliRunner, Result

from extend_mcp.cli import main
from extend_mcp.report import Figure, make_report, parse_thresholds
from extend_mcp.sandbox import Sandbox, SandboxClock, SandboxSettings
from extend_mcp.sandbox.sandbox_server import running_app
from extend_mcp.settings import Settings
from tests.harness import KEY, Box, BoxClock, example_run


@pytest.fixture(autouse=True)
def account(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_API_KEY", KEY)
    monkeypatch.setenv("EXTEND_BASE_URL", box.base_url)
    monkeypatch.setenv("EXTEND_MCP_LABEL", "test")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", "--since", "2020-01-01", *arguments])


def test_its_figures_are_those_of_the_account(box: Box) -> None:
    runs = box.state()["runs"]
    statuses = Counter(run["status"] for run in runs)
    made = run("--format", "json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["account"] == "test"
    assert (report["figures"]["runs"], report["by_workflow"]["statuses"]) == (len(runs), dict(statuses))
    assert (report["figures"]["failed"], report["figures"]["waiting"]) == (statuses["FAILED"], statuses["NEEDS_REVIEW"])
    assert sum(each["runs"] for each in report["by_reason"]["groups"]) == statuses["FAILED"]
    assert {each["method"] for each in box.requests()} == {"GET"}
    text = run().stdout
    assert text.startswith("Extend workflow runs of test, 2020-01-01T00:00:00Z to ")
    assert f"{len(runs)} runs: {statuses['FAILED']} FAILED" in text
    assert KEY not in made.output + text


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("failed>3,runs<1", 3),
        ("failed>99%, runs<1, credits>9999999", 0),
        ("failed>5h", 2),
    ],
)
def test_a_crossed_threshold_decides_the_exit_status(given: str, status: int) -> None:
    made = run("--fail-if", given)
    assert made.exit_code == status, made.output
    assert (" crossed" in made.output.replace("not crossed", "")) == (status == 3)


async def test_thresholds_are_on_counts_shares_and_times(box: Box) -> None:
    settings = Settings.model_validate({"api_key": KEY, "base_url": box.base_url})
    report = await make_report(settings, "7d", clock=BoxClock(box))
    crossed = "failed>3, failed>2%, waiting>3, waiting>1h, waiting > 30m, runs<1000, p95>1s, credits>1.5"
    other = "failed>9000, failed>99%, failed<1, waiting>3650d, waiting>1000, runs<1, p95>9d, credits>9999999"
    for given, verdict in ((crossed, "crossed"), (other, "not crossed")):
        for threshold in parse_thresholds(given):
            assert threshold.judge(report.figures) == verdict, threshold
    for wrong in (
        "p95>5",
        "failures>5",
        "failed=5",
        "failed>5h",
        "failed>1.2.3",
        "waiting>5%",
        "waiting>5x",
        "failed>",
    ):
        with pytest.raises(UsageError, match=re.escape(repr(wrong))):
            parse_thresholds(wrong)


def test_a_report_that_cannot_be_made_is_not_a_good_one(box: Box) -> None:
    box.fault(method="GET", path="/workflow_runs", status=401, times=9)
    made = run("--fail-if", "failed>5")
    assert (made.exit_code, made.stdout) == (1, "")
    assert "Extend" in made.stderr
    assert run("--since", "soon").exit_code == 1


@pytest.mark.parametrize(
    ("text", "figure", "verdict"),
    [
        ("failed>5", Figure(6, complete=False), "crossed"),
        ("failed>5", Figure(5, complete=False), "unknown"),
        ("failed>5", Figure(5, complete=True), "not crossed"),
        ("failed<5", Figure(4, complete=False), "unknown"),
        ("failed<5", Figure(4, complete=True), "crossed"),
        ("failed<5", Figure(5, complete=False), "not crossed"),
        ("failed>5", Figure(None, complete=True), "not crossed"),
        ("failed>5", Figure(None, complete=False), "unknown"),
    ],
)
def test_an_incomplete_figure_may_still_grow(text: str, figure: Figure, verdict: str) -> None:
    (threshold,) = parse_thresholds(text)
    assert threshold.judge({"failed": figure}) == verdict


@pytest.mark.thorough
async def test_a_warm_store_makes_it_cheap(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxSettings(scenario="incident"), SandboxClock(speed=0, source=lambda: 1_770_717_600.0))
    with running_app(sandbox.app) as base_url:
        box = Box(base_url, sandbox)
        settings = Settings.model_validate(
            {"api_key": KEY, "base_url": box.base_url, "history": str(tmp_path / "history.db")}
        )
        for _ in range(3):
            box.forget()
            report = await make_report(settings, "8h", clock=BoxClock(box))
        asked = len(box.requests())
    assert asked < 20, asked
    crossed = {each.text: each.judge(report.figures) for each in parse_thresholds("failed>5,stuck>0,open>0,waiting>9d")}
    assert crossed == {"failed>5": "crossed", "stuck>0": "crossed", "open>0": "crossed", "waiting>9d": "not crossed"}
    assert not report.incomplete


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_names_cannot_act_in_a_chat(box: Box, form: str) -> None:
    hostile: dict[str, Any] = example_run("workflow_run_hostileReport0001", "NEEDS_REVIEW")
    hostile["initialRunAt"] = hostile["createdAt"] = "2020-02-01T00:00:00Z"
    hostile["files"][0]["name"] = "a | b @everyone <!channel> [x](https://evil.test)"
    box.load(hostile)
    (line,) = [each for each in run("--format", form).stdout.splitlines() if "everyone" in each]
    assert "@ everyone" in line
    assert "< !channel>" in line
    assert "] (" in line
    assert (r"a \| b" in line) == (form == "markdown")
