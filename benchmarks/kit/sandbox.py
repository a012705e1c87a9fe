"""Start the sandbox under the benchmarks, with two documents added to its runs."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from kit.processes import BENCHMARKS, Child, start_sandbox

HEADERS = {"Authorization": "Bearer x", "x-extend-api-version": "2026-02-09"}
RATE = {"EXTEND_API_KEY": "x", "EXTEND_MCP_REQUESTS_PER_SECOND": "1000"}
"""The rate limit is far above what is reached, so that the server is what is measured."""

PAGES = 100
OVER = ("PROCESSED", "FAILED", "REJECTED", "CANCELLED")


def all_steps() -> dict[str, Any]:
    """Return the documented example with every type of step."""
    path: Path = BENCHMARKS.parent / "tests" / "data" / "workflow_run.allsteps.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def hundred_pages() -> dict[str, Any]:
    """Return the same run for a file of 100 pages: a chunk a page, each one block of some 300 words, no OCR words."""
    document = {**all_steps(), "id": "workflow_run_of-a-hundred-pages"}
    parsed = document["stepRuns"][0]["result"]["parseRun"]
    chunk = parsed["output"]["chunks"][0]
    parsed["output"] = {"chunks": [_page(chunk, number) for number in range(1, PAGES + 1)]}
    parsed["metrics"]["pageCount"] = PAGES
    return document


def _page(chunk: dict[str, Any], number: int) -> dict[str, Any]:
    lines = [
        f"{line}. Delivery {number * 31 + line} of article {line * 7919 % 10_007}, {line % 9 + 1} pieces, net {line}.50"
        for line in range(1, 25)
    ]
    text = "\n".join([f"# Page {number} of {PAGES}", "", *lines])
    [block] = chunk["blocks"]
    place = {**block["metadata"], "page": {**block["metadata"]["page"], "number": number}}
    block = {**block, "id": f"block_{number}", "content": text, "metadata": place}
    extent = {**chunk["metadata"], "pageRange": {"start": number, "end": number}}
    return {**chunk, "content": text, "metadata": extent, "blocks": [block]}


@dataclass
class Extend(AbstractContextManager["Extend"]):
    """A sandbox process with the two documents, until the end of the `with` block.

    Attributes:
        child: its process.
        base_url: its address.
        client: calls it directly.
        runs: ids of its newest runs that are over, without the two documents. Of others `get_workflow_run` says what it
            knows from two more requests, which the bare server does not make.
    """

    child: Child
    base_url: str
    client: httpx.Client
    runs: list[str]

    @classmethod
    def start(cls) -> Extend:
        """Start it and add the documents."""
        child, base_url = start_sandbox()
        client = httpx.Client(base_url=base_url, headers=HEADERS, timeout=60, trust_env=False)
        extend = cls(child, base_url, client, [])
        try:
            extend.runs = [run["id"] for run in extend.page(100)["data"] if run["status"] in OVER][:40]
            for document in (all_steps(), hundred_pages()):
                client.post("/_sandbox/runs", json=document).raise_for_status()
        except BaseException:
            extend.__exit__()
            raise
        return extend

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.child.__exit__()

    @property
    def environment(self) -> dict[str, str]:
        """Return what a server needs to call it."""
        return {"EXTEND_BASE_URL": self.base_url, **RATE}

    def page(self, size: int = 20) -> Any:
        """Return a page of runs, newest first."""
        query = {"sortBy": "createdAt", "sortDir": "desc", "maxPageSize": size}
        return self.get("/workflow_runs", query)

    def run(self, run_id: str) -> Any:
        """Return one run."""
        return self.get(f"/workflow_runs/{run_id}")

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """Make a call and return the document in the response."""
        answer = self.client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()
