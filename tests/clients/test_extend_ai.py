"""Extend's own client for TypeScript works with the sandbox, on every line that it can exercise."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from extend_mcp.sandbox.sandbox_server import running_sandbox
from tests.clients.conftest import output_of

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def report() -> Any:
    """Run the client and return what it saw."""
    with running_sandbox() as running:
        printed = output_of([str(shutil.which("node")), "extend_ai.mjs", running.base_url])
    return json.loads(printed.splitlines()[-1])


def test_the_newest_client_of_the_registry_is_used(report: dict[str, Any]) -> None:
    assert report["version"] == "1.17.0"


def test_a_draft_update_keeps_what_it_leaves_out(report: dict[str, Any]) -> None:
    assert report["validation"] == {"blocks": [report["block"]]}
    kept, added = report["branches"]
    assert kept == {"id": "a", "name": "A", "block": report["block"]}
    assert added["block"]["code"]["language"] == "javascript"


def test_a_classifier_or_splitter_without_other_is_not_deployed(report: dict[str, Any]) -> None:
    for kind, where in (("CLASSIFY", "classifierConfig"), ("SPLIT", "splitterConfig")):
        assert report[kind]["error"] == "BadRequestError"
        assert where in report[kind]["message"]
    assert report["languages"] == {"javascript": "javascript", "python": "python", "ruby": "BadRequestError"}


def test_versions_pages_order_and_priorities(report: dict[str, Any]) -> None:
    number, version = report["newest"]
    for name in ("latest", number, version):
        assert report["versions"][name] == [number, version]
    assert report["versions"]["draft"][0] == "draft"
    assert (report["page"], report["next"]) == (10, True)
    assert report["all"] > 40
    assert report["updated"] == sorted(report["updated"], reverse=True)
    assert report["no_page"]["error"] == "BadRequestError"
    refused = "BadRequestError"
    assert report["priorities"] == {"0": refused, "1": "workflow_run", "100": "workflow_run", "101": refused}


def test_a_run_and_what_is_inside_it(report: dict[str, Any]) -> None:
    assert report["run"]["status"] == "PROCESSED"
    assert report["metadata"] == {"a": 1, "b": 2}
    for found in report["children"].values():
        assert found["inside"] == found["listed"] == found["read"]
        assert len(found["inside"]) == 1
    assert report["terminal"]["error"] == "BadRequestError"
    assert "terminal" in report["terminal"]["message"]
    assert report["cancel"] in ("CANCELLING", "CANCELLED")
    assert report["deleted"] is True
    assert report["gone"]["error"] == "NotFoundError"
    assert report["batch"] == 2
    assert "12.50" in report["text"]
    assert report["read"] > 40


def test_split_runs_and_the_reasons_of_failures(report: dict[str, Any]) -> None:
    assert report["split"] == {"listed": 1, "read": True}
    assert {"OUT_OF_CREDITS", "PASSWORD_PROTECTED_FILE", "CORRUPT_FILE", "INTERNAL_ERROR"} <= set(report["reasons"])
    assert report["prefix"]["error"] in ("BadRequestError", "NotFoundError")


def test_webhooks(report: dict[str, Any]) -> None:
    assert report["older"] == "2025-04-21"
    subscription = report["subscription"]
    assert subscription["same"] is True
    assert subscription["id"].startswith("whes_")
    assert subscription["events"] == ["workflow_run.completed"]
    assert report["event"] == {"type": "workflow_run.completed", "run": True, "version": "2026-02-09"}
    assert "SignatureVerification" in report["forged"]["error"]
