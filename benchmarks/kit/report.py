"""Report what a benchmark found: tables, and the ratios to a baseline with their bounds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """The ratio of our figure to a baseline's, and the highest, or for a throughput the lowest, that is accepted."""

    what: str
    baseline: str
    bound: float
    found: float
    is_lowest: bool = False

    @property
    def met(self) -> bool:
        """Return whether the ratio is accepted. One that could not be measured is: a baseline failed, and not ours."""
        if math.isnan(self.found):
            return True
        return self.found >= self.bound if self.is_lowest else self.found <= self.bound

    def row(self) -> str:
        """Return a table row."""
        met = "not measured" if math.isnan(self.found) else "yes" if self.met else "**no**"
        asked = f"at {'least' if self.is_lowest else 'most'} {self.bound:.3g}"
        return f"| {self.what} | {self.baseline} | {asked} | {self.found:.3g} | {met} |"


@dataclass
class Section:
    """One part of the page."""

    title: str
    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        self.lines += ["", *table(head, rows), ""]

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.lines += [text, ""]

    def markdown(self) -> str:
        """Return the part as Markdown."""
        return "\n".join([f"## {self.title}", "", *self.lines]).replace("\n\n\n", "\n\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]


def page(sections: Sequence[Section]) -> str:
    """Return all sections as Markdown, after a table of their ratios."""
    rows = [target.row() for each in sections for target in each.targets]
    head = ["| ours | baseline | ratio asked | found | met |", "|---|---|---|---|---|"]
    return "\n".join(["## Ratios", "", *head, *rows, "", *(each.markdown() for each in sections)])


def show(sections: Sequence[Section], *, judge: bool = True) -> int:
    """Print the page; return 1 if ``judge`` and a ratio is not accepted."""
    print(page(sections))
    return 1 if judge and not all(target.met for each in sections for target in each.targets) else 0


def median_of_ratios(values: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of the ratios, pair by pair, so that a change in the machine's speed affects both.

    A pair of which one could not be measured is left out; without any pair the ratio is NaN.
    """
    ratios = [value / each for value, each in zip(values, base, strict=True)]
    return statistics.median([ratio for ratio in ratios if not math.isnan(ratio)] or [math.nan])


def ms(seconds: float) -> str:
    """Write seconds as milliseconds."""
    return f"{seconds * 1000:.2f}"
