"""The audit log: one line for each call that can write or was denied, with who called, on what, and how it ended.

Lines are JSON. They hold ids, outcomes and the reason given, never names, document content or secrets.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from extend_mcp.actions.store import PlannedRun

logger = logging.getLogger(__name__)

_ALWAYS = frozenset({"audit", "at", "who", "tool", "outcome"})
_BLOCK = 256 * 1024

Confirmed = Literal["person", "token", "trusted"]


@dataclass
class WriteRecord:
    """The decisions and requests of the write engine in one call. They outlive a call that fails or is interrupted."""

    target: str = ""
    verdict: str | None = None
    confirmed_by: Confirmed | None = None
    reason: str = ""
    planned: Sequence[PlannedRun] = ()
    request_ids: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return what an audit line says of it: of an action on many runs their ids by what became of them."""
        runs: dict[str, list[str]] = {}
        for run in self.planned:
            runs.setdefault(run.outcome or "planned", []).append(run.run_id)
        return {
            "target": self.target,
            "confirmed": self.confirmed_by,
            "counts": {outcome: len(ids) for outcome, ids in runs.items()},
            "runs": runs,
            "new_runs": [run.new_run_id for run in self.planned if run.new_run_id],
            "reason": self.reason,
            "request_ids": list(dict.fromkeys(self.request_ids)),
            "verdict": self.verdict,
        }


_record: ContextVar[WriteRecord] = ContextVar("write_record")


def begin_write_record() -> WriteRecord:
    """Begin the record of one call."""
    record = WriteRecord()
    _record.set(record)
    return record


def write_record() -> WriteRecord:
    """Return the record of this call."""
    return _record.get(WriteRecord())


class Audit:
    """Writes audit lines to a file or ``stderr``, or nowhere where this is ``off``."""

    def __init__(self, to: str = "off") -> None:
        self._to = to

    @property
    def file(self) -> Path | None:
        """The file that lines are added to; None where they go elsewhere."""
        return None if self._to in ("off", "stderr") else Path(self._to)

    def write(self, fields: dict[str, Any]) -> None:
        """Write a line of the fields that are known. A failure to write is logged and fails no call."""
        if self._to == "off":
            return
        known = {name: value for name, value in fields.items() if value not in (None, {}, [], "")}
        line = json.dumps({"audit": 1, **known}, separators=(",", ":")) + "\n"
        if self._to == "stderr":
            sys.stderr.write(line)
            return
        try:
            with open(self._to, "a", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
                file.write(line)
        except OSError as error:
            logger.error("the audit line of %s could not be written: %s", fields["tool"], error.strerror)  # noqa: TRY400


@dataclass
class AuditScan:
    """Reads an audit file backwards from ``end``, at most ``most_bytes``; ``complete`` once it reached the start."""

    file: Path
    end: int | None = None
    most_bytes: int = 32 * 1024 * 1024
    complete: bool = False

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Iterate over the lines, each with its place in the file and as a JSON object; others are left out.

        Raises:
            OSError: the file cannot be read.
        """
        # The first line makes the file.
        if not self.file.exists():
            self.complete = True
            return
        with self.file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            position = size if self.end is None else min(self.end, size)
            stop = max(position - self.most_bytes, 0)
            rest = b""
            while position > stop:
                length = min(_BLOCK, position - stop)
                position = file.seek(position - length)
                block = file.read(length) + rest
                place = position + len(block)
                lines = block.split(b"\n")
                rest = lines.pop(0) if position else b""
                for line in reversed(lines):
                    place -= len(line)
                    if found := _audit_line(line):
                        yield place, found
                    place -= 1
            self.complete = position == 0


def _audit_line(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.keys() >= _ALWAYS else None
