"""A baseline: two tools that hand on what the vendor's own SDK answers, as a server written in an hour would.

    EXTEND_BASE_URL=http://127.0.0.1:9000 EXTEND_API_KEY=x python benchmarks/naive_server.py PORT

With 0 for PORT it serves over stdio.
"""

import os
import sys
from typing import Any

from extend_ai import AsyncExtend
from mcp.server.mcpserver import MCPServer

server = MCPServer("naive", log_level="WARNING")
extend = AsyncExtend(token=os.environ["EXTEND_API_KEY"], base_url=os.environ["EXTEND_BASE_URL"])


@server.tool()
async def list_runs(page_size: int = 20) -> dict[str, Any]:
    """List workflow runs, newest first."""
    page = await extend.workflow_runs.list(sort_by="createdAt", sort_dir="desc", max_page_size=page_size)
    return page.model_dump(mode="json", by_alias=True, exclude_none=True)


@server.tool()
async def get_workflow_run(run_id: str) -> dict[str, Any]:
    """Read one workflow run."""
    run = await extend.workflow_runs.retrieve(run_id)
    return run.model_dump(mode="json", by_alias=True, exclude_none=True)


if __name__ == "__main__":
    port = int(sys.argv[1])
    if port:
        server.run("streamable-http", host="127.0.0.1", port=port)
    else:
        server.run()
