"""Put one sandbox together: a simulated account with a scenario, behind an HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from extend_mcp.sandbox.api.child_run_routes import child_run_routes
from extend_mcp.sandbox.api.control_routes import control_routes
from extend_mcp.sandbox.api.fault_injection import FaultMiddleware, FaultQueue
from extend_mcp.sandbox.api.file_routes import download_routes, file_routes
from extend_mcp.sandbox.api.request_log import HeaderCheckMiddleware, LoggedRequest, RequestLogMiddleware
from extend_mcp.sandbox.api.responses import ERROR_HANDLERS
from extend_mcp.sandbox.api.run_routes import run_routes
from extend_mcp.sandbox.api.webhook_routes import delivery_routes, webhook_routes
from extend_mcp.sandbox.api.workflow_routes import workflow_routes
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.sandbox_clock import SandboxClock
from extend_mcp.sandbox.sandbox_settings import DEFAULT_SETTINGS, SandboxSettings
from extend_mcp.sandbox.scenarios import load_scenario


class Sandbox(SandboxAccount):
    """An account with the runs of a scenario. `app` serves it over HTTP.

    Raises:
        ValueError: the settings name an unknown scenario.
    """

    def __init__(self, settings: SandboxSettings = DEFAULT_SETTINGS, clock: SandboxClock | None = None) -> None:
        super().__init__(settings, clock or SandboxClock())
        self.faults = FaultQueue()
        self.log: list[LoggedRequest] = []
        load_scenario(settings.scenario, self)
        self.app: ASGIApp = self._build_app()

    def _build_app(self) -> Starlette:
        """Build the application: control routes under `/_sandbox`, the API everywhere else."""
        routes = [*run_routes(self), *child_run_routes(self), *workflow_routes(self), *file_routes(self)]
        routes += webhook_routes(self)
        api = Starlette(routes=routes, exception_handlers=ERROR_HANDLERS)
        control = Starlette(
            routes=[*control_routes(self, self.faults, self.log), *download_routes(self), *delivery_routes(self)],
            exception_handlers=ERROR_HANDLERS,
        )
        api.router.redirect_slashes = control.router.redirect_slashes = False

        # Requests pass from the last wrapper to the first: log, fault, header check.
        checked = HeaderCheckMiddleware(api, self.settings)
        faulty = FaultMiddleware(checked, self, self.faults)
        logged = RequestLogMiddleware(faulty, self, self.log)

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.webhook_sender.run)
                yield
                tasks.cancel_scope.cancel()

        return Starlette(routes=[Mount("/_sandbox", control), Mount("/", logged)], lifespan=lifespan)
