"""Fixtures that every folder may use."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from mcp.server.mcpserver.resources import ResourceTemplate

from tests.harness import Box
from tests.hosting import Host, hosting

if TYPE_CHECKING:
    from tests.contract.judge import Judge

# How long an example takes says something of the machine, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_check_schema = Draft202012Validator.check_schema
_checked: set[str] = set()


def _check_once(schema: Any) -> None:
    """Check a schema that was not checked before: the client does it for each tool in each session."""
    text = json.dumps(schema)
    if text not in _checked:
        _check_schema(schema)
        _checked.add(text)


Draft202012Validator.check_schema = _check_once  # type: ignore[method-assign, assignment]

_make_template = ResourceTemplate.from_function
_templates: dict[tuple[object, ...], ResourceTemplate] = {}


def _template_once(fn: Any, uri_template: str, **described: Any) -> ResourceTemplate:
    """Make the template of a function once: it takes longer than the rest of a server, and each test has a server."""
    key = (fn, uri_template, str(described))
    return _templates.get(key) or _templates.setdefault(key, _make_template(fn, uri_template, **described))


ResourceTemplate.from_function = _template_once  # type: ignore[method-assign, assignment]

# Each of the many processes that tests start would compile the package again, which an installed package does not.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Servers that tests start keep their plans here, not in the state folder of the person who runs the tests.
_STATE = tempfile.TemporaryDirectory(prefix="extend-mcp-tests-")
os.environ["XDG_STATE_HOME"] = os.environ["LOCALAPPDATA"] = _STATE.name


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """Serve the sandboxes of all tests."""
    # What was imported so far stays: without this every collection scans all of it, in each of many small tests.
    gc.collect()
    gc.freeze()
    # A sandbox is made of 100,000 small objects, and the default threshold looks for garbage after each 700 of them.
    gc.set_threshold(50_000, 20, 20)
    with hosting() as host:
        yield host


@pytest.fixture
def box(host: Host, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A sandbox over a socket whose clock stops unless a test advances it.

    A module whose tests bring their own runs says ``SCENARIO = "empty"``: playing a busy month takes 80 ms a test.
    """
    with host.room(getattr(request.module, "SCENARIO", "default")) as running:
        yield Box(running.base_url, running.sandbox)


@pytest.fixture(scope="module")
def ten_thousand_runs(host: Host) -> Iterator[Box]:
    """Return a sandbox with 10,000 runs, which take a second to make."""
    with host.room("large") as running:
        yield Box(running.base_url, running.sandbox)


@pytest.fixture
def large(ten_thousand_runs: Box) -> Box:
    """Return the sandbox with 10,000 runs, without requests and faults of other tests. For tests that write nothing."""
    ten_thousand_runs.forget()
    ten_thousand_runs.sandbox.faults.clear()
    return ten_thousand_runs


@pytest.fixture
def judge(host: Host) -> Iterator[Judge]:
    """A sandbox and the official SDK as its judge."""
    from tests.contract.judge import Judge

    with host.room() as running:
        judge = Judge(running)
        yield judge
        judge.close()
