"""``extend-mcp report``: the shift report, from the answers of the tools, without a model or a question to anyone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import click
from mcp.client.client import Client
from mcp_types import TextContent

from extend_mcp.runs.times import format_instant, format_span, parse_iso, parse_moment, parse_span
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from extend_mcp.views.document import counted
from extend_mcp.views.untrusted import cut

Format = Literal["text", "markdown", "json"]
Row = dict[str, str]

_SHOWN_WAITING = 2
_STEPS_OF_STUCK = 3
_MOST_ROWS = 15
_CELL = 60

_THRESHOLD = re.compile(r"([a-z0-9]+)\s*([<>])\s*([0-9]+(?:\.[0-9]+)?)\s*(%|[a-z]*)", re.IGNORECASE)
_FIGURES = ("runs", "failed", "failed %", "open", "stuck", "waiting", "waiting time", "p95 time", "credits")


class Figure(NamedTuple):
    """A figure that a threshold can be set for: None if nothing is known, incomplete if there may be more."""

    value: float | None
    complete: bool


class Threshold(NamedTuple):
    """A limit such as ``failed>5``, ``waiting>24h`` or ``runs<1``. With ``below``, a smaller figure crosses it."""

    text: str
    figure: str
    below: bool
    limit: float

    def judge(self, figures: dict[str, Figure]) -> Literal["crossed", "not crossed", "unknown"]:
        """Compare the figure with the limit; one that is incomplete may still grow."""
        value, complete = figures[self.figure]
        if value is None:
            return "not crossed" if complete else "unknown"
        crossed = value < self.limit if self.below else value > self.limit
        if not complete and crossed == self.below:
            return "unknown"
        return "crossed" if crossed else "not crossed"


def parse_thresholds(text: str) -> list[Threshold]:
    """Read thresholds such as ``failed>5,waiting>24h``.

    Raises:
        UsageError: one does not fit; the text says which and what fits.
    """
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        match, limit = _THRESHOLD.fullmatch(part), None
        figure = match[1].lower() + {"": "", "%": " %"}.get(match[4], " time") if match else ""
        if match and figure in _FIGURES:
            with suppress(ValueError):
                limit = parse_span(match[3] + match[4]).total_seconds() if "time" in figure else float(match[3])
        if not match or limit is None:
            fits = f"a threshold such as failed>5, failed>2%, waiting>24h or p95>10m, on one of: {', '.join(_FIGURES)}"
            raise click.UsageError(f"--fail-if: {part!r} is not {fits}.")
        found.append(Threshold(part, figure, match[2] == "<", limit))
    return found


@dataclass(frozen=True)
class Report:
    """The answers of the tools for one window by what was asked, and what was left out of them."""

    account: str
    since: datetime
    until: datetime
    answers: dict[str, dict[str, Any]]
    incomplete: list[str]

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures by name, each with its unit if it has one."""
        summary, queue, still_open, stuck = (self.answers[n] for n in ("by_workflow", "queue", "still_open", "stuck"))
        whole, runs = summary["complete"], summary["runs"]
        failed = summary["statuses"].get("FAILED", 0)
        waits = [age for each in queue["runs"] if (age := self.age(each)) is not None]
        return {
            "runs": Figure(runs, whole),
            "failed": Figure(failed, whole),
            "failed %": Figure(100 * failed / runs if runs else None, whole),
            "p95 time": Figure(summary.get("duration_p95"), whole),
            "credits": Figure(summary["credits"], whole),
            "open": Figure(still_open["open"], still_open["complete"]),
            "stuck": Figure(stuck["stuck"], not stuck.get("missing")),
            "waiting": Figure(queue["total"], queue["complete"]),
            "waiting time": Figure(max(waits, default=None), queue["complete"]),
        }

    def age(self, run: dict[str, Any]) -> float | None:
        """Return the seconds for which a run has waited for review."""
        begin = run.get("waits_since") or run.get("created_at")
        return (self.until - parse_iso(begin)).total_seconds() if begin else None

    def head(self) -> list[str]:
        """Return the first lines: how many runs, how they ended, and the window before."""
        summary, still_open, stuck = (self.answers[name] for name in ("by_workflow", "still_open", "stuck"))
        statuses = ", ".join(f"{count:,} {status}" for status, count in summary["statuses"].items())
        rate, longest = self.figures["failed %"].value, self.figures["waiting time"].value
        lines = [f"{counted(summary['runs'], 'run')}: {statuses}." if statuses else "No runs were created."]
        if rate is not None:
            lines.append(
                f"Failed: {rate:.3g}%. Took p50 {format_span(summary.get('duration_p50'))}, "
                f"p95 {format_span(summary.get('duration_p95'))}. Credits: {summary['credits']:,.10g}."
            )
        if (before := summary.get("before")) and before["complete"]:
            share = f" ({_share(before)})" if before["runs"] else ""
            lines.append(f"The window before: {counted(before['runs'], 'run')}, {before['failed']:,} failed{share}.")
        if still_open["documents"]:
            fates = ", ".join(f"{still_open[name]:,} {name}" for name in ("resolved", "running", "open"))
            lines.append(f"Documents that failed: {still_open['documents']:,} ({fates}).")
        lines.append(f"Stuck: {counted(stuck['stuck'], 'run')}. {stuck.get('note') or ''}".rstrip())
        waits = "" if longest is None else f", the longest for {format_span(longest)}"
        lines.append(f"Waiting for review: {self.answers['queue']['total']:,}{waits}.")
        return [*lines, *(f"INCOMPLETE: {each}." for each in self.incomplete)]

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows under each heading, by column."""
        return {
            "Runs by workflow": [
                {
                    "workflow": row["group"],
                    "runs": f"{row['runs']:,}",
                    "failed": f"{row['failed']:,}",
                    "failure rate": _share(row) if row["runs"] else "-",
                    "p95": format_span(row.get("duration_p95")),
                    "credits": f"{row['credits']:,.10g}",
                }
                for row in self.answers["by_workflow"]["groups"][:_MOST_ROWS]
            ],
            "Failures by reason": [
                {"reason": row["group"], "failed": f"{row['runs']:,}"}
                for row in self.answers["by_reason"]["groups"][:_MOST_ROWS]
            ],
            "Open failures by cause": [
                {
                    "reason": row["reason"],
                    "step": row.get("step") or "-",
                    "documents": f"{row['runs']:,}",
                    "rerun without success": f"{row['failed_again']:,}",
                }
                for row in self.answers["still_open"]["causes"][:_MOST_ROWS]
            ],
            "Waiting for review, oldest first": [
                {
                    "waits": format_span(self.age(row)),
                    "run": row["run_id"],
                    "workflow": row.get("workflow") or "-",
                    "file": row.get("file") or "-",
                    "dashboard": row.get("dashboard_url") or "-",
                }
                for row in self.answers["queue"]["runs"][:_SHOWN_WAITING]
            ],
        }


async def make_report(settings: Settings, since: str, **parts: Any) -> Report:
    """Ask the tools of a server in this process; tests give it other ``parts``.

    Raises:
        ClickException: Extend could not be asked, or ``since`` is not a time.
    """
    chosen = settings.model_copy(update={"toolsets": ("runs", "incidents"), "read_only": True, "audit": "off"})
    server, registry = build_server(chosen, own_caller=True, **parts)
    now = registry.current().clock.now()
    try:
        begin = parse_moment(since, now)
    except ValueError as error:
        raise click.ClickException(f"--since: {error}") from None
    # The same instant for all: "24h" moves.
    window = {"created_since": format_instant(begin)}
    # As far back as the summaries read, for the window before: an older run that hangs was reported then.
    both = {"created_since": format_instant(begin - (now - begin))}
    questions: dict[str, tuple[str, dict[str, Any]]] = {
        "by_workflow": ("summarize_runs", {**window, "group_by": "workflow"}),
        "by_reason": ("summarize_runs", {**window, "group_by": "failure_reason"}),
        "queue": ("review_queue", {"limit": _SHOWN_WAITING}),
        "still_open": ("list_open_failures", window),
        "stuck": ("list_runs", {**both, "stuck": True, "page_size": _STEPS_OF_STUCK}),
    }
    try:
        async with Client(server) as client:
            results = {name: await client.call_tool(*question) for name, question in questions.items()}
    finally:
        await registry.aclose()
    answers: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        if result.is_error or result.structured_content is None:
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            raise click.ClickException(" ".join(texts))
        answers[name] = result.structured_content
    missing = dict.fromkeys(each for answer in answers.values() for each in answer.get("missing") or ())
    return Report(settings.label, begin, now, answers, list(missing))


def render(report: Report, thresholds: Sequence[Threshold], form: Format) -> str:
    """Write the report, with what became of each threshold."""
    verdicts = {each.text: each.judge(report.figures) for each in thresholds}
    since, until = format_instant(report.since), format_instant(report.until)
    if form == "json":
        fields = {
            "account": report.account,
            "since": since,
            "until": until,
            **report.answers,
            "incomplete": report.incomplete,
            "figures": {name: figure.value for name, figure in report.figures.items()},
            "thresholds": verdicts,
        }
        return json.dumps(fields, indent=2, ensure_ascii=False)
    markdown = form == "markdown"
    title = f"Extend workflow runs{f' of {report.account}' if report.account else ''}, {since} to {until}"
    head = report.head()
    if verdicts:
        head = [f"Thresholds: {', '.join(f'{text} {verdict}' for text, verdict in verdicts.items())}.", *head]
    # Two spaces at its end keep a line of Markdown apart from the next.
    lines = [f"## {title}", "", *(f"{line}  " for line in head)] if markdown else [title, "", *head]
    for heading, rows in report.tables().items():
        if rows:
            cells = [[_cell(text) for text in row.values()] for row in rows]
            lines += ["", *(_markdown if markdown else _aligned)(heading, [*rows[0]], cells)]
    return "\n".join(lines)


def _aligned(heading: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return [f"{heading}:", *("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in (columns, *rows))]


def _markdown(heading: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    return [f"### {heading}", "", *(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *escaped))]


def _cell(text: str) -> str:
    # A chat must not take a part of a name for a mention of everyone.
    return (text if text.startswith("https://") else cut(text, _CELL)).replace("@", "@ ")


def _share(counts: dict[str, Any]) -> str:
    return f"{100 * counts['failed'] / counts['runs']:.3g}%"
