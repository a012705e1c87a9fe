"""Take from a run that was read in full what its list entry lacks: failure, failed checks, metadata, values, texts."""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from extend_mcp.api.models import StepRun, WorkflowRun
from extend_mcp.runs.failures import Failure, failures_of
from extend_mcp.views.instructions import spoken_to
from extend_mcp.views.reviews import failed_checks
from extend_mcp.views.steps import as_object, extracted_fields, objects

_MOST_FIELD_CHARS: Final = 200_000
_MOST_TEXT_CHARS: Final = 4_000_000
"""Characters of a run's parsed text that are kept; a page has about 3,000."""

_MOST_CHARS: Final = 2_000
"""Characters of a message, an error or a value that are kept."""


class FailedCheck(NamedTuple):
    """A rule or validation that a run did not pass."""

    step: str
    name: str
    error: str


class Passage(NamedTuple):
    """A text of a run, and where it is."""

    place: str
    text: str


@dataclass(frozen=True)
class RunDetails:
    """The part of a run that only reading it in full shows."""

    status: str  # the status in which it was read
    step: str = ""  # the name of the failing step, or empty
    reason: str = ""  # the code of the failure, or empty
    message: str = ""  # the text of the failure, or empty
    checks: tuple[FailedCheck, ...] = ()  # the checks that it did not pass, those of the last step first
    metadata: dict[str, str] | None = None  # its values as text; those that are not strings as JSON
    values: tuple[Passage, ...] = ()  # the extracted values, by step and path
    texts: tuple[Passage, ...] = ()  # the parsed texts, by page; empty where only the other facts were asked for
    is_cut: bool = False  # whether the run holds more text than is kept
    speaks: bool = False  # whether a text of it seems to be meant for an assistant

    @property
    def cause(self) -> Failure | None:
        """The failure of a run that failed."""
        return Failure(self.step, self.reason, self.message) if self.step or self.reason else None

    def passages(self) -> Iterator[Passage]:
        """Iterate over all texts that a search looks at, the most telling first."""
        for key, value in (self.metadata or {}).items():
            yield Passage(f"metadata {key}", value)
        yield from self.values
        yield Passage("failure", f"{self.reason} {self.message}")
        for check in self.checks:
            yield Passage(f"failed check of step {check.step}", f"{check.name} {check.error}")
        yield from self.texts


def run_details(run: WorkflowRun) -> RunDetails:
    """Return what a run that was read in full shows."""
    cause = next(iter(failures_of(run)), Failure("", "", ""))
    values, values_cut = _bounded(_values(run.step_runs), _MOST_FIELD_CHARS, each=_MOST_CHARS)
    texts, texts_cut = _bounded(_texts(run.step_runs), _MOST_TEXT_CHARS, each=_MOST_TEXT_CHARS)
    return RunDetails(
        status=run.status,
        step=cause.where,
        reason=cause.reason,
        message=cause.message[:_MOST_CHARS],
        checks=tuple(FailedCheck(check.step, check.check or "", check.error or "") for check in failed_checks(run, ())),
        metadata={key: unicodedata.normalize("NFC", as_text(value)) for key, value in run.metadata.items()},
        values=values,
        texts=texts,
        is_cut=values_cut or texts_cut,
        speaks=bool(spoken_to(run)),
    )


def as_text(value: Any) -> str:
    """Return a JSON value as text: a string unchanged, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def pack(details: RunDetails) -> tuple[str, str, bytes | None]:
    """Return the metadata, the texts in a compressed form, if any, and between them the rest except the status."""
    facts = [details.step, details.reason, details.message, details.checks, details.values, details.speaks]
    texts = zlib.compress(json.dumps(details.texts).encode(), 4) if details.texts else None
    return json.dumps(details.metadata or {}), json.dumps(facts), texts


def unpack(status: str, metadata: str, facts: str, texts: bytes | None) -> RunDetails:
    """Return what was packed."""
    step, reason, message, checks, values, speaks = json.loads(facts)
    return RunDetails(
        status=status,
        step=step,
        reason=reason,
        message=message,
        checks=tuple(FailedCheck(*check) for check in checks),
        metadata=json.loads(metadata),
        values=tuple(Passage(*value) for value in values),
        texts=tuple(Passage(*text) for text in json.loads(zlib.decompress(texts))) if texts else (),
        speaks=speaks,
    )


def _values(steps: Iterable[StepRun]) -> Iterator[Passage]:
    for step in steps:
        for path, value, _ in extracted_fields(step):
            if value is not None and not isinstance(value, bool):
                yield Passage(f"field {path}", as_text(value))
        for split in objects(step.output.get("splits")):
            yield Passage(f"part of step {step.title}", str(split.get("identifier") or split.get("name") or ""))


def _texts(steps: Iterable[StepRun]) -> Iterator[Passage]:
    for step in steps:
        for chunk in objects(step.output.get("chunks")):
            span = as_object(as_object(chunk.get("metadata")).get("pageRange"))
            first, last = span.get("start"), span.get("end")
            place = f"page {first}" if first == last else f"pages {first}-{last}"
            yield Passage(place if isinstance(first, int) else "text", str(chunk.get("content") or ""))


def _bounded(passages: Iterable[Passage], most: int, *, each: int) -> tuple[tuple[Passage, ...], bool]:
    """Return the passages up to a number of characters without repetitions, and whether any was cut."""
    kept: dict[Passage, None] = {}
    room, is_cut = most, False
    for place, text in passages:
        text = unicodedata.normalize("NFC", text)
        part = text[: min(each, room)]
        is_cut = is_cut or len(part) < len(text)
        if part.strip():
            kept[Passage(place[:300], part)] = None
            room -= len(part)
    return tuple(kept), is_cut
