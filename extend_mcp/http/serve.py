"""Serving over HTTP: build the parts, listen, and finish the calls in flight when the process ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from math import inf
from types import FrameType
from typing import Final

import anyio
import uvicorn
from starlette.types import ASGIApp

from extend_mcp.actions.store import alongside
from extend_mcp.clock import Clock
from extend_mcp.events.event import Seen
from extend_mcp.events.receiver import Receiver
from extend_mcp.http.app import HttpParts, build_app
from extend_mcp.http.auth.base import KEY_HEADER, ExtendKeys, Identify
from extend_mcp.http.auth.oauth import OAuth
from extend_mcp.http.auth.tokens import Tokens
from extend_mcp.http.connections import Connection, open_files
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.http.settings import HttpSettings, Limits
from extend_mcp.limits import CallLimits, Shares
from extend_mcp.mcp_compat import let_event_streams_finish
from extend_mcp.scopes import SCOPES, scopes_of
from extend_mcp.server import Shared, build_server, sealing_keys
from extend_mcp.settings import Settings, SettingsError
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.prometheus import PrometheusMetrics
from extend_mcp.telemetry.redaction import Redactor

try:
    from extend_mcp.replicas.connect import open_replicas
except ModuleNotFoundError:
    # Redis is an extra: a single server needs none.
    open_replicas = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_CLEANUP_SECONDS: Final = 0.5
"""The time that a call that was broken off has to clean up."""


def build_parts(
    settings: Settings,
    http: HttpSettings,
    redactor: Redactor,
    *,
    limits: Limits | None = None,
    call_limits: CallLimits | None = None,
    clock: Clock | None = None,
) -> HttpParts:
    """Build what is to be served; tests give the last three arguments.

    The redactor learns the keys that callers bring, once Extend accepted them.

    Raises:
        SettingsError: the settings do not fit together, or a file they name cannot be used.
    """
    limits, clock = limits or http.limits, clock or Clock()
    # Without authentication all requests are of one caller, to whom everything belongs.
    lifecycle = Lifecycle(Shares(of_one_caller=limits.requests_of_one_caller if http.identifies_callers else inf))
    metrics = PrometheusMetrics()
    shared, background = Shared(sealing_keys(settings), metrics=metrics, learn_key=redactor.add), None
    seen: Seen | None = None
    receiver: Receiver | None = None
    if http.redis_url is not None:
        if not settings.state_keys:
            raise SettingsError(
                "EXTEND_MCP_STATE_KEYS: must be set where EXTEND_MCP_REDIS_URL is, the same for all replicas"
            )
        if open_replicas is None:
            raise SettingsError("EXTEND_MCP_REDIS_URL: needs the redis package: pip install 'extend-mcp[redis]'")
        replicas = open_replicas(http.redis_url.get_secret_value(), shared.keys, metrics)
        shared.bus, shared.store, shared.windows = replicas.bus, replicas.store, replicas.window
        background, seen = replicas.connected, replicas.seen
    if http.webhook_secrets:
        shared.events = seen = seen or Seen()
        receiver = Receiver(http.webhook_secrets, seen, shared.bus, http.webhook_payload_hosts, metrics)
    server, registry = build_server(
        settings,
        clock=clock,
        local_files=False,
        own_caller=not http.identifies_callers,
        shared=shared,
        count_calls=lifecycle,
        limits=call_limits,
    )
    offered = scopes_of(settings.toolsets, read_only=settings.read_only)
    return HttpParts(
        server=server,
        registry=registry,
        bus=shared.bus,
        metrics=metrics,
        lifecycle=lifecycle,
        limits=limits,
        scopes=[scope for scope in SCOPES if scope in offered],
        identify=_identify(settings, http, clock, metrics),
        receiver=receiver,
        background=background,
        clock=clock,
    )


async def serve_http(
    settings: Settings,
    http: HttpSettings,
    *,
    sse: bool,
    redactor: Redactor,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; arguments as for `build_parts` and `build_app`.

    ``on_ready`` is called with the address of the MCP endpoint once requests are taken.

    Raises:
        SettingsError: the settings do not fit together.
        OSError: the address cannot be listened on.
    """
    parts = build_parts(settings, http, redactor)
    app = build_app(parts, http, sse=sse)
    with listen(http.host, http.port) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            on_ready(f"http://{shown}:{port}/mcp")

        try:
            await GracefulServer(app, parts.lifecycle, parts.limits, ready).serve(sockets=[listener])
        finally:
            with anyio.CancelScope(shield=True):
                await parts.registry.aclose()


class GracefulServer(uvicorn.Server):
    """Ends in steps: reports that it is not ready, takes requests a while longer, stops listening, lets calls end."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, limits: Limits, on_ready: Callable[[], None]) -> None:
        let_event_streams_finish()
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Not uvicorn's limit of connections, which refuses the newest, and with it the probes of a server in use.
            http=partial(  # type: ignore[arg-type]
                Connection,
                most=min(limits.connections, open_files(limits.connections)),
                header_seconds=limits.header_seconds,
            ),
            timeout_graceful_shutdown=max(round(limits.shutdown_seconds), 1),
        )
        super().__init__(config)
        self._lifecycle, self._drain_seconds, self._on_ready = lifecycle, limits.drain_seconds, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and report it."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends at once."""
        # Not uvicorn's own, which raises the signal again once it has shut down: that would end in its status.
        if self._lifecycle.draining:
            self.force_exit = self.should_exit = True
            return
        self._lifecycle.draining = True
        self._draining = asyncio.create_task(self._drain())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let calls finish, then end the streams that would stay open forever."""
        self._lifecycle.draining = True
        async with alongside(self._lifecycle.end_streams):
            await super().shutdown(sockets)
        if self.force_exit:
            await self._break_off()

    async def _break_off(self) -> None:
        """End calls now, and the application with them; uvicorn leaves both to the end of the loop, which logs it."""
        calls = list(self.server_state.tasks)
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls, timeout=_CLEANUP_SECONDS)
        with anyio.move_on_after(_CLEANUP_SECONDS):
            await self.lifespan.shutdown()

    async def _drain(self) -> None:
        logger.info("ending: requests are taken for %g s more", self._drain_seconds)
        await anyio.sleep(self._drain_seconds)
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise an OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    # Head and body go out in two writes; without this the second one waits for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _identify(settings: Settings, http: HttpSettings, clock: Clock, metrics: Metrics) -> Identify | None:
    if http.tokens_file:
        return Tokens(http.tokens_file, default=settings.account, clock=clock, metrics=metrics)
    if http.oauth_issuer:
        return OAuth(str(http.oauth_issuer), str(http.public_url), default=settings.account, clock=clock)
    if http.identifies_callers:
        return ExtendKeys("Authorization" if http.auth == "passthrough" else KEY_HEADER)
    return None
