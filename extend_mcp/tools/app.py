"""What every tool call works with: the caller and their API client, the settings, the clock and the seal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mcp.server.mcpserver import Context
from mcp.server.subscriptions import InMemorySubscriptionBus, SubscriptionBus

from extend_mcp.actions.confirmation_tokens import ConfirmationTokens
from extend_mcp.actions.store import ActionStore, MemoryStore
from extend_mcp.audit import Audit
from extend_mcp.callers import Caller
from extend_mcp.clock import Clock, SystemClock
from extend_mcp.settings import Settings
from extend_mcp.telemetry.meter import Meter

if TYPE_CHECKING:
    from extend_mcp.api.client import ExtendClient
    from extend_mcp.tools.service import Service


@dataclass(eq=False)
class App:
    """One caller's parts of the server.

    Attributes:
        caller: whose they are.
        settings: what the operator chose.
        connect: makes the caller's API client; called on first use, so that starting costs nothing.
        tokens: issues and verifies the caller's confirmation tokens.
        clock: time, replaceable in tests.
        local_files: whether the machine's files are the caller's own, as over stdio.
        store: what writes keep between two calls.
        audit: where a line for each call that can write goes.
        meter: counts what is done.
        bus: where changes of runs are heard of.
    """

    caller: Caller
    settings: Settings
    connect: Callable[[], ExtendClient]
    tokens: ConfirmationTokens
    clock: Clock = field(default_factory=SystemClock)
    local_files: bool = True
    store: ActionStore = field(default_factory=MemoryStore)
    audit: Audit = field(default_factory=Audit)
    meter: Meter = field(default_factory=Meter)
    bus: SubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    _client: ExtendClient | None = field(default=None, init=False, repr=False)

    @property
    def api(self) -> ExtendClient:
        """The API client, made on first use."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    async def aclose(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


Ctx: TypeAlias = Context["Service", Any]


def app_of(ctx: Ctx) -> App:
    """The parts of whoever makes this call."""
    return ctx.request_context.lifespan_context.app()
