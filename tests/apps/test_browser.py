"""The interactive views in a real browser, under the official host library; `.ci/apps` installs both."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import environment, served
from tests.robustness.hostile_texts import hostile_texts

pytestmark = pytest.mark.apps

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PICTURES = ROOT / "build" / "apps"
VIEWS = ("run", "board", "review", "plan")
FORMS = ("light", "dark", "narrow")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the browser against a server on a sandbox and return its report."""
    if not ((HERE / "node_modules").is_dir() and shutil.which("chromium") and shutil.which("node")):
        # .ci/apps sets CI_APPS, so that there nothing can be skipped.
        message = "the browser or the host library is not installed: run .ci/apps"
        pytest.fail(message) if os.environ.get("CI_APPS") else pytest.skip(message)
    corpus = tmp_path_factory.mktemp("corpus") / "texts.json"
    corpus.write_text(json.dumps([{"name": item.name, "text": item.text} for item in hostile_texts()]))
    with served() as urls:
        command = ["node", str(HERE / "browser.mjs"), urls["{mcp}"], str(PICTURES), str(corpus)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    seen: dict[str, Any] = json.loads(done.stdout)
    print(f"the browser took {seen['seconds']} s")
    return seen


def test_a_click_narrows_the_board_a_second_opens_a_run_and_the_cancel_asks_the_person(report: dict[str, Any]) -> None:
    assert f"Failure reason: {report['cause']}" in report["causeList"]
    assert "Cancel run" in report["before"]
    assert report["asked"][0].startswith("Cancel workflow run")
    assert "Cancelled" in report["cancelled"]
    assert "is now CANCELLED" in report["cancelled"]
    assert "Cancel run" not in report["cancelled"]
    assert report["status"] == "CANCELLED"
    assert "Status: PROCESSING" in report["back"]
    assert {"list_runs", "get_workflow_run", "cancel_workflow_run"} <= set(report["tools"])


def test_a_host_that_cannot_ask_gets_the_plan_and_a_second_button(report: dict[str, Any]) -> None:
    assert report["confirmedInView"] == "CANCELLED"
    assert report["cancelOfFinished"] is False


def test_a_plan_shows_run_by_run_what_the_person_is_asked_and_then_what_became_of_it(report: dict[str, Any]) -> None:
    runs = [result["run_id"] for result in report["done"]["results"]]
    assert runs
    assert all(run in report["planned"] and run in report["question"] for run in runs)
    assert "Nothing is sent before a person says yes" in report["planned"]
    assert report["planDone"].count("Cancelled") > len(runs)
    assert report["scheme"] == "dark"


def test_the_review_queue_opens_dashboard_links_and_calls_no_tool(report: dict[str, Any]) -> None:
    assert len(report["links"]) == 1
    assert report["links"][0].startswith("https://dashboard.extend.ai/")
    assert report["reviewCalls"] == 0


def test_axe_finds_nothing_and_nothing_scrolls_sideways(report: dict[str, Any]) -> None:
    assert len(report["axe"]) == 17
    assert {name: found for name, found in report["axe"].items() if found} == {}
    assert {name: pixels for name, pixels in report["overflow"].items() if pixels > 0} == {}
    assert report["errors"] == []


def test_no_hostile_text_runs_loads_navigates_or_asks_anything(report: dict[str, Any]) -> None:
    assert set(report["hostile"]) == {*VIEWS, "list", "waiting"}
    for name, seen in report["hostile"].items():
        assert seen["texts"] > len(hostile_texts())
        assert not any(seen["plain"].values()), name
        assert (seen["faults"], seen["hits"]) == ([], 0), name


def test_the_counters_see_a_page_that_takes_texts_for_markup(report: dict[str, Any]) -> None:
    seen = {kind for fault in report["control"]["faults"] for kind, found in fault.items() if found}
    assert {"scripts", "requests", "navigations", "dialogs", "blocked"} <= seen


def test_every_view_has_a_small_picture_in_each_form(report: dict[str, Any]) -> None:
    names = [f"{view}-{form}" for view in VIEWS for form in FORMS]
    assert sorted(each.stem for each in (ROOT / "docs" / "views").glob("*.png")) == sorted(names)
    for name in names:
        picture = (PICTURES / f"{name}.png").read_bytes()
        width, _ = struct.unpack(">II", picture[16:24])
        assert len(picture) < 60 * 1024, name
        assert width == (400 if name.endswith("narrow") else 850), name
