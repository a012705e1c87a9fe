"""How long summarize_runs takes over 1,000, 10,000 and 50,000 runs, beside reading the same pages and no more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import httpx
from benchkit.extend import HEADERS, RATE
from benchkit.report import Section
from benchkit.servers import OURS
from benchkit.stdio import StdioServer
from loadkit.processes import start_sandbox

_ALL = 50_000
_DAYS = 30
_PAGE = 100


def section(sizes: Sequence[int]) -> Section:
    """Summarize windows that hold about as many runs as each of ``sizes``."""
    result = Section("summarize_runs")
    sandbox, base_url = start_sandbox("huge")
    environment = {"EXTEND_BASE_URL": base_url, "EXTEND_MCP_SUMMARY_RUNS": str(_ALL), **RATE}
    with sandbox, StdioServer(OURS.stdio, **environment) as ours:
        ours.answer(ours.call("list_runs", {"page_size": 1}))
        rows = [_row(ours, base_url, timedelta(days=_DAYS * size / _ALL)) for size in sizes]
    result.table(
        ["runs", "requests", "s", "s for the pages alone", "ratio", "tokens of raw JSON, about", "MB in RAM"], rows
    )
    result.say(
        "By workflow, over stdio. A summary compares with the window of the same length before, so it reads as many "
        "runs again where there are any: the requests count these too. The limit of requests is "
        f"{RATE['EXTEND_MCP_REQUESTS_PER_SECOND']} a second here, so that the server is what is measured: at an "
        "account's 10 a second the pages take as long as they must. The pages alone are read one after another by "
        "httpx, parsed and forgotten. Raw JSON is counted at 4 bytes a token."
    )
    return result


def _row(ours: StdioServer, base_url: str, window: timedelta) -> list[object]:
    now = datetime.now(timezone.utc)
    arguments = {"created_since": _written(now - window), "group_by": "workflow"}
    begun = time.perf_counter()
    answer = ours.answer(ours.call("summarize_runs", arguments))["structuredContent"]
    taken = time.perf_counter() - begun
    # A summary compares with the window before, so it reads twice as far.
    alone, pages, size = _pages(base_url, _written(now - 2 * window))
    return [
        f"{answer['runs']:,}",
        pages,
        f"{taken:.2f}",
        f"{alone:.2f}",
        f"{taken / alone:.2f}",
        f"{size // 4:,}",
        f"{ours.resident_mb():.0f}",
    ]


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _pages(base_url: str, since: str) -> tuple[float, int, int]:
    """Seconds, requests and bytes of reading the pages down to ``since``."""
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
