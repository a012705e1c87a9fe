"""Logs: every line of this process goes to stderr through one handler, in one format, without secrets."""

from __future__ import annotations

import copy
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

from extend_mcp.telemetry.redaction import REDACTED, Redactor, is_secret_name
from extend_mcp.telemetry.spans import request_id

logger = logging.getLogger(__name__)

_FORM: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# Loggers whose owners like to give them handlers of their own.
_OTHERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "mcp")
# Loggers that write whole URLs, which may name documents, or the ids of sessions.
_TALKATIVE: Final = ("httpx", "mcp.server.sse", "mcp.server.streamable_http", "mcp.server.streamable_http_manager")

# Controls, line separators, characters that reverse the order of letters, halves of surrogate pairs.
_UNSAFE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def configure_logging(
    level: str, form: Literal["text", "json"], redactor: Redactor, stream: TextIO | None = None
) -> None:
    """Send all logs through one handler on the root logger; called again, it replaces that handler.

    Call it before or after MCP's SDK sets up logging, which it does when a server is made, and only where nobody has.
    Run uvicorn with ``log_config=None``, or it installs its own handlers again.

    As ``text`` a record is one human-readable line; as ``json`` one object a line with timestamp, level, logger,
    message, request_id and exc_info, as far as there are any, and what the record has in ``extra``.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter(redactor) if form == "json" else _TextFormatter(redactor))
    root = logging.getLogger()
    for old in root.handlers[:]:
        # Ours, `logging.basicConfig`'s and the MCP SDK's; what a program around us put there, such as a file, stays.
        if type(old) in {_Handler, logging.StreamHandler} or type(old).__module__.startswith("rich."):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else logging.WARNING)
    for name in _OTHERS:
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time before Python 3.11
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say which record could not be formatted. The logging module would show its arguments."""
        # Where that fails too, the stream is broken, and there is no other.
        if record.name != __name__:
            kind = type(sys.exc_info()[1]).__name__
            logger.error("a record of %s:%d could not be formatted: %s", record.filename, record.lineno, kind)


class _TextFormatter(logging.Formatter):
    """One line for each record, and below it the traceback, indented, so that no text can pass for another record."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(_FORM)
        self._redact = redactor

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        # Redacted as it was written, before escapes are put into it.
        return _one_line(self._redact(super().formatMessage(record)))

    def format(self, record: logging.LogRecord) -> str:
        # Of a copy: the traceback is left on it, and is not redacted.
        line, _, trace = super().format(copy.copy(record)).partition("\n")
        return "\n    ".join([line, *map(_one_line, self._redact(trace).split("\n") if trace else ())])


class _JsonFormatter(JsonFormatter):
    """One JSON object for each record."""

    def __init__(self, redactor: Redactor) -> None:
        renamed = {"levelname": "level", "name": "logger"}
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields=renamed, timestamp=True)
        self._redact = redactor

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        # uvicorn's message over again, with colors.
        log_data.pop("color_message", None)
        if (current := request_id.get()) is not None:
            log_data["request_id"] = current
        stamp = log_data.pop("timestamp")
        return {"timestamp": stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **log_data}

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        # Written and read once, so that all of it is text, numbers and lists of such when it is redacted.
        # By str, not by the library's encoder: that one writes bytes in base64 and looks into dataclasses.
        document = json.loads(json.dumps(log_data, default=str), parse_constant=str)
        return json.dumps(_redacted(document, self._redact))


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(each, redact) for each in value]
    if isinstance(value, dict):
        return {
            redact(name): REDACTED if is_secret_name(name) and each else _redacted(each, redact)
            for name, each in value.items()
        }
    return value


def _one_line(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
