from collections.abc import AsyncIterator

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import client_of, make_sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    return make_sandbox()


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(sandbox) as client:
        yield client
