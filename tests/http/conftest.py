"""An issuer on a real socket, and callers identified by its tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extend_mcp.http.auth.oauth import OAuth
from tests.http.keys import (
    ACCOUNT,
    AUDIENCE,
    KEYS,
    HandClock,
    Issuer,
    Issuers,
    issuers,
)


@pytest.fixture(scope="module")
def served() -> Iterator[Issuers]:
    with issuers() as served:
        yield served


@pytest.fixture
def issuer(served: Issuers, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """An issuer that shows :data:`KEYS`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    issuer = served.new()
    issuer.shows(*KEYS)
    return issuer


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def oauth(issuer: Issuer, clock: HandClock) -> OAuth:
    return OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
