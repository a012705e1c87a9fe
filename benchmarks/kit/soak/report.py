"""Report a soak as Markdown, and list its faults."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from dataclasses import dataclass

from kit.soak.clients import Record
from kit.soak.readings import Reading, Watch, growth
from kit.soak.world import World

MOST_GROWTH = 0.05
MOST_RAM_GROWTH = 0.10
"""Higher than for Python's blocks: memory that the allocator cannot return is no leak."""
SPARE_FILES = 3
"""Descriptors that may remain at the end: connections kept for the next call."""
SPARE_TASKS = 2

_MARK = "Traceback (most recent call last)"
_STAMPED = re.compile(r"\d{4}-\d\d-\d\d ")
_MOST_LINES = 200


@dataclass(frozen=True)
class End:
    """The end of a soak.

    Attributes:
        before: the idle server over HTTP, before the first call.
        after: the same, after the last client left.
        metrics: its /metrics then.
        errors: the stderr of each server.
        status: exit status of the server over HTTP; None while it runs, as it should.
    """

    before: Reading | None
    after: Reading | None
    metrics: str
    errors: list[str]
    status: int | None

    @property
    def in_flight(self) -> float | None:
        """Return the calls in flight at the end, or None if the server does not report them."""
        found = re.search(r"^extend_mcp_calls_in_flight (\S+)$", self.metrics, re.MULTILINE)
        return float(found[1]) if found else None

    @property
    def tracebacks(self) -> list[str]:
        """Return the tracebacks on stderr."""
        return [found for text in self.errors for found in _tracebacks(text)]


def markdown(minutes: float, record: Record, world: World, watches: list[Watch], end: End) -> str:
    """Return the tables and the ratios to half of the time."""
    by_tool: dict[str, list[str]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for (tool, outcome), count in record.calls.most_common():
        by_tool[tool].append(f"{count} {outcome}")
        totals[tool] += count
    lines = [
        f"{minutes:g} minutes, {sum(totals.values()):,} calls, {sum(world.faults.values()):,} faults injected",
        "",
        "| tool | calls | outcomes |",
        "|---|---|---|",
        *(f"| {tool} | {totals[tool]:,} | {', '.join(by_tool[tool])} |" for tool in sorted(by_tool)),
        "",
        f"faults: {_counted(world.faults)}  ",
        f"events: {_counted(record.events)}  ",
        f"at the end in flight: {end.in_flight}; tracebacks: {len(end.tracebacks)}  ",
        f"unexpected outcomes: {record.faults.total()}",
        "",
        "| server | span | RSS MB, highest | blocks of memory, median | descriptors, highest | tasks, highest |",
        "|---|---|---|---|---|---|",
    ]
    for watch in watches:
        for number, span in enumerate(watch.spans(), 1):
            tasks = max((reading.tasks for reading in span if reading.tasks is not None), default="-")
            memory, files = max(reading.resident_mb for reading in span), max(reading.files for reading in span)
            blocks = statistics.median(_blocks(span) or [0])
            lines.append(f"| {watch.name} | {number} of 10 | {memory:.1f} | {blocks:,.0f} | {files} | {tasks} |")
    for name, reading in (("before", end.before), ("after", end.after)):
        if reading:
            held = f"{reading.resident_mb:.1f} | {reading.blocks or 0:,}"
            lines.append(f"| http | at rest {name} | {held} | {reading.files} | {reading.tasks} |")
    lines += ["", *(f"{watch.name}: {_ratios(watch)}  " for watch in watches)]
    return "\n".join(lines)


def _ratios(watch: Watch) -> str:
    spans = watch.spans()
    blocks = [_blocks(span) for span in spans]
    if not spans or not (blocks[5] and blocks[9]):
        return "too few readings for a ratio"
    memory = growth([[reading.resident_mb for reading in span] for span in spans])
    return f"ratio of the end to half of the time: {1 + memory:.3f} of RAM, {1 + growth(blocks):.3f} of memory blocks"


def faults(record: Record, world: World, watches: list[Watch], end: End) -> list[str]:
    """Return everything that should not have happened."""
    found = [f"{count} x {fault}" for fault, count in record.faults.most_common()]
    found += [f"traceback: {line}" for line in end.tracebacks]
    if end.status is not None:
        found.append(f"the server ended with status {end.status}")
    if end.in_flight != 0:
        found.append(f"calls in flight at the end: {end.in_flight}")
    if end.before is None or end.after is None or end.before.tasks is None or end.after.tasks is None:
        found.append("the server did not report its tasks")
    else:
        if end.after.files > end.before.files + SPARE_FILES:
            found.append(f"descriptors at rest: {end.before.files} before, {end.after.files} after")
        if end.after.tasks > end.before.tasks + SPARE_TASKS:
            found.append(f"tasks at rest: {end.before.tasks} before, {end.after.tasks} after")
    for watch in watches:
        found += _growth(watch)
    return found


def _growth(watch: Watch) -> list[str]:
    spans = watch.spans()
    if not spans:
        return [f"{watch.name}: too few readings"]
    grown = growth([[reading.resident_mb for reading in span] for span in spans])
    found = [f"{watch.name}: RAM grew by {grown:.1%} over the second half"] if grown >= MOST_RAM_GROWTH else []
    blocks = [_blocks(span) for span in spans]
    if all(blocks) and (held := growth(blocks)) >= MOST_GROWTH:
        found.append(f"{watch.name}: memory in use grew by {held:.1%} over the second half")
    files = growth([[float(reading.files) for reading in span] for span in spans])
    more = max(r.files for r in spans[9]) - max(r.files for r in spans[5])
    if files >= MOST_GROWTH and more > SPARE_FILES:
        found.append(f"{watch.name}: descriptors grew by {files:.1%} over the second half")
    return found


def _blocks(span: list[Reading]) -> list[float]:
    return [float(reading.blocks) for reading in span if reading.blocks is not None]


def _tracebacks(text: str) -> list[str]:
    """Return the tracebacks of a log. In our own log lines their line ends are escaped; others span lines."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if _MARK in line:
            found.append([line])
        elif found and len(found[-1]) < _MOST_LINES and (line.startswith(" ") or not _STAMPED.match(line)):
            found[-1].append(line)
    return ["\n".join(lines).replace("\\n", "\n") for lines in found]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda each: -each[1]))
