from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from release.__main__ import main
from release.recording import COLUMNS, ROWS, Recording

PIECES = ["one", "\n== Two <b> & «three»\nsecond line", "x" * 300]


def recorded(file: Path, pieces: list[str] = PIECES) -> str:
    recording = Recording()
    for piece in pieces:
        recording.add(piece)
    recording.write(file)
    return file.read_text()


def test_an_asciicast_plays_every_piece_in_order_and_slowly_enough_to_read(tmp_path: Path) -> None:
    header, *events = (json.loads(line) for line in recorded(tmp_path / "demo.cast").splitlines())
    assert header["version"] == 2
    assert (header["width"], header["height"]) == (COLUMNS, ROWS)
    assert "".join(text for _, kind, text in events if kind == "o") == "".join(
        piece.replace("\n", "\r\n") + "\r\n" for piece in PIECES
    )
    moments = [moment for moment, _, _ in events]
    assert moments[0] == 0
    assert all(later - earlier >= 1 for earlier, later in pairwise(moments))


def test_a_picture_shows_a_screen_for_each_piece_and_rests_on_the_last(tmp_path: Path) -> None:
    text = recorded(tmp_path / "demo.svg", [*PIECES, "\n".join(f"line {number}" for number in range(100))])
    root = ElementTree.fromstring(text)
    frames = root.findall("{http://www.w3.org/2000/svg}g")
    assert len(frames) == 4
    shown = ["".join(frame.itertext()) for frame in frames]
    assert shown[0] == "one"
    assert "== Two <b> & «three»" in shown[1]
    assert "line 99" in shown[3]
    assert "line 69" not in shown[3]
    assert max(len(line.text or "") for frame in frames for line in frame) == COLUMNS
    assert re.findall(r"#f(\d)\{visibility:visible", text) == ["3"]
    # Every screen has its time, and they cover the whole without a gap.
    spans = re.findall(r"([\d.]+)%\{visibility:visible\}(?:([\d.]+)%\{visibility:hidden\})?", text)
    assert [float(end) for _, end in spans[:-1]] == [float(begin) for begin, _ in spans[1:]]
    assert float(spans[0][0]) == 0
    assert spans[-1][1] == ""


def test_the_same_output_gives_the_same_recording(tmp_path: Path) -> None:
    for ending in ("cast", "svg"):
        assert recorded(tmp_path / f"a.{ending}") == recorded(tmp_path / f"b.{ending}")


@pytest.mark.parametrize("name", ["demo.gif", "demo"])
def test_another_ending_is_refused_before_anything_runs(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["record", str(tmp_path / name)])
    assert result.exit_code == 2
    assert "a recording ends with .cast or .svg" in result.output
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"\.cast or \.svg"):
        Recording().write(tmp_path / name)


def test_the_demo_is_recorded_as_it_was_printed(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["record", str(tmp_path / "demo.cast")])
    assert result.exit_code == 0
    header, *events = (json.loads(line) for line in (tmp_path / "demo.cast").read_text().splitlines())
    assert header["version"] == 2
    assert "".join(text for _, _, text in events).replace("\r\n", "\n") == result.stdout
