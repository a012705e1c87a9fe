"""Take from a run that was read in full what its list entry lacks: failure, failed checks, metadata, values, texts."""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from extend_mcp.api.models import WorkflowRun
from extend_mcp.runs.failures import Failure, failures_of
from extend_mcp.views.instructions import spoken_to
from extend_mcp.views.reviews import failed_checks
from extend_mcp.views.steps import as_object, extracted_fields, objects

_MOST_CHARS: Final = 4_000_000
"""Characters of a run's values and texts that are kept; a page has about 3,000."""

_MOST_MESSAGE: Final = 2_000


class CheckFacts(NamedTuple):
    """A rule or validation that a run did not pass."""

    step: str
    name: str
    error: str


class Passage(NamedTuple):
    """A text of a run, and where it is."""

    place: str
    text: str


class RunDetails(NamedTuple):
    """The part of a run that only reading it in full shows."""

    status: str  # the status in which it was read
    step: str = ""  # the name of the failing step, or empty
    reason: str = ""  # the code of the failure, or empty
    message: str = ""  # the text of the failure, or empty
    checks: tuple[CheckFacts, ...] = ()  # the checks that it did not pass, those of the last step first
    speaks: bool = False  # whether a text of it seems to be meant for an assistant
    metadata: Mapping[str, str] = {}  # its values as text; those that are not strings as JSON
    texts: tuple[Passage, ...] = ()  # values, failure and parsed texts; empty where only the facts were asked for
    is_cut: bool = False  # whether the run holds more text than is kept

    @property
    def cause(self) -> Failure | None:
        """The failure of a run that failed."""
        return Failure(self.step, self.reason, self.message) if self.step or self.reason else None

    def passages(self) -> list[Passage]:
        """Return all texts that a search looks at, the most telling first."""
        return [*(Passage(f"metadata {key}", value) for key, value in self.metadata.items()), *self.texts]

    def pack(self) -> tuple[str, str, bytes]:
        """Return the facts as JSON, the metadata as JSON, and the texts compressed."""
        facts, texts = json.dumps(self[:_FACTS]), json.dumps(self.texts)
        return facts, json.dumps(self.metadata), zlib.compress(texts.encode(), 4)


_FACTS: Final = RunDetails._fields.index("metadata")
"""The number of fields that come first and are small."""


def run_details(run: WorkflowRun) -> RunDetails:
    """Return what a run that was read in full shows."""
    cause = next(iter(failures_of(run)), Failure("", "", ""))
    checks = tuple(CheckFacts(each.step, each.check or "", each.error or "") for each in failed_checks(run, ()))
    # A passage that is repeated is kept once.
    texts: dict[Passage, None] = {}
    room, is_cut = _MOST_CHARS, False
    for place, text in _texts(run, cause, checks):
        text = unicodedata.normalize("NFC", text)
        is_cut = is_cut or len(text) > room
        if text[:room].strip():
            texts[Passage(place[:300], text[:room])] = None
            room -= len(text[:room])
    return RunDetails(
        status=run.status,
        step=cause.where,
        reason=cause.reason,
        message=cause.message[:_MOST_MESSAGE],
        checks=checks,
        speaks=bool(spoken_to(run)),
        metadata={key: unicodedata.normalize("NFC", _as_text(value)) for key, value in run.metadata.items()},
        texts=tuple(texts),
        is_cut=is_cut,
    )


def unpack(facts: str, metadata: str, texts: bytes | None = None) -> RunDetails:
    """Return what was packed; the texts only if they are given."""
    status, step, reason, message, checks, speaks = json.loads(facts)
    passages = json.loads(zlib.decompress(texts)) if texts else ()
    return RunDetails(
        *(status, step, reason, message, tuple(CheckFacts(*check) for check in checks), speaks),
        metadata=json.loads(metadata),
        texts=tuple(Passage(*passage) for passage in passages),
    )


def _texts(run: WorkflowRun, cause: Failure, checks: tuple[CheckFacts, ...]) -> Iterator[tuple[str, str]]:
    for step in run.step_runs:
        for path, value, _ in extracted_fields(step):
            if value is not None and not isinstance(value, bool):
                yield f"field {path}", _as_text(value)
        for split in objects(step.output.get("splits")):
            yield f"part of step {step.title}", str(split.get("identifier") or split.get("name") or "")
    yield "failure", f"{cause.reason} {cause.message}"
    # A format string would mark these as text from outside.
    yield from ((" ".join(["failed check of step", step]), " ".join([name, error])) for step, name, error in checks)
    for step in run.step_runs:
        for chunk in objects(step.output.get("chunks")):
            span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
            first, last = span.get("start"), span.get("end")
            place = f"page {first}" if first == last else f"pages {first}-{last}"
            yield place if isinstance(first, int) else "text", str(chunk.get("content") or "")


def _as_text(value: Any) -> str:
    """Return a JSON value as text: a string unchanged, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
