"""The dashboard and the alerts read metrics, labels and outcomes that the server exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from extend_mcp.telemetry import prometheus
from extend_mcp.tools.toolsets import TOOLSETS
from tests.deploy.test_settings import DEPLOY, PAGE

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
_FROM_PROMETHEUS = {"job", "instance", "le"}


def dashboard_expressions() -> dict[str, str]:
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    return {f"{panel['title']}, {each['refId']}": each["expr"] for panel in panels for each in panel["targets"]}


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return group["rules"]


EXPRESSIONS = {**dashboard_expressions(), **{rule["alert"]: rule["expr"] for rule in alerts()}}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each series, by name, after everything that is counted happened once."""
    meter = prometheus.PrometheusMetrics()
    for name, (_, _, labels) in prometheus._METRICS.items():
        add = meter.observe if name.endswith("_seconds") else meter.count
        add(name, 1, **dict.fromkeys(labels, "x"))
    for name in prometheus._SET_LATER:
        meter.set(name, 1)
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for line in meter.render()[0].decode().splitlines():
        if parts := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
            found.setdefault(parts[1], set()).update(re.findall(r'(\w+)="', parts[2] or ""))
    return found


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each series that an expression reads, with the labels that it matches."""
    for name, matchers in re.findall(r"\b((?:extend_mcp|process)_\w+|up\b)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))


@pytest.mark.parametrize("where", EXPRESSIONS)
@pytest.mark.skipif(sys.platform != "linux", reason="process metrics exist on Linux only")
def test_an_expression_reads_what_is_exported(where: str, exported: dict[str, set[str]]) -> None:
    expression = EXPRESSIONS[where]
    read = list(selectors(expression))
    assert read
    for name, labels in read:
        assert name in exported, f"{where}: {name}"
        assert labels <= exported[name] | _FROM_PROMETHEUS, f"{where}: {name}"
    grouped = {label for found in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", found)}
    assert grouped <= set().union(*(exported[name] for name, _ in read)) | _FROM_PROMETHEUS, where


def test_every_metric_of_the_server_is_on_the_dashboard(exported: dict[str, set[str]]) -> None:
    shown = {name for expression in dashboard_expressions().values() for name, _ in selectors(expression)}
    own = {name for name in exported if name.startswith("extend_mcp_")}
    # A histogram's count, sum and the time of creation come with its buckets.
    assert {name for name in own if not re.search(r"_(created|count|sum)$", name)} <= shown


def test_tools_that_an_alert_leaves_out_exist() -> None:
    names = {tool.name for toolset in TOOLSETS.values() for tool in toolset.tools}
    for rule in alerts():
        for listed in re.findall(r'tool!~"([^"]*)"', rule["expr"]):
            assert set(listed.split("|")) <= names


def test_the_page_explains_every_alert() -> None:
    page = PAGE.read_text()
    assert [rule["alert"] for rule in alerts() if f"`{rule['alert']}`" not in page] == []


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [
        re.sub(r"\$__rate_interval", "5m", expression).replace("$job", ".+")
        for expression in dashboard_expressions().values()
    ]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ["promtool", "check", "rules", tmp_path / "rules.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_panels_of_the_dashboard_fit_the_grid() -> None:
    """No two overlap, none leaves Grafana's 24 columns, and ids and titles are unique."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
