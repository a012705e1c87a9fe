from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from release.picture import SECONDS, TEXT, WIDTH, chat_picture

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
RUN = "workflow_run_3SjvrGJxFsqXu371azvt3"
STORY = {
    "file": "warehouse-fire-claim.pdf",
    "why": "in «Parse», not changed for 8m 20s; 95% of such runs are done within 1m 49s",
    "question": f"Cancel workflow run {RUN}?\nWorkflow: «Claims & more», file: «<b>.pdf»\nStatus: PROCESSING",
    "message": "The run was PROCESSING and is now CANCELLED.",
}


def test_a_picture_plays_the_session_in_15_seconds_and_rests_on_its_end(tmp_path: Path) -> None:
    (tmp_path / "story.json").write_text(json.dumps(STORY))
    for name in ("running", "cancelled"):
        (tmp_path / f"side-{name}.png").write_bytes((ROOT / "docs" / "views" / "run-narrow.png").read_bytes())
    text = chat_picture(tmp_path)
    root = ElementTree.fromstring(text)
    shown = ["".join(group.itertext()) for group in root.findall(f"{SVG}g")]
    assert shown[0] == "Is anything stuck?"
    assert shown[1] == "list_runs(stuck=true)"
    assert "“Parse”" in shown[2]
    assert any(f"Cancel workflow run {RUN}?" in each and "<b>.pdf" in each for each in shown)
    assert f"{SECONDS}s step-end infinite" in text
    resting = re.findall(r"#p(\d)\{visibility:visible", text)
    assert [shown[int(number)] for number in resting if shown[int(number)]][-1].startswith(
        "Done. The run was PROCESSING"
    )


def test_the_picture_of_the_readme_is_readable_on_a_phone_and_cuts_nothing() -> None:
    assert "(docs/chat.svg)" in (ROOT / "README.md").read_text()
    text = (ROOT / "docs" / "chat.svg").read_text()
    root = ElementTree.fromstring(text)
    lines = [line.text or "" for line in root.iter(f"{SVG}text")]
    assert not [line for line in lines if "…" in line or "token" in line]
    assert any(re.fullmatch(r"Cancel workflow run workflow_run_[\w-]{20,}\?", line) for line in lines)
    assert TEXT * 380 / WIDTH >= 10
    assert len(text) < 100_000
