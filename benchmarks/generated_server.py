"""A baseline: a server that fastmcp generates from an OpenAPI description of the same two calls.

    EXTEND_BASE_URL=http://127.0.0.1:9000 EXTEND_API_KEY=x PYTHON benchmarks/generated_server.py PORT

PYTHON is one that has fastmcp; it needs nothing else of this project. With 0 for PORT it serves over stdio.
"""

import json
import os
import sys
from pathlib import Path

import httpx2
from fastmcp import FastMCP

server = FastMCP.from_openapi(
    json.loads(Path(__file__).with_name("openapi.json").read_text()),
    client=httpx2.AsyncClient(
        base_url=os.environ["EXTEND_BASE_URL"],
        headers={"Authorization": f"Bearer {os.environ['EXTEND_API_KEY']}", "x-extend-api-version": "2026-02-09"},
        timeout=30,
    ),
    name="generated",
)

if __name__ == "__main__":
    port = int(sys.argv[1])
    if port:
        server.run("http", host="127.0.0.1", port=port, path="/mcp", show_banner=False, log_level="WARNING")
    else:
        server.run(show_banner=False, log_level="WARNING")
