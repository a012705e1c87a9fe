"""Fixtures that every folder may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import Box

if TYPE_CHECKING:
    from tests.contract.judge import Judge

# How long an example takes says something of the machine, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def box() -> Iterator[Box]:
    """A sandbox on a free port whose clock stands still unless a test turns it."""
    from extend_mcp.sandbox import SandboxClock
    from extend_mcp.sandbox.serve import running_sandbox

    with running_sandbox(clock=SandboxClock(speed=0)) as running:
        yield Box(running.base_url)


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A sandbox and the official SDK as its judge."""
    from extend_mcp.sandbox import SandboxClock
    from extend_mcp.sandbox.serve import running_sandbox
    from tests.contract.judge import Judge

    with running_sandbox(clock=SandboxClock(speed=0)) as running:
        judge = Judge(running)
        yield judge
        judge.close()
