"""The ASGI application: the API's routes behind the gate, and the control routes beside them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.routing import Mount

from extend_mcp.sandbox.control import control_routes
from extend_mcp.sandbox.files_api import download_routes, file_routes
from extend_mcp.sandbox.gate import Gate
from extend_mcp.sandbox.routing import ERROR_ANSWERS
from extend_mcp.sandbox.runs_api import run_routes
from extend_mcp.sandbox.webhooks_api import delivery_routes, webhook_routes
from extend_mcp.sandbox.workflows_api import workflow_routes

if TYPE_CHECKING:
    from extend_mcp.sandbox.sandbox import Sandbox


def build_app(sandbox: "Sandbox") -> Starlette:
    """Build the ASGI application: control routes under `/_sandbox`, the API everywhere else."""
    routes = [
        *run_routes(sandbox),
        *workflow_routes(sandbox),
        *file_routes(sandbox),
        *webhook_routes(sandbox),
    ]
    api = Starlette(routes=routes, exception_handlers=ERROR_ANSWERS)
    control = Starlette(
        routes=[*control_routes(sandbox), *download_routes(sandbox), *delivery_routes(sandbox)],
        exception_handlers=ERROR_ANSWERS,
    )
    api.router.redirect_slashes = control.router.redirect_slashes = False

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sandbox.courier.run)
            yield
            tasks.cancel_scope.cancel()

    return Starlette(routes=[Mount("/_sandbox", control), Mount("/", Gate(api, sandbox))], lifespan=lifespan)
