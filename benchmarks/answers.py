"""What answers cost a model: tokens of the concise views beside the raw JSON that they stand for."""

from __future__ import annotations

import statistics
from typing import Any

from benchkit.extend import Extend, all_steps, hundred_pages, minified
from benchkit.report import Section, Target
from benchkit.servers import OURS, Server, baselines
from benchkit.stdio import StdioServer
from rs_bpe.bpe import openai

MOST_OF_ALL_STEPS = 0.15
MOST_OF_HUNDRED_PAGES = 0.05
MOST_OF_A_PAGE = 1200


def section(extend: Extend) -> Section:
    """Ask ours and the servers that hand raw JSON over for the same, and count what a model reads of it."""
    count = openai.o200k_base().count
    whole = {
        "the example with every step": (extend.run(all_steps()["id"]), all_steps()["id"]),
        "a run of 100 pages": (extend.run(hundred_pages()["id"]), hundred_pages()["id"]),
    }
    typical = [(extend.run(run_id), run_id) for run_id in extend.runs]
    servers = [OURS, *baselines(None)]
    result = Section("Tokens of an answer")
    rows: list[list[object]] = []
    ratios: list[float] = []
    with StdioServer(OURS.stdio, **extend.environment) as ours:
        for what, (document, run_id) in whole.items():
            raw, concise = count(minified(document)), count(_read(ours, OURS, "get_workflow_run", run_id))
            rows.append([f"get_workflow_run: {what}", f"{raw:,}", f"{concise:,}", f"{concise / raw:.1%}"])
            ratios.append(concise / raw)
        pairs = [
            (count(minified(document)), count(_read(ours, OURS, "get_workflow_run", run_id)))
            for document, run_id in typical
        ]
        raw, concise = (int(statistics.median(each)) for each in zip(*pairs, strict=True))
        rows.append(
            [f"get_workflow_run: {len(pairs)} runs, median", f"{raw:,}", f"{concise:,}", f"{concise / raw:.1%}"]
        )
        raw, page = count(minified(extend.page())), count(_read(ours, OURS, "list_runs", ""))
        rows.append(["list_runs: a page of 20", f"{raw:,}", f"{page:,}", f"{page / raw:.1%}"])
    result.table(["answer", "raw JSON, minified", "ours", "of the raw"], rows)
    rows = []
    for server in servers:
        with StdioServer(server.stdio, **extend.environment) as running:
            cells = [count(_read(running, server, "get_workflow_run", run_id)) for _, run_id in whole.values()]
            cells.append(count(_read(running, server, "list_runs", "")))
            rows.append([server.name, *(f"{cell:,}" for cell in cells)])
    result.table(["tokens of the text that a model is given", *whole, "a page of 20 runs"], rows)
    result.say("Counted in o200k tokens. The text of an answer counts, which is what clients put before a model.")
    result.targets += [
        Target("tokens, every step, of the raw JSON", MOST_OF_ALL_STEPS, ratios[0], "{:.1%}"),
        Target("tokens, 100 pages, of the raw JSON", MOST_OF_HUNDRED_PAGES, ratios[1], "{:.1%}"),
        Target("tokens, a page of 20 runs", MOST_OF_A_PAGE, float(page), "{:,.0f}"),
    ]
    return result


def _read(running: StdioServer, server: Server, tool: str, run_id: str) -> str:
    answer: dict[str, Any] = running.answer(running.call(tool, server.arguments(tool, run_id)))
    return "\n".join(part.get("text", "") for part in answer["content"])
