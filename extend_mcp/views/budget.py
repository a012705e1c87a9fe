"""Keeping an answer within its budget of characters, and saying what was cut and how to see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extend_mcp.views.untrusted import is_open


@dataclass(frozen=True)
class TextPage:
    """One page of a long text.

    Attributes:
        lines: the lines of this page.
        number: its number, from 1.
        count: how many pages there are.
    """

    lines: list[str]
    number: int
    count: int


def fit(lines: Sequence[str], limit: int, more: Callable[[int], str]) -> tuple[list[str], int]:
    """Keep as many leading lines as fit in ``limit`` characters.

    Args:
        lines: what should be shown, most important first.
        limit: how many characters may be used, line ends included.
        more: given how many lines had to go, the line that says how to see them.

    Returns:
        The lines to show, ending with ``more``'s where some went, and how many of the given ones stayed.
    """
    if sum(len(line) + 1 for line in lines) <= limit:
        return list(lines), len(lines)
    room = limit - len(more(len(lines))) - 1
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return [*kept, more(len(lines) - len(kept))], len(kept)


def paginate(lines: Sequence[str], number: int, limit: int) -> TextPage:
    """Divide ``lines`` into pages of at most ``limit`` characters; nothing is lost.

    Args:
        lines: the whole text; a line longer than a page is continued on lines of its own.
        number: which page, from 1; one past the end gives the last.
        limit: characters a page, line ends included; at least 80.

    Returns:
        The page, with how many there are.
    """
    pages: list[list[str]] = [[]]
    room = limit
    for line in lines:
        for piece in _pieces(line, limit - 1):
            if len(piece) + 1 > room and pages[-1]:
                pages.append([])
                room = limit
            pages[-1].append(piece)
            room -= len(piece) + 1
    chosen = min(max(number, 1), len(pages))
    return TextPage(pages[chosen - 1], chosen, len(pages))


def _pieces(line: str, size: int) -> list[str]:
    if len(line) <= size:
        return [line]
    # A continuation of outside text keeps its mark, or its middle could pass for ours.
    width = size - 2
    first = line[:width]
    rest = [f"| {line[at : at + width]}" for at in range(width, len(line), width)]
    return [f"{first}»" if is_open(first) else first, *rest]
