"""One line for each call of a tool that can write: who, what, on which object, what the guard said, how it was
confirmed, how it ended.

Lines are JSON, for machines to collect. They hold ids and outcomes, never names, document content or secrets.
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

confirmed: ContextVar[Confirmed | None] = ContextVar("confirmed", default=None)
"""How the call at hand was confirmed; None where nothing was asked, or nobody has said yes."""


judged: ContextVar[str | None] = ContextVar("judged", default=None)
"""What the guard said of the call at hand: ``allowed`` or the refusal; None where nothing was judged."""


@dataclass(frozen=True)
class Entry:
    """One call.

    Attributes:
        at: when it ended, ISO 8601 in UTC.
        who: the caller's principal; ``local`` where the transport authenticates nobody.
        tool: the tool's name.
        target: the id of what it acted on, where the answer names one.
        verdict: what the guard said: ``allowed``, or why not.
        outcome: the answer's outcome, ``asked`` while a person is being asked, or the error's class.
        sent: whether a request that can change something left this server, where the answer tells.
        confirmed: how it was confirmed.
        counts: outcomes of an action on many runs.
        request_id: Extend's id of a request that failed, for its support.
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
    """Where the lines go.

    Args:
        to: ``off``, ``stderr``, or the path of a file that lines are added to.
    """

    def __init__(self, to: str = "off") -> None:
        self._to = to

    def note(self, entry: Entry) -> None:
        """Write a line; a failure to do so is logged and fails no call."""
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
