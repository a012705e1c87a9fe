"""Every text about a status, a reason or an id, as approved in tests/data/run_words.txt.

python -m tests.runs.test_words        writes the file; read its difference before committing it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from extend_mcp.runs import failures, ids
from extend_mcp.runs.failures import rerun_words, retry_advice
from extend_mcp.runs.ids import parse_batch_id, parse_run_id
from extend_mcp.runs.lifecycle import STATUSES, describe, is_finished, is_moving
from extend_mcp.runs.timing import Usual

APPROVED = Path(__file__).parents[1] / "data" / "run_words.txt"

_REASONS = [*failures._RETRYABLE, "ABORTED", *failures._CANNOT_HELP, *failures._MEANINGS, "OF_TOMORROW"]
_IDS = [f"{prefix}a1B2" for prefixes, _ in ids._KINDS for prefix in prefixes.split()]
_PASTED = [
    "",
    "nonsense",
    "workflow_run_",
    "workflow_run_a b",
    "https://x.example/runs/workflow_run_ab1/steps",
    "batch_!",
]


def words() -> Iterable[str]:
    """Return a line for each text."""
    for status in [*STATUSES, "PAUSED_TOMORROW"]:
        info = describe(status)
        said = f"{info.meaning}, {info.phase}, cancel {info.refusal} | {info.reason} | {info.instead}"
        yield f"{status}: {said} moving {is_moving(status)} over {is_finished(status)}"
    for reason in sorted(_REASONS):
        yield f"{reason}: {retry_advice(reason)} | {rerun_words(reason)} | file {failures.file_is_at_fault(reason)}"
    for text in [*_IDS, *_PASTED]:
        yield f"{text!r}: {_said(parse_run_id, text)} | {_said(parse_batch_id, text)} | {ids.is_workflow_id(text)}"
    for usual in (Usual(7, (60, 90)), Usual(5, (60, 90), (10, 45))):
        for pages in (None, 1, 2):
            said = [usual.words(pages, seconds) for seconds in (None, 60, 90, 91)]
            yield f"{usual} {pages}: {' | '.join(said)}"


def _said(parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except ValueError as error:
        return f"refused: {error}"


def test_the_words_are_the_approved_ones() -> None:
    assert list(words()) == APPROVED.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    APPROVED.write_text("".join(f"{line}\n" for line in words()), encoding="utf-8")
