"""Draw the README's picture: a chat next to a view, as an SVG that plays a session in 15 seconds.

`.ci/apps` records the session against the sandbox: the tools' words, the question to the person, and the view before
and after. Texts are large, since a phone shows the picture at half its size.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

SECONDS = 15
WIDTH = 800
TEXT = 24
"""The size of letters: at least 10 pixels where the picture is 380 wide."""

_LINE = 33
_CHAT = 376
_COLUMNS = 29
_SIDE_X, _SIDE_Y, _SIDE_WIDTH = 412, 20, 368
_SANS = "Inter,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
_MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"


@dataclass(frozen=True)
class _Part:
    """A group of the picture: its elements, and the seconds from which and until which it is shown."""

    body: str
    begin: float
    end: float = SECONDS


def chat_picture(seen: Path) -> str:
    """Return the picture.

    Args:
        seen: the folder with ``story.json``, ``side-running.png`` and ``side-cancelled.png``.
    """
    story = json.loads((seen / "story.json").read_text("utf-8"))
    why = story["why"].replace("«", "“").replace("»", "”").replace("; ", ". ")
    before, height = _image(seen / "side-running.png")
    after, height_after = _image(seen / "side-cancelled.png")
    bottom = max(height, height_after, 600) + 2 * _SIDE_Y
    y = 20
    chat: list[_Part] = []
    for begin, draw, text in (
        (0.0, _user, "Is anything stuck?"),
        (1.2, _tool, "list_runs(stuck=true)"),
        (2.4, _answer, f"Yes. {story['file']}: {why}."),
        (5.6, _user, "Cancel it."),
        (6.4, _tool, "cancel_workflow_run"),
        (10.8, _answer, f"Done. {story['message'].partition('.')[0]}."),
    ):
        body, used = draw(text, y)
        chat.append(_Part(body, begin))
        y += used + 16
    parts = [
        *chat,
        _Part(before, 3.2, 10.8),
        _Part(after, 10.8),
        _Part(_question(story["question"], bottom), 7.2, 10.8),
    ]
    rules = [_rule(number, part) for number, part in enumerate(parts)]
    groups = [f'<g id="p{number}">{part.body}</g>' for number, part in enumerate(parts)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {bottom}">',
            "<title>A chat: a person asks what is stuck, sees the run, and confirms its cancel</title>",
            f"<style>text{{font:{TEXT}px {_SANS};fill:#1c1c1a}}.m{{font-family:{_MONO};font-size:{TEXT - 4}px;",
            "fill:#5f5e5a}",
            ".b{font-weight:600}.s{fill:#5f5e5a}.w{fill:#fff}.b,.q{font-size:21px}",
            *rules,
            "@media (prefers-reduced-motion:reduce){g{animation:none!important}}</style>",
            f'<rect width="{WIDTH}" height="{bottom}" rx="14" fill="#eeece6"/>',
            f'<rect x="{_SIDE_X}" y="{_SIDE_Y}" width="{_SIDE_WIDTH}" height="{bottom - 2 * _SIDE_Y}" rx="12" ',
            'fill="#fff"/>',
            *groups,
            "</svg>\n",
        ]
    )


def _rule(number: int, part: _Part) -> str:
    """Show a part in its time. Where motion is off, what is shown at the end rests."""
    begin, end = 100 * part.begin / SECONDS, 100 * part.end / SECONDS
    before = "0%{visibility:hidden}" if begin else ""
    after = f"{end:.2f}%{{visibility:hidden}}" if part.end < SECONDS else ""
    resting = "hidden" if after else "visible"
    return (
        f"#p{number}{{visibility:{resting};animation:k{number} {SECONDS}s step-end infinite}}"
        f"@keyframes k{number}{{{before}{begin:.2f}%{{visibility:visible}}{after}}}"
    )


def _lines(lines: list[str], x: float, y: float, kind: str = "") -> str:
    styled = f' class="{kind}"' if kind else ""
    return "".join(
        f'<text x="{x:g}" y="{y + (row + 1) * _LINE - 9:g}"{styled}>{escape(line)}</text>'
        for row, line in enumerate(lines)
    )


def _user(text: str, y: int) -> tuple[str, int]:
    width = len(text) * TEXT * 0.5 + 36
    x = _CHAT - width + 16
    box = f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{_LINE + 16}" rx="20" fill="#dcd9d0"/>'
    return box + _lines([text], x + 18, y + 8), _LINE + 16


def _tool(text: str, y: int) -> tuple[str, int]:
    return f'<circle cx="27" cy="{y + 15}" r="5" fill="#33691e"/>' + _lines([text], 42, y, "m"), _LINE


def _answer(text: str, y: int) -> tuple[str, int]:
    lines = wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)
    return _lines(lines, 20, y), len(lines) * _LINE


def _question(text: str, bottom: int) -> str:
    """Draw the host's dialog over both columns."""
    lines = [line for each in text.splitlines() for line in wrap(each.replace("«", "“").replace("»", "”"), 60)]
    height = (len(lines) + 2) * _LINE + 64
    x, y, width = 40, (bottom - height) // 2, WIDTH - 80
    button = y + height - 66
    return (
        f'<rect width="{WIDTH}" height="{bottom}" rx="14" fill="#1c1c1a" opacity=".45"/>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="14" fill="#fff"/>'
        + _lines(["extend-mcp asks you"], x + 24, y + 14, "s")
        + _lines(lines[:1], x + 24, y + 14 + _LINE, "b")
        + _lines(lines[1:], x + 24, y + 14 + 2 * _LINE, "q")
        + f'<rect x="{x + width - 274}" y="{button}" width="110" height="46" rx="10" fill="#eeece6"/>'
        + f'<rect x="{x + width - 150}" y="{button}" width="126" height="46" rx="10" fill="#a32d2d"/>'
        + _lines(["No"], x + width - 232, button + 8)
        + _lines(["Yes"], x + width - 104, button + 8, "w")
    )


def _image(file: Path) -> tuple[str, int]:
    """Return a picture of the view, inside the frame on the right, and its height there."""
    raw = file.read_bytes()
    width, height = struct.unpack(">II", raw[16:24])
    shown = round(_SIDE_WIDTH * height / width)
    data = base64.b64encode(raw).decode()
    place = f'x="{_SIDE_X}" y="{_SIDE_Y + 6}" width="{_SIDE_WIDTH}" height="{shown}"'
    return f'<image {place} href="data:image/png;base64,{data}"/>', shown + 12
