"""The API clients of all callers: one pool of connections, one rate limiter per organization, one key per client."""

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
    from extend_mcp.api.rate_limit import RateLimiter, RequestWindow

_MOST_LIMITERS = 2000


class Connections:
    """Makes the API client of each caller.

    Everything of httpx is loaded by the first call, not at start: clients wait for the tool list.

    Args:
        settings: where Extend is, and how fast it may be asked.
        meter: counts requests.
        windows: makes the window that counts an account's requests, by `Account.budget` and limit; by default each
            process counts alone.
    """

    def __init__(
        self, settings: Settings, meter: Meter, windows: Callable[[str, int], RequestWindow] | None = None
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._windows = windows
        self._limiters: OrderedDict[str, RateLimiter] = OrderedDict()
        self._transport: httpx.AsyncBaseTransport | None = None

    def client(self, caller: Caller) -> ExtendClient:
        """The API client of one caller: their key, the shared connections."""
        from extend_mcp.api.client import ExtendClient

        config = self._settings.client_config(caller.account)
        limiter = None if self._settings.sandbox else self._limiter(caller.account)
        return ExtendClient(
            config, transport=self._shared(), limiter=limiter, caller=caller.principal, observer=self._meter
        )

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _limiter(self, account: Account) -> RateLimiter:
        from extend_mcp.api.rate_limit import LocalWindow, RateLimiter

        name, per_second = account.budget, self._settings.requests_per_second
        limiter = self._limiters.get(name)
        if limiter is None:
            window = self._windows(name, per_second) if self._windows else LocalWindow(per_second)
            limiter = self._limiters[name] = RateLimiter(window)
            while len(self._limiters) > _MOST_LIMITERS:
                self._limiters.popitem(last=False)
        self._limiters.move_to_end(name)
        return limiter

    def _shared(self) -> httpx.AsyncBaseTransport:
        from extend_mcp.api.transport import SharedTransport, network_transport

        if self._transport is None:
            self._transport = _sandbox() if self._settings.sandbox else network_transport(self._settings.api_base_url)
        return SharedTransport(self._transport)


def _sandbox() -> httpx.AsyncBaseTransport:
    """A sandbox inside this process: no socket, no account."""
    import httpx

    from extend_mcp.sandbox import Sandbox

    return httpx.ASGITransport(Sandbox().app)
