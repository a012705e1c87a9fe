from collections.abc import Iterator

import pytest

from extend_mcp.sandbox import SandboxClock
from extend_mcp.sandbox.serve import running_sandbox
from tests.contract.judge import Judge


@pytest.fixture
def judge() -> Iterator[Judge]:
    with running_sandbox(clock=SandboxClock(speed=0)) as running:
        judge = Judge(running)
        yield judge
        judge.close()
