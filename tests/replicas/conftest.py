"""Share the fixtures of the replica tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import RunningRedis, running_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RunningRedis]:
    """One server for all; a test that stops a server runs its own."""
    with running_redis() as server:
        yield server
