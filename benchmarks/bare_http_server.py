"""Serve two tools on the bare SDK that return what Extend returned: the baseline for calls and load.

    EXTEND_BASE_URL=http://127.0.0.1:9000 EXTEND_API_KEY=x python benchmarks/bare_http_server.py PORT [whole|brief]

With 0 for PORT it serves over stdio.
"""

import os
import sys
from typing import Any

import httpx
from mcp.server.mcpserver import MCPServer

# At its default level the SDK would write a line for each request, which ours does not.
server = MCPServer("bare", log_level="WARNING")
http = httpx.AsyncClient(
    base_url=os.environ["EXTEND_BASE_URL"],
    headers={
        "Authorization": f"Bearer {os.environ['EXTEND_API_KEY']}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "x-extend-api-version": "2026-02-09",
    },
    timeout=30,
)


brief = "brief" in sys.argv[2:]


async def get(path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make one call and return the object in the response."""
    response = await http.get(path, params=query)
    response.raise_for_status()
    document: dict[str, Any] = response.json()
    if not brief:
        return document
    runs = document.get("data", [document])
    return {"runs": [{"id": run["id"], "status": run["status"]} for run in runs]}


@server.tool()
async def list_runs(page_size: int = 20) -> dict[str, Any]:
    """List workflow runs, newest first."""
    return await get("/workflow_runs", {"sortBy": "createdAt", "sortDir": "desc", "maxPageSize": page_size})


@server.tool()
async def get_workflow_run(run_id: str) -> dict[str, Any]:
    """Read one workflow run."""
    return await get(f"/workflow_runs/{run_id}")


if __name__ == "__main__":
    port = int(sys.argv[1])
    if port:
        server.run("streamable-http", host="127.0.0.1", port=port)
    else:
        server.run()
