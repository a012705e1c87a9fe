"""What a benchmark found: a table, what it means, and whether it is what was asked for."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """One number that was asked for.

    Attributes:
        what: what was measured.
        most: the highest value that meets it.
        found: the value.
        form: how both are written.
    """

    what: str
    most: float
    found: float
    form: str = "{:.2f}"

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.found <= self.most

    def row(self) -> str:
        """A line of a table."""
        asked, found = self.form.format(self.most), self.form.format(self.found)
        return f"| {self.what} | at most {asked} | {found} | {'yes' if self.met else '**no**'} |"


@dataclass
class Section:
    """One part of the page."""

    title: str
    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table."""
        self.lines += ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        self.lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
        self.lines.append("")

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.lines += [text, ""]

    def markdown(self) -> str:
        """The part as Markdown."""
        return "\n".join([f"## {self.title}", "", *self.lines]).replace("\n\n\n", "\n\n")


def targets_table(sections: Sequence[Section]) -> str:
    """All that was asked for, and what was found."""
    section = Section("What was asked for")
    rows = [target.row() for each in sections for target in each.targets]
    section.lines += ["", "| | asked | found | met |", "|---|---|---|---|", *rows, ""]
    return section.markdown()


def median_of_ratios(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios, pair by pair: a change in the machine's speed meets both of a pair."""
    return statistics.median(value / each for value, each in zip(values, base, strict=True))


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1000:.2f}"
