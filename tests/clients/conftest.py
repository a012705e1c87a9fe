"""The clients, each in its own process; `.ci/clients` installs them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from extend_mcp.sandbox.sandbox_server import running_sandbox

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = HERE / "node_modules" / ".bin"
# Some libraries want the first line of the SDK, some the second.
PYTHON = ROOT / "build" / "client-tools" / "bin" / "python"
PYTHON_2 = ROOT / "build" / "client-tools-mcp2" / "bin" / "python"
SERVER = [sys.executable, "-m", "extend_mcp"]
SANDBOX = [*SERVER, "--sandbox"]

MCP_REMOTE = str(BIN / "mcp-remote")

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
    "AI SDK, stdio": ["node22", "ai_sdk.mjs", "stdio", *SANDBOX],
    "AI SDK, HTTP": ["node22", "ai_sdk.mjs", "http", "{mcp}"],
    "mcp-remote, HTTP": [
        "node",
        "typescript.mjs",
        "1",
        "stdio",
        str(BIN / "node"),
        MCP_REMOTE,
        "{mcp}",
        "--allow-http",
    ],
    "fastmcp, stdio": ["python2", "fastmcp_story.py", *SANDBOX],
    "fastmcp, HTTP": ["python2", "fastmcp_story.py", "{mcp}"],
    "google-genai, stdio": ["python2", "google_genai_story.py", *SANDBOX],
    "google-genai, HTTP": ["python2", "google_genai_story.py", "{mcp}"],
    "Semantic Kernel, stdio": ["python", "semantic_kernel_story.py", *SANDBOX],
    "Semantic Kernel, HTTP": ["python", "semantic_kernel_story.py", "{mcp}"],
    "LlamaIndex, HTTP": ["python2", "llama_index_story.py", "{mcp}"],
    "LlamaIndex, stdio": ["python2", "llama_index_story.py", "{sandbox}", *SERVER],
}


def environment() -> dict[str, str]:
    """Settings of the caller steer nothing, no proxy is used, and nothing is kept in the home folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OPENAI_", "GOOGLE_"))}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")} | {
        "OPENAI_API_KEY": "x",
        "MCP_REMOTE_CONFIG_DIR": str(HERE / "node_modules" / ".mcp-remote"),
    }


def output_of(command: list[str], given: str | None = None) -> str:
    """Return what a program prints, with ``given`` on its stdin; a failure shows what it wrote to stderr.

    Raises:
        AssertionError: it failed, or did not end within a minute.
    """
    done = subprocess.run(
        command, cwd=HERE, env=environment(), input=given, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if not (BIN.is_dir() and PYTHON.exists() and PYTHON_2.exists() and shutil.which("node")):
        # .ci/clients sets CI_CLIENTS, so that there nothing can be skipped.
        message = "the clients are not installed: run .ci/clients"
        pytest.fail(message) if os.environ.get("CI_CLIENTS") else pytest.skip(message)


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """A server on a sandbox over HTTP and SSE, and its addresses."""
    command = [*SERVER, "serve", "--transport", "sse", "--port", "0", "--sandbox"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            base = next(line for line in process.stderr if "serves" in line).split()[-1].removesuffix("/mcp")
            yield {"{mcp}": f"{base}/mcp", "{sse}": f"{base}/sse"}
        finally:
            process.terminate()


@contextmanager
def sandboxed() -> Iterator[dict[str, str]]:
    """A sandbox that several servers act on, and its address."""
    with running_sandbox() as running:
        yield {"{sandbox}": running.base_url}


@pytest.fixture(scope="session")
def url(_installed: None) -> Iterator[str]:
    """The address of a server on a sandbox."""
    with served() as urls:
        yield urls["{mcp}"]


@functools.cache
def report_of(story: str) -> dict[str, Any]:
    """Run a session once and return what it saw. Over HTTP it has its own server: each session cancels a run."""
    program, script, *arguments = STORIES[story]
    interpreters = {"python": PYTHON, "python2": PYTHON_2, "node": shutil.which("node"), "node22": BIN / "node"}
    makers = {"{mcp}": served, "{sse}": served, "{sandbox}": sandboxed}
    make = next((makers[part] for part in arguments if part in makers), None)
    with make() if make else nullcontext({}) as urls:
        filled = [urls.get(part, part) for part in arguments]
        printed = output_of([str(interpreters[program]), script, *filled])
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return report
