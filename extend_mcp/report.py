"""``extend-mcp report``: the shift report, from the answers of the tools, without a model or a question to anyone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from mcp.client.client import Client
from mcp_types import TextContent

from extend_mcp.runs.times import format_instant, format_span, parse_iso, parse_moment, parse_span
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from extend_mcp.views.document import counted
from extend_mcp.views.untrusted import cut

Format = Literal["text", "markdown", "json"]

_SHOWN_WAITING = 2
_STEPS_OF_STUCK = 3
_MOST_ROWS = 15
_CELL = 60


class ReportError(Exception):
    """The report could not be made; the text says why."""


class Figure(NamedTuple):
    """A figure that a threshold can be set for: None if nothing is known, incomplete if there may be more."""

    value: float | None
    complete: bool


@dataclass(frozen=True)
class Threshold:
    """A limit such as ``failed>5``, ``waiting>24h`` or ``runs<1``. With ``below``, a smaller figure crosses it."""

    text: str
    figure: str
    below: bool
    limit: float

    def judge(self, figures: dict[str, Figure]) -> Literal["crossed", "not crossed", "unknown"]:
        """Compare the figure with the limit; one that is incomplete may still grow."""
        figure = figures[self.figure]
        if figure.value is None:
            return "not crossed" if figure.complete else "unknown"
        crossed = figure.value < self.limit if self.below else figure.value > self.limit
        if not figure.complete and crossed == self.below:
            return "unknown"
        return "crossed" if crossed else "not crossed"


_THRESHOLD = re.compile(r"([a-z0-9_]+)\s*([<>])\s*([0-9.]+)\s*(%|[a-z]*)", re.IGNORECASE)

FIGURES = {
    "runs": ("",),
    "failed": ("", "%"),
    "open": ("",),
    "stuck": ("",),
    "waiting": ("", "time"),
    "p95": ("time",),
    "credits": ("",),
}
"""The figures that thresholds can be set for, each with its units."""


def parse_thresholds(text: str) -> list[Threshold]:
    """Read thresholds such as ``failed>5,waiting>24h``.

    Raises:
        ValueError: one does not fit; the text says which and what fits.
    """
    found = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        match = _THRESHOLD.fullmatch(part)
        if match is None or match[1].lower() not in FIGURES:
            raise ValueError(f"{part!r} is not a threshold on {', '.join(FIGURES)}, such as failed>5 or waiting>24h")
        name, sign, number, unit = match[1].lower(), match[2], match[3], match[4].lower()
        kind = unit if unit in ("", "%") else "time"
        try:
            limit = parse_span(f"{number}{unit}").total_seconds() if kind == "time" else float(number)
        except ValueError:
            raise ValueError(f"{part!r}: {number}{unit} is not a number or a time such as 90s, 24h or 2d") from None
        if kind not in FIGURES[name]:
            takes = " or ".join({"": "a number", "%": "a percentage", "time": "a time"}[each] for each in FIGURES[name])
            raise ValueError(f"{part!r}: {name} takes {takes}")
        found.append(Threshold(part, f"{name}{'' if kind == '' else ' ' + kind}", sign == "<", limit))
    return found


class Table(NamedTuple):
    """Rows under a heading, and what each column shows of a row."""

    title: str
    rows: Sequence[dict[str, Any]]
    columns: dict[str, Callable[[dict[str, Any]], str]]

    def cells(self) -> list[list[str]]:
        """Return the cells of each row."""
        return [[_cell(show(row)) for show in self.columns.values()] for row in self.rows]


@dataclass(frozen=True)
class Report:
    """The answers of the tools for one window, and what was left out of them."""

    account: str
    since: datetime
    until: datetime
    by_workflow: dict[str, Any]
    by_reason: dict[str, Any]
    queue: dict[str, Any]
    still_open: dict[str, Any]
    stuck: dict[str, Any]
    incomplete: list[str]

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures by name, each with its unit if it has one."""
        summary, queue = self.by_workflow, self.queue
        whole, runs = summary["complete"], summary["runs"]
        failed = summary["statuses"].get("FAILED", 0)
        return {
            "runs": Figure(runs, whole),
            "failed": Figure(failed, whole),
            "failed %": Figure(100 * failed / runs if runs else None, whole),
            "p95 time": Figure(summary.get("duration_p95"), whole),
            "credits": Figure(summary["credits"], whole),
            "open": Figure(self.still_open["open"], self.still_open["complete"]),
            "stuck": Figure(self.stuck["stuck"], not self.stuck.get("missing")),
            "waiting": Figure(queue["total"], queue["complete"]),
            "waiting time": Figure(self.longest_wait, queue["complete"]),
        }

    @property
    def longest_wait(self) -> float | None:
        """The longest that a run has waited for review, in seconds."""
        return max((age for each in self.queue["runs"] if (age := self._age(each)) is not None), default=None)

    def _age(self, run: dict[str, Any]) -> float | None:
        begin = run.get("waits_since") or run.get("created_at")
        return (self.until - parse_iso(begin)).total_seconds() if begin else None

    def head(self) -> list[str]:
        """Return the first lines: how many runs, how they ended, and the window before."""
        summary, figures = self.by_workflow, self.figures
        statuses = ", ".join(f"{count:,} {status}" for status, count in summary["statuses"].items())
        rate = figures["failed %"].value
        lines = [f"{counted(summary['runs'], 'run')}: {statuses}." if statuses else "No runs were created."]
        if rate is not None:
            lines.append(
                f"Failed: {rate:.3g}%. Took p50 {_span(summary.get('duration_p50'))}, "
                f"p95 {_span(summary.get('duration_p95'))}. Credits: {summary['credits']:,.10g}."
            )
        if (before := summary.get("before")) and before["complete"]:
            share = f" ({100 * before['failed'] / before['runs']:.3g}%)" if before["runs"] else ""
            lines.append(f"The window before: {counted(before['runs'], 'run')}, {before['failed']:,} failed{share}.")
        if self.still_open["documents"]:
            fates = [f"{self.still_open[name]:,} {name}" for name in ("resolved", "running", "open")]
            lines.append(f"Documents that failed: {self.still_open['documents']:,} ({', '.join(fates)}).")
        note = f" {self.stuck['note']}" if self.stuck.get("note") else ""
        lines.append(f"Stuck: {counted(self.stuck['stuck'], 'run')}.{note}")
        waits = f", the longest for {_span(self.longest_wait)}" if self.longest_wait is not None else ""
        lines.append(f"Waiting for review: {self.queue['total']:,}{waits}.")
        return [*lines, *(f"INCOMPLETE: {each}." for each in self.incomplete)]

    def tables(self) -> list[Table]:
        """Return the tables that hold rows."""
        tables = [
            Table(
                "Runs by workflow",
                self.by_workflow["groups"][:_MOST_ROWS],
                {
                    "workflow": itemgetter("group"),
                    "runs": lambda row: f"{row['runs']:,}",
                    "failed": lambda row: f"{row['failed']:,}",
                    "failure rate": lambda row: f"{100 * row['failed'] / row['runs']:.3g}%" if row["runs"] else "-",
                    "p95": lambda row: _span(row.get("duration_p95")),
                    "credits": lambda row: f"{row['credits']:,.10g}",
                },
            ),
            Table(
                "Failures by reason",
                self.by_reason["groups"][:_MOST_ROWS],
                {"reason": itemgetter("group"), "failed": lambda row: f"{row['runs']:,}"},
            ),
            Table(
                "Open failures by cause",
                self.still_open["causes"][:_MOST_ROWS],
                {
                    "reason": itemgetter("reason"),
                    "step": lambda row: row.get("step") or "-",
                    "documents": lambda row: f"{row['documents']:,}",
                    "rerun without success": lambda row: f"{row['failed_again']:,}",
                },
            ),
            Table(
                "Waiting for review, oldest first",
                self.queue["runs"][:_SHOWN_WAITING],
                {
                    "waits": lambda row: _span(self._age(row)),
                    "run": itemgetter("run_id"),
                    "workflow": lambda row: row.get("workflow") or "-",
                    "file": lambda row: row.get("file") or "-",
                    "dashboard": lambda row: row.get("dashboard_url") or "-",
                },
            ),
        ]
        return [table for table in tables if table.rows]


async def make_report(settings: Settings, since: str, **parts: Any) -> Report:
    """Ask the tools of a server in this process; tests give it other ``parts``.

    Raises:
        ReportError: Extend could not be asked, or ``since`` is not a time.
    """
    chosen = settings.model_copy(update={"toolsets": ("runs", "incidents"), "read_only": True, "audit": "off"})
    server, registry = build_server(chosen, own_caller=True, **parts)
    try:
        now = registry.current().clock.now()
        try:
            begin = parse_moment(since, now)
        except ValueError as error:
            raise ReportError(f"--since: {error}") from None
        async with Client(server) as client:
            # The same instant for all: "24h" moves.
            window = {"created_since": format_instant(begin)}
            # As far back as the summaries read, for the window before: an older run that hangs was reported then.
            both = {"created_since": format_instant(begin - (now - begin))}
            results = [
                await client.call_tool("summarize_runs", {**window, "group_by": "workflow"}),
                await client.call_tool("summarize_runs", {**window, "group_by": "failure_reason"}),
                await client.call_tool("review_queue", {"limit": _SHOWN_WAITING}),
                await client.call_tool("list_open_failures", window),
                await client.call_tool("list_runs", {**both, "stuck": True, "page_size": _STEPS_OF_STUCK}),
            ]
    finally:
        await registry.aclose()
    answers: list[dict[str, Any]] = []
    for result in results:
        if result.is_error or result.structured_content is None:
            raise ReportError(" ".join(block.text for block in result.content if isinstance(block, TextContent)))
        answers.append(result.structured_content)
    missing = dict.fromkeys(each for answer in answers for each in answer.get("missing") or ())
    by_workflow, by_reason, queue, still_open, stuck = answers
    return Report(settings.label, begin, now, by_workflow, by_reason, queue, still_open, stuck, list(missing))


def render(report: Report, thresholds: Sequence[Threshold], form: Format) -> str:
    """Write the report, with what became of each threshold."""
    judged = [(each.text, each.judge(report.figures)) for each in thresholds]
    if form == "json":
        fields = {
            **asdict(report),
            "since": format_instant(report.since),
            "until": format_instant(report.until),
            "figures": {name: figure.value for name, figure in report.figures.items()},
            "thresholds": dict(judged),
        }
        return json.dumps(fields, indent=2, ensure_ascii=False)
    window = f"{format_instant(report.since)} to {format_instant(report.until)}"
    title = f"Extend workflow runs{f' of {report.account}' if report.account else ''}, {window}"
    verdicts = [f"Thresholds: {', '.join(f'{text} {verdict}' for text, verdict in judged)}."] if judged else []
    write: Callable[[Table], list[str]] = _markdown if form == "markdown" else _aligned
    lines = [f"## {title}" if form == "markdown" else title, ""]
    # Two spaces at its end keep a line of Markdown apart from the next.
    lines += [f"{line}  " if form == "markdown" else line for line in [*verdicts, *report.head()]]
    for table in report.tables():
        lines += ["", *write(table)]
    return "\n".join(lines)


def _aligned(table: Table) -> list[str]:
    rows = [[*table.columns], *table.cells()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [f"{table.title}:", *(f"  {line}" for line in lines)]


def _markdown(table: Table) -> list[str]:
    rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table.cells()]
    return [f"### {table.title}", "", f"| {' | '.join(table.columns)} |", "|---" * len(table.columns) + "|", *rows]


def _cell(text: str) -> str:
    # A chat must not take a part of a name for a mention of everyone.
    return (text if text.startswith("https://") else cut(text, _CELL)).replace("@", "@ ")


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else format_span(seconds)
