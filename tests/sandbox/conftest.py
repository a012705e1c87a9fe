from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.hosting import empty
from tests.sandbox.kit import client_of, make_sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = make_sandbox()
    yield sandbox
    empty(sandbox)


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(sandbox) as client:
        yield client
