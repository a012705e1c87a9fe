"""What every tool call works with: the API client, the settings, the clock and the seal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mcp.server.mcpserver import Context

from extend_mcp.audit import Audit
from extend_mcp.clock import Clock, SystemClock
from extend_mcp.settings import Settings
from extend_mcp.tools.plans import PlanStore
from extend_mcp.tools.seal import Seal

if TYPE_CHECKING:
    from extend_mcp.api.client import ExtendClient


@dataclass
class App:
    """One server's parts.

    Attributes:
        settings: what the operator chose.
        connect: makes the API client; called on first use, so that starting costs nothing.
        seal: seals and opens confirmation tokens.
        clock: time, replaceable in tests.
        local_files: whether the machine's files are the caller's own, as over stdio.
        plans: bulk actions that were proposed or interrupted.
        audit: where a line for each call that can write goes.
    """

    settings: Settings
    connect: Callable[[], ExtendClient]
    seal: Seal
    clock: Clock = field(default_factory=SystemClock)
    local_files: bool = True
    plans: PlanStore = field(default_factory=PlanStore)
    audit: Audit = field(default_factory=Audit)
    _client: ExtendClient | None = field(default=None, init=False, repr=False)

    @property
    def api(self) -> ExtendClient:
        """The API client, made on first use."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    async def aclose(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


Ctx: TypeAlias = Context[App, Any]


def app_of(ctx: Ctx) -> App:
    """The server's parts, from inside a tool call."""
    return ctx.request_context.lifespan_context
