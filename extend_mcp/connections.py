"""The API clients of all callers: one pool of connections, one rate budget per organization, one key per client."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from extend_mcp.callers import Account, Caller
from extend_mcp.settings import Settings
from extend_mcp.telemetry.meter import Meter

if TYPE_CHECKING:
    import httpx

    from extend_mcp.api.client import ExtendClient
    from extend_mcp.api.pace import Budget, Permits

_MOST_BUDGETS = 2000


class Connections:
    """Makes the API client of each caller.

    Everything of httpx is loaded by the first call, not at start: clients wait for the tool list.

    Args:
        settings: where Extend is, and how fast it may be asked.
        meter: counts requests.
        permits: makes the shared count of an account's requests, by `Account.budget`; by default each process counts
            for itself.
    """

    def __init__(self, settings: Settings, meter: Meter, permits: Callable[[str, int], Permits] | None = None) -> None:
        self._settings = settings
        self._meter = meter
        self._permits = permits
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._transport: httpx.AsyncBaseTransport | None = None

    def client(self, caller: Caller) -> ExtendClient:
        """The API client of one caller: their key, the shared connections."""
        from extend_mcp.api.client import ExtendClient

        config = self._settings.client_config(caller.account)
        budget = None if self._settings.sandbox else self._budget(caller.account)
        return ExtendClient(
            config, transport=self._shared(), budget=budget, caller=caller.principal, observer=self._meter
        )

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _budget(self, account: Account) -> Budget:
        from extend_mcp.api.pace import Budget, LocalPermits

        name, per_second = account.budget, self._settings.requests_per_second
        budget = self._budgets.get(name)
        if budget is None:
            permits = self._permits(name, per_second) if self._permits else LocalPermits(per_second)
            budget = self._budgets[name] = Budget(permits)
            while len(self._budgets) > _MOST_BUDGETS:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(name)
        return budget

    def _shared(self) -> httpx.AsyncBaseTransport:
        from extend_mcp.api.session import SharedTransport, network_transport

        if self._transport is None:
            self._transport = _sandbox() if self._settings.sandbox else network_transport(self._settings.api_base_url)
        return SharedTransport(self._transport)


def _sandbox() -> httpx.AsyncBaseTransport:
    """A sandbox inside this process: no socket, no account."""
    import httpx

    from extend_mcp.sandbox import Sandbox

    return httpx.ASGITransport(Sandbox().app)
