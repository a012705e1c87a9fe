"""Serving over HTTP: puts the parts together, listens, and ends in good order when it is told to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from extend_mcp.clock import Clock
from extend_mcp.events.payload import PayloadFetcher
from extend_mcp.events.receiver import Receiver
from extend_mcp.events.seen import LocalSeen
from extend_mcp.http.app import Served, build_app
from extend_mcp.http.identity import Identify
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.http.server import listen, serving
from extend_mcp.http.settings import HttpSettings
from extend_mcp.server import Connect, Shared, build_server, scopes_by_tool, sealing_keys
from extend_mcp.settings import Settings, SettingsError
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.redaction import Redactor
from extend_mcp.telemetry.request_id import request_id
from extend_mcp.telemetry.spans import annotate_span

logger = logging.getLogger(__name__)


def build_served(
    settings: Settings,
    http: HttpSettings,
    redactor: Redactor,
    *,
    connect: Connect | None = None,
    clock: Clock | None = None,
) -> Served:
    """Put together what is to be served.

    Args:
        settings: what the operator chose.
        http: what they chose for HTTP.
        redactor: learns the keys that callers bring.
        connect: makes a caller's API client; given by tests.
        clock: time; given by tests.

    Raises:
        SettingsError: the settings do not fit together, or a file they name cannot be used.
    """
    lifecycle, metrics = Lifecycle(), _metrics(http)
    shared, background, seen = Shared(sealing_keys(settings), metrics=metrics), None, None
    if http.redis_url is not None:
        replicas = _replicas(settings, http, shared)
        shared.bus, shared.store, shared.permits = replicas.bus, replicas.store, replicas.permits
        background, seen = replicas.connected, replicas.seen
    server, registry = build_server(
        settings,
        connect=connect,
        clock=clock,
        local_files=False,
        own_caller=http.auth == "none",
        shared=shared,
        middleware=[lifecycle, _name_span],
    )
    receiver = None
    if http.webhook_secrets:
        receiver = Receiver(
            http.webhook_secrets,
            seen=seen or LocalSeen(),
            bus=shared.bus,
            fetcher=PayloadFetcher(http.webhook_payload_hosts),
            metrics=metrics,
        )
    return Served(
        server=server,
        registry=registry,
        bus=shared.bus,
        tools=scopes_by_tool(settings),
        metrics=metrics,
        redactor=redactor,
        lifecycle=lifecycle,
        identify=_identify(settings, http, clock),
        receiver=receiver,
        background=background,
        **({"clock": clock} if clock else {}),
    )


async def serve_http(
    settings: Settings,
    http: HttpSettings,
    *,
    sse: bool,
    redactor: Redactor,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: what the operator chose.
        http: where, to whom and within which bounds.
        sse: whether /sse is served too.
        redactor: learns the keys that callers bring.
        on_ready: called with the address of the MCP endpoint once requests are taken.

    Raises:
        SettingsError: the settings do not fit together.
        OSError: the address cannot be listened on.
    """
    served = build_served(settings, http, redactor)
    app = build_app(served, http, sse=sse)
    with listen(http.host, http.port) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            on_ready(f"http://{shown}:{port}/mcp")

        try:
            async with serving(app, served.lifecycle, http, listener, ready) as server:
                await server.serve(sockets=[listener])
        finally:
            with anyio.CancelScope(shield=True):
                await served.registry.aclose()


async def _name_span(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Server middleware: the SDK's span of a request carries the id that its logs and audit line have."""
    annotate_span(**{"extend_mcp.request_id": request_id.get()})
    return await call_next(ctx)


def _metrics(http: HttpSettings) -> Metrics:
    if not http.metrics:
        return Metrics()
    from extend_mcp.telemetry.prometheus import PrometheusMetrics

    return PrometheusMetrics()


def _identify(settings: Settings, http: HttpSettings, clock: Clock | None) -> Identify | None:
    if http.auth == "passthrough":
        from extend_mcp.http.passthrough import Passthrough

        return Passthrough(http.key_header)
    if http.auth == "token":
        from extend_mcp.http.tokens import Tokens

        assert http.tokens_file is not None
        return Tokens(http.tokens_file, default=settings.account, clock=clock)
    if http.auth == "oauth":
        from extend_mcp.http.oauth import OAuth

        jwks_url = str(http.oauth_jwks_url) if http.oauth_jwks_url else None
        issuer, audience = str(http.oauth_issuer), str(http.public_url)
        return OAuth(issuer, audience, jwks_url=jwks_url, default=settings.account, clock=clock)
    return None


def _replicas(settings: Settings, http: HttpSettings, shared: Shared) -> Any:
    assert http.redis_url is not None
    if not settings.state_keys:
        raise SettingsError(
            "EXTEND_MCP_STATE_KEYS: must be set where EXTEND_MCP_REDIS_URL is: replicas open what others sealed"
        )
    try:
        from extend_mcp.replicas.connect import open_replicas
    except ImportError:
        raise SettingsError("EXTEND_MCP_REDIS_URL: needs the redis package: pip install 'extend-mcp[redis]'") from None
    return open_replicas(http.redis_url.get_secret_value(), shared.keys)
