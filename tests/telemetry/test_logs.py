"""Logs: one handler, one form, no secret by any way, and no text that passes for another record."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mcp.server.mcpserver import MCPServer
from uvicorn.config import LOGGING_CONFIG

from extend_mcp.telemetry.logs import configure_logging
from extend_mcp.telemetry.redaction import Redactor
from extend_mcp.telemetry.spans import request_id

SECRET = 'canary "quoted" \\ key'
Form = Literal["text", "json"]
FORMS: tuple[Form, ...] = ("text", "json")

logger = logging.getLogger("tests.logs")


class Logs:
    """Return what was written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def alone(self) -> None:
        """Take away what pytest listens with: it comes back for the next test."""
        logging.getLogger().handlers = []

    def configure(self, form: Form = "text", level: str = "INFO") -> None:
        configure_logging(level, form, Redactor([SECRET]), self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Loggers are as they were, afterwards."""
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "mcp")
    kept = [(each, each.level, each.propagate) for each in map(logging.getLogger, names)]
    yield Logs()
    for each, level, propagate in kept:
        each.setLevel(level)
        each.propagate = propagate
        each.handlers = [handler for handler in each.handlers if type(handler).__module__.startswith("_pytest")]


def test_text_is_as_it_always_was(logs: Logs) -> None:
    logs.configure()
    logger.info("GET attempt %d met %s", 2, "status 503")
    (line,) = logs.lines
    moment, rest = line[:23], line[23:]
    assert rest == " INFO tests.logs: GET attempt 2 met status 503"
    assert len(moment.split(" ")) == 2


def test_json_is_an_object_a_line(logs: Logs) -> None:
    logs.configure("json")
    token = request_id.set("req-1")
    logger.warning("met %s", "status 503", extra={"attempt": 2, "odd": float("nan")})
    request_id.reset(token)
    logger.info("later")
    first, second = logs.records
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "level": "WARNING",
        "logger": "tests.logs",
        "message": "met status 503",
        "attempt": 2,
        "odd": "NaN",
        "request_id": "req-1",
    }
    assert set(second) == {"timestamp", "level", "logger", "message"}


def test_the_level_is_the_one_asked_for(logs: Logs) -> None:
    logs.configure(level="WARNING")
    logger.info("hidden")
    logger.warning("shown")
    assert len(logs.lines) == 1


def test_without_a_stream_it_is_stderr(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "text", Redactor())
    logger.info("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("INFO tests.logs: here\n")


def fail(text: str) -> None:
    raise ValueError(text)


class Careless:
    """Shows a secret when it is written down."""

    def __str__(self) -> str:
        return SECRET

    __repr__ = __str__


class Broken:
    """Cannot be written down, and says a secret about it."""

    def __str__(self) -> str:
        raise ValueError(SECRET)


@pytest.mark.parametrize("form", FORMS)
def test_no_way_of_logging_gets_a_secret_out(logs: Logs, form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    logs.alone()
    logs.configure(form)
    logger.info("in the text " + SECRET)  # noqa: G003
    logger.info("as an argument %s and by repr %r", SECRET, SECRET)
    logger.info("in JSON %s", json.dumps({"nested": json.dumps([SECRET])}))
    logger.info("by an object %s", Careless())
    logger.info("in extra", extra={"given": {"deep": [SECRET, Careless(), SECRET.encode()]}, SECRET: SECRET})
    logger.info({"message": SECRET, SECRET: Careless()})
    logger.info("unfit for its text %d", SECRET)
    logger.info("not to be written %s", Broken())
    logger.info("too many", SECRET)
    logger.info("patterns Bearer abcdefgh.canary", extra={"api_key": "canary", "password": ["canary"]})
    logger.info("stack", stack_info=True)
    logging.getLogger(SECRET).info("its name")
    try:
        try:
            fail(SECRET)
        except ValueError as error:
            raise RuntimeError(f"again {SECRET!r}\nand in another line {SECRET}") from error
    except RuntimeError:
        logger.exception("failed on %s", SECRET)
    written = logs.text + "".join(capsys.readouterr())
    assert "canary" not in written
    assert written.count("could not be formatted: ") == 3
    assert "ValueError: [redacted]" in written
    if form == "json":
        assert len(logs.records) == 13


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_is_told_and_kept_together(logs: Logs, form: Form) -> None:
    logs.configure(form)
    try:
        fail("first\n2026-01-01 00:00:00,000 INFO forged: line\x1b[2J")
    except ValueError:
        logger.exception("failed")
    if form == "json":
        (record,) = logs.records
        assert record["message"] == "failed"
        assert "Traceback (most recent call last):" in record["exc_info"]
    else:
        first, *rest = logs.lines
        assert first.endswith("ERROR tests.logs: failed")
        assert rest[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") for line in rest)
        assert "\x1b" not in logs.text


def test_a_traceback_that_another_handler_wrote_down_is_redacted_too(logs: Logs) -> None:
    logs.configure()
    record = logger.makeRecord("tests.logs", logging.ERROR, "a.py", 1, "failed", (), None)
    record.exc_text = f"Traceback: {SECRET}"
    logger.handle(record)
    assert logs.lines[1:] == ["    Traceback: [redacted]"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=())))
@example(text="\ud800")
def test_a_message_is_one_visible_line(logs: Logs, text: str) -> None:
    # What pytest captures goes to another process, which half a character ends.
    logs.alone()
    logs.stream = io.StringIO()
    for form in FORMS:
        logs.configure(form)
        logger.info("%s", text)
    plain, machine, rest = logs.text.split("\n")
    assert rest == ""
    assert len(plain.splitlines()) == 1
    plain.encode()
    assert set(json.loads(machine)) == {"timestamp", "level", "logger", "message"}


def test_configured_again_it_replaces_what_it_did(logs: Logs) -> None:
    logs.configure("json")
    logs.configure("json")
    logs.configure("text", level="ERROR")
    logger.error("once")
    assert len(logs.lines) == 1
    assert logs.lines[0].endswith("ERROR tests.logs: once")


def test_what_a_program_around_us_listens_with_stays(logs: Logs) -> None:
    theirs = logging.NullHandler()
    logging.getLogger().addHandler(theirs)
    logs.configure()
    assert theirs in logging.getLogger().handlers


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("form", FORMS)
def test_mcp_and_uvicorn_log_through_it_and_once(
    logs: Logs, first: str, form: Form, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.alone()
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # A server of another test in this process has set its own levels.
        logging.getLogger(name).setLevel(logging.NOTSET)
    if first == "ours":
        logs.configure(form)
        MCPServer("tests")
    else:
        MCPServer("tests")
        logging.config.dictConfig(LOGGING_CONFIG)
        logs.configure(form)
    names = ("mcp.server.mcpserver.server", "uvicorn.error", "uvicorn.access", "asyncio", "httpx")
    for name in names:
        logging.getLogger(name).error("to %s", SECRET)
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/?token=canary", "1.1", 200
    )
    logging.getLogger("uvicorn.error").info("%s", "a", extra={"color_message": "\x1b[1ma"})
    assert capsys.readouterr() == ("", "")
    assert len(logs.lines) == len(names) + 2
    assert "canary" not in logs.text
    assert "color_message" not in logs.text


@pytest.mark.parametrize("form", FORMS)
def test_a_broken_stream_fails_nobody_and_shows_nothing(
    logs: Logs, form: Form, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(form)
    logs.stream.close()
    logger.info("to nowhere: %s", SECRET)
    assert capsys.readouterr() == ("", "")


def test_no_record_is_changed_for_other_handlers(logs: Logs) -> None:
    logs.alone()
    logs.configure()
    try:
        fail(SECRET)
    except ValueError:
        record = logger.makeRecord("tests.logs", logging.ERROR, "a.py", 1, "%s", (SECRET,), sys.exc_info())
    logger.handle(record)
    assert record.exc_text is None
    assert record.getMessage() == SECRET
