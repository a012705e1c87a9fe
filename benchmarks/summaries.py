"""Measure summarize_runs over 1,000, 10,000 and 50,000 runs, compared with reading the same pages.

    python benchmarks/summaries.py [--kept] [SIZE...]

Prints Markdown, and fails if a ratio is too high.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
from kit.processes import start_sandbox
from kit.report import Section, Target, show
from kit.sandbox import HEADERS, RATE
from kit.servers import OURS
from kit.stdio import StdioServer

SIZES = (1_000, 10_000, 50_000)
MOST = 1.3
BASELINE = "the pages alone"

GROUPS = ("workflow", "day", "failure_reason")
MOST_QUESTIONS = 16
LARGE_PAGE = 1000

_ALL = 50_000
_LIMITED = Path(__file__).parent.parent / "tests" / "e2e" / "limited.py"
_DAYS = 30
_PAGE = 100


def section(sizes: Sequence[int] = SIZES) -> Section:
    """Summarize windows that hold about as many runs as each of ``sizes``."""
    result = Section("summarize_runs")
    sandbox, base_url = start_sandbox("huge")
    environment = {"EXTEND_BASE_URL": base_url, **RATE}
    # A single summary reads 10,000 runs at most; here the largest window holds more.
    command = (sys.executable, str(_LIMITED), json.dumps({"summary_runs": 2 * _ALL}), "serve")
    with sandbox, StdioServer(command, **environment) as ours:
        ours.answer(ours.call("list_runs", {"page_size": 1}))
        rows = [_row(ours, base_url, timedelta(days=_DAYS * size / _ALL), result) for size in sizes]
    result.table(
        ["runs", "requests", "s", f"s for {BASELINE}", "ratio", "tokens of raw JSON, about", "MB in RAM"], rows
    )
    result.say(
        "By workflow, over stdio. A summary compares with the previous window of the same length, so it reads twice as "
        f"far. The request limit is {RATE['EXTEND_MCP_REQUESTS_PER_SECOND']} per second here, so that the server is "
        f"what is measured, not the account's limit. For {BASELINE}, httpx reads and parses one page after another. "
        "Raw JSON is counted at 4 bytes per token."
    )
    return result


def _row(ours: StdioServer, base_url: str, window: timedelta, result: Section) -> list[object]:
    now = datetime.now(timezone.utc)
    arguments = {"created_since": _written(now - window), "group_by": "workflow"}
    begun = time.perf_counter()
    answer = ours.answer(ours.call("summarize_runs", arguments))["structuredContent"]
    taken = time.perf_counter() - begun
    # A summary compares with the previous window, so it reads twice as far.
    alone, pages, size = _pages(base_url, _written(now - 2 * window))
    result.targets.append(Target(f"summarize_runs over {answer['runs']:,} runs", BASELINE, MOST, taken / alone))
    return [
        f"{answer['runs']:,}",
        pages,
        f"{taken:.2f}",
        f"{alone:.2f}",
        f"{taken / alone:.2f}",
        f"{size // 4:,}",
        f"{ours.resident_mb():.0f}",
    ]


def kept_section(scenarios: Sequence[str] = ("large", "huge"), groups: Sequence[str] = GROUPS) -> Section:
    """Ask for each grouping twice and more, each time with a new server, at the rate that Extend documents."""
    result = Section("summarize_runs at 10 requests per second")
    rows = []
    for scenario in scenarios:
        sandbox, base_url = start_sandbox(scenario)
        with sandbox, httpx.Client(base_url=base_url, headers=HEADERS, timeout=60, trust_env=False) as client:
            for group_by in groups:
                rows += _kept_rows(client, group_by, result)
    result.table(["grouped by", "question", "runs", "complete", "requests", "s", "MB in RAM"], rows)
    result.say("Over all runs of the account, over stdio. Reasons are learned from the lists of failed child runs.")
    return result


def _kept_rows(client: httpx.Client, group_by: str, result: Section) -> list[list[object]]:
    environment = {"EXTEND_BASE_URL": str(client.base_url), **RATE, "EXTEND_MCP_REQUESTS_PER_SECOND": "10"}
    rows: list[list[object]] = []
    with StdioServer(OURS.stdio, **environment) as ours:
        ours.tools()
        for number in range(1, MOST_QUESTIONS + 1):
            client.delete("/_sandbox/requests").raise_for_status()
            begun = time.perf_counter()
            answer = ours.answer(ours.call("summarize_runs", {"group_by": group_by}))["structuredContent"]
            taken = time.perf_counter() - begun
            requests = len(client.get("/_sandbox/requests").json()["requests"])
            is_whole = answer["complete"]
            rows.append(
                [
                    group_by,
                    number,
                    f"{answer['runs']:,}",
                    is_whole,
                    requests,
                    f"{taken:.2f}",
                    f"{ours.resident_mb():.0f}",
                ]
            )
            if len(rows) > 1 and rows[-2][3]:
                break
    if group_by != "failure_reason":
        what = f"summarize_runs by {group_by} over {rows[0][2]} runs"
        pages = -(-int(str(rows[0][2]).replace(",", "")) // LARGE_PAGE)
        result.targets += [
            Target(f"{what}: requests of the first", "the fewest pages", 1.5, float(str(rows[0][4])) / pages),
            Target(f"{what}: requests of the second", "one request", 2, float(str(rows[-1][4]))),
        ]
    return rows


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _pages(base_url: str, since: str) -> tuple[float, int, int]:
    """Return seconds, requests and bytes of reading the pages down to ``since``."""
    query: dict[str, str | int] = {"sortBy": "createdAt", "sortDir": "desc", "maxPageSize": _PAGE}
    pages = size = 0
    begun = time.perf_counter()
    with httpx.Client(base_url=base_url, headers=HEADERS, timeout=60, trust_env=False) as client:
        while True:
            response = client.get("/workflow_runs", params=query)
            page = response.raise_for_status().json()
            pages, size = pages + 1, size + len(response.content)
            token = page.get("nextPageToken")
            if not token or page["data"][-1]["createdAt"] < since:
                return time.perf_counter() - begun, pages, size
            query["nextPageToken"] = token


def main() -> int:
    """Measure and print; return 1 if a ratio is too high."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--kept", action="store_true", help="only the questions at 10 requests per second")
    options.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of runs, at most 50,000")
    given = options.parse_args()
    return show([kept_section()] if given.kept else [section(given.sizes), kept_section()])


if __name__ == "__main__":
    sys.exit(main())
