"""The clients, each in a process of its own; `.ci/clients` installs them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = HERE / "node_modules" / ".bin"
PYTHON = ROOT / "build" / "client-tools" / "bin" / "python"
SERVER = [sys.executable, "-m", "extend_mcp"]
SANDBOX = [*SERVER, "--sandbox"]

STORIES: dict[str, list[str]] = {
    "TypeScript SDK 1.x, stdio": ["node", "typescript.mjs", "1", "stdio", *SANDBOX],
    "TypeScript SDK 1.x, HTTP": ["node", "typescript.mjs", "1", "http", "{mcp}"],
    "TypeScript SDK 1.x, SSE": ["node", "typescript.mjs", "1", "sse", "{sse}"],
    "TypeScript SDK 2.x, stdio": ["node", "typescript.mjs", "2", "stdio", *SANDBOX],
    "TypeScript SDK 2.x, HTTP": ["node", "typescript.mjs", "2", "http", "{mcp}"],
    "TypeScript SDK 2.x, SSE": ["node", "typescript.mjs", "2", "sse", "{sse}"],
    "pydantic-ai, stdio": ["python", "pydantic_ai_story.py", *SANDBOX],
    "LangChain MCP adapters, stdio": ["python", "langchain_story.py", *SANDBOX],
    "OpenAI agents, stdio": ["python", "openai_agents_story.py", *SANDBOX],
}


def environment() -> dict[str, str]:
    """Settings of whoever runs this steer nothing, and nothing is asked for through a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OPENAI_"))}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")} | {
        "OPENAI_API_KEY": "x"
    }


def output_of(command: list[str], **variables: str) -> str:
    """What a program prints; a failure shows what it wrote to stderr.

    Raises:
        AssertionError: it failed, or did not end within a minute.
    """
    done = subprocess.run(
        command, cwd=HERE, env=environment() | variables, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if not (BIN.is_dir() and PYTHON.exists() and shutil.which("node")):
        # .ci/clients sets CI_CLIENTS, so that there nothing can be skipped.
        message = "the clients are not installed: run .ci/clients"
        pytest.fail(message) if os.environ.get("CI_CLIENTS") else pytest.skip(message)


@pytest.fixture(scope="session")
def urls(_installed: None) -> Iterator[dict[str, str]]:
    """A server on the sandbox over HTTP and SSE, and its addresses."""
    command = [*SERVER, "serve", "--transport", "sse", "--port", "0", "--sandbox"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            base = next(line for line in process.stderr if "serves" in line).split()[-1].removesuffix("/mcp")
            yield {"mcp": f"{base}/mcp", "sse": f"{base}/sse"}
        finally:
            process.terminate()


@functools.cache
def report_of(story: str, mcp: str, sse: str) -> dict[str, Any]:
    """Play a story, once, and return what it saw."""
    program, script, *arguments = STORIES[story]
    interpreter = str(PYTHON) if program == "python" else str(shutil.which("node"))
    told = [part.replace("{mcp}", mcp).replace("{sse}", sse) for part in arguments]
    report: dict[str, Any] = json.loads(output_of([interpreter, script, *told]).splitlines()[-1])
    return report
