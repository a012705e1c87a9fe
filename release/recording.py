"""Write the demo's output as an asciicast or an animated SVG, at a pace that a reader can follow.

Source of the first format: asciicast v2, a JSON header line and a JSON array per piece of output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

COLUMNS, ROWS = 118, 30
FORMATS = (".cast", ".svg")

_LINE_SECONDS = 0.35
_SHORTEST = 1.0
_LONGEST = 6.0
_END_SECONDS = 5.0
_CHAR_WIDTH, _LINE_HEIGHT, _MARGIN = 7.25, 16, 14
_COLORS = (("==", "#7aa2f7"), (">", "#9ece6a"), ("  |", "#e0af68"), ("  cancelled", "#9ece6a"))
_PLAIN = "#c0caf5"
_SVG = 'xmlns="http://www.w3.org/2000/svg" role="img" xml:space="preserve"'


class Recording:
    """Collects the output and writes it at the end."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Add one piece of output, of one or more lines."""
        self._pieces.append(piece)

    def write(self, file: Path) -> None:
        """Write the format that the file's suffix names.

        Raises:
            ValueError: the suffix is neither ``.cast`` nor ``.svg``.
            OSError: the file cannot be written.
        """
        if file.suffix == ".cast":
            text = asciicast(self._pieces)
        elif file.suffix == ".svg":
            text = svg(self._pieces)
        else:
            raise ValueError(f"{file.name}: a recording ends with .cast or .svg")
        file.write_text(text, encoding="utf-8", newline="\n")


def asciicast(pieces: Sequence[str]) -> str:
    """Return the pieces as asciicast v2, for asciinema and its players."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "extend-mcp demo"}
    lines = [json.dumps(header)]
    for moment, piece in zip(_moments(pieces), pieces, strict=True):
        lines.append(json.dumps([round(moment, 3), "o", piece.replace("\n", "\r\n") + "\r\n"], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def svg(pieces: Sequence[str]) -> str:
    """Return one picture that shows a screen per piece in a loop, or the last screen where motion is off."""
    moments = _moments(pieces)
    whole = (moments[-1] if moments else 0.0) + _END_SECONDS
    frames, rules, seen = [], [], list[str]()
    for number, piece in enumerate(pieces):
        seen += [_cut(line) for line in piece.split("\n")]
        frames.append(_frame(number, seen[-ROWS:]))
        begin = moments[number] / whole * 100
        end = moments[number + 1] / whole * 100 if number + 1 < len(pieces) else 100
        rules.append(_rule(number, begin, end, whole, last=number + 1 == len(pieces)))
    width, height = COLUMNS * _CHAR_WIDTH + 2 * _MARGIN, ROWS * _LINE_HEIGHT + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg {_SVG} viewBox="0 0 {width:g} {height:g}">',
            "<title>extend-mcp demo: what is running, why a run failed, and a cancel that a person confirms</title>",
            "<style>text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}",
            *rules,
            "@media (prefers-reduced-motion:reduce){g{animation:none!important}}</style>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#1a1b26"/>',
            *frames,
            "</svg>\n",
        ]
    )


def _moments(pieces: Sequence[str]) -> list[float]:
    """Return when each piece appears, in seconds."""
    moments, now = [], 0.0
    for piece in pieces:
        moments.append(now)
        now += min(max(_SHORTEST, _LINE_SECONDS * piece.count("\n")), _LONGEST)
    return moments


def _rule(number: int, begin: float, end: float, whole: float, *, last: bool) -> str:
    shown = f"{begin:.3f}%{{visibility:visible}}" + (f"{end:.3f}%{{visibility:hidden}}" if end < 100 else "")
    before = "0%{visibility:hidden}" if begin > 0 else ""
    resting = "visible" if last else "hidden"
    return (
        f"#f{number}{{visibility:{resting};animation:k{number} {whole:.1f}s step-end infinite}}"
        f"@keyframes k{number}{{{before}{shown}}}"
    )


def _frame(number: int, lines: Sequence[str]) -> str:
    texts = [
        f'<text x="{_MARGIN}" y="{_MARGIN + (row + 1) * _LINE_HEIGHT - 4}" fill="{_color(line)}">{escape(line)}</text>'
        for row, line in enumerate(lines)
        if line.strip()
    ]
    return f'<g id="f{number}">{"".join(texts)}</g>'


def _color(line: str) -> str:
    return next((color for start, color in _COLORS if line.startswith(start)), _PLAIN)


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…"
