"""The audit log: one line for each call that can write or was denied, with who called, on what, and how it ended.

Lines are JSON. They hold ids and outcomes, never names, document content or secrets.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

Confirmed = Literal["person", "token", "trusted"]


@dataclass
class WriteRecord:
    """The decision of the write engine in one call. It outlives a call that fails or is interrupted.

    Attributes:
        verdict: ``allowed``, or why the live state forbids the action; None where nothing was judged.
        confirmed_by: who said yes; None where nobody was asked or nobody said yes.
    """

    verdict: str | None = None
    confirmed_by: Confirmed | None = None


_record: ContextVar[WriteRecord] = ContextVar("write_record")


def begin_write_record() -> WriteRecord:
    """Begin the record of one call."""
    record = WriteRecord()
    _record.set(record)
    return record


def write_record() -> WriteRecord:
    """Return the record of this call."""
    return _record.get(WriteRecord())


@dataclass(frozen=True)
class AuditLine:
    """One call.

    Attributes:
        at: when it ended, ISO 8601 in UTC.
        who: the caller's principal; ``local`` where the transport authenticates nobody.
        tool: the tool's name.
        target: the id of what it acted on, where the answer names one.
        outcome: the answer's outcome, ``asked`` while a person is being asked, ``denied`` where scopes or read-only
            mode forbid the call, or the error's class.
        sent: whether a request that can change something left this server, where the answer says so.
        confirmed: how it was confirmed.
        counts: outcomes of an action on many runs.
        request_id: Extend's id of a request that failed, for its support.
        verdict: whether the live state allowed it: ``allowed``, or why not.
        call_id: this server's id of the HTTP request that made the call, as its logs and spans have it.
    """

    at: str
    who: str
    tool: str
    target: str | None
    outcome: str
    sent: bool | None
    confirmed: Confirmed | None
    counts: dict[str, int] | None = None
    request_id: str | None = None
    verdict: str | None = None
    call_id: str | None = None


class Audit:
    """Writes audit lines.

    Args:
        to: ``off``, ``stderr``, or the path of a file that lines are added to.
    """

    def __init__(self, to: str = "off") -> None:
        self._to = to

    def write(self, entry: AuditLine) -> None:
        """Write a line. A failure to write is logged and fails no call."""
        if self._to == "off":
            return
        known = {name: value for name, value in asdict(entry).items() if value is not None}
        line = json.dumps({"audit": 1, **known}, separators=(",", ":")) + "\n"
        if self._to == "stderr":
            sys.stderr.write(line)
            return
        try:
            path = Path(self._to)
            if not path.exists():
                path.touch(mode=0o600)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            logger.error("the audit line of %s could not be written: %s", entry.tool, error.strerror)  # noqa: TRY400
