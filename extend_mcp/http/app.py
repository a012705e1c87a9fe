"""The one application that serves everything over HTTP: MCP, health, metrics, and the webhook receiver."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.subscriptions import SubscriptionBus
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import SubscribeRequestParams, SubscriptionsListenRequestParams, UnsubscribeRequestParams
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from extend_mcp import REGISTRY_NAME
from extend_mcp.callers import CallerRegistry
from extend_mcp.clock import Clock
from extend_mcp.events.receiver import Receiver
from extend_mcp.events.subscribe import Subscriptions
from extend_mcp.http import middleware as asgi
from extend_mcp.http.auth.base import KEY_HEADER, Challenge, Identify
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.http.settings import HttpSettings, Limits
from extend_mcp.limits import Shares
from extend_mcp.mcp_compat import FairSessions
from extend_mcp.scopes import READING
from extend_mcp.telemetry.prometheus import PrometheusMetrics

WEBHOOK_PATH: Final = "/webhooks/extend"

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_CORS: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["*"],
    "expose_headers": ["Mcp-Session-Id", "WWW-Authenticate", "Retry-After", asgi.REQUEST_ID_HEADER],
}
_CHECKED_ALREADY: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


@dataclass
class HttpParts:
    """The parts that the application serves.

    Attributes:
        lifecycle: what is in progress; must be among the server's middleware.
        scopes: the scopes of what the operator switched on.
        identify: identifies callers; None without authentication.
        background: runs as long as the application does.
    """

    server: MCPServer[CallerRegistry]
    registry: CallerRegistry
    bus: SubscriptionBus
    metrics: PrometheusMetrics
    lifecycle: Lifecycle
    limits: Limits
    clock: Clock
    scopes: Sequence[str]
    identify: Identify | None
    receiver: Receiver | None
    background: Callable[[], AbstractAsyncContextManager[object]] | None


def build_app(parts: HttpParts, http: HttpSettings, *, sse: bool) -> Starlette:
    """Build the application that serves ``parts``; with ``sse`` also /sse, for older clients."""
    manager = FairSessions(
        parts.server,
        most=parts.limits.sessions,
        of_one_caller=parts.limits.sessions_of_one_caller,
        idle_seconds=parts.limits.session_idle_seconds,
        stateless=http.stateless,
    )
    subscriptions = _serve_subscriptions(parts, http)
    metadata_url, metadata_routes = _resource_metadata(parts, http)
    stack = _middleware(parts, http, metadata_url)
    mcp: ASGIApp = StreamableHTTPASGIApp(manager)
    for each in reversed(_for("mcp", stack)):
        mcp = each.cls(mcp, *each.args, **each.kwargs)

    routes: list[BaseRoute] = [
        # Both are the endpoint: a redirect would lead to http where TLS ends at a proxy.
        *(Route(path, mcp) for path in ("/mcp", "/mcp/")),
        Route("/mcp/server-card", _card(parts, http, sse=sse), middleware=_for("card", stack)),
        *_probe_routes(parts, stack),
        *metadata_routes,
    ]
    if parts.receiver is not None:
        receive = parts.receiver.receive
        routes.append(Route(WEBHOOK_PATH, receive, methods=["POST"], middleware=_for("webhook", stack)))
    if sse:
        sse_app = parts.server.sse_app(transport_security=_CHECKED_ALREADY)
        sse_app.router.redirect_slashes = False
        routes.append(Mount("/", sse_app, middleware=_for("mcp", stack)))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as exits:
            if parts.background is not None:
                await exits.enter_async_context(parts.background())
            await exits.enter_async_context(manager.run())
            tasks = await exits.enter_async_context(anyio.create_task_group())
            subscriptions.tasks = tasks
            if parts.receiver is not None:
                exits.callback(parts.receiver.close)
                tasks.start_soon(parts.receiver.run)
            yield
            tasks.cancel_scope.cancel()

    app = Starlette(routes=routes, middleware=_for("all", stack), lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def _middleware(parts: HttpParts, http: HttpSettings, metadata_url: str | None) -> list[tuple[str, Middleware]]:
    """List all ASGI middleware and the routes it is for. A request passes it from top to bottom."""
    # What only reads is asked for first: a client asks for more when a call needs it.
    first = [scope for scope in parts.scopes if scope in READING.values()] or parts.scopes
    limits, challenge = parts.limits, Challenge(metadata_url, first)
    trusted = partial(Middleware, asgi.TrustedHostMiddleware, allowed=_allowed(http))
    authentication: list[tuple[str, Middleware]] = []
    if parts.identify is not None:
        refuse = challenge.unidentified
        authentication = [
            ("mcp", Middleware(AuthenticationMiddleware, backend=parts.identify, on_error=refuse)),
            ("mcp", Middleware(AuthContextMiddleware)),
        ]
    return [
        ("all", Middleware(asgi.RequestIdMiddleware, metrics=parts.metrics)),
        ("mcp", Middleware(CORSMiddleware, **_origins(http), **_CORS)),
        ("mcp", trusted()),
        ("metrics", trusted(addresses=True)),
        ("card", trusted()),
        *authentication,
        ("mcp", Middleware(asgi.ConcurrencyLimitMiddleware, Shares(limits.requests, limits.requests_of_one_caller))),
        ("mcp", Middleware(asgi.ShutdownMiddleware, parts.lifecycle)),
        ("mcp", Middleware(asgi.BodyLimitMiddleware, limits.body_bytes, limits.body_seconds)),
        (
            "webhook",
            Middleware(
                asgi.BodyLimitMiddleware, limits.delivery_bytes, limits.delivery_seconds, limits.deliveries_bytes
            ),
        ),
        ("mcp", Middleware(asgi.ErrorMiddleware, challenge)),
    ]


def _for(route: str, stack: list[tuple[str, Middleware]]) -> list[Middleware]:
    return [middleware for routes, middleware in stack if routes == route]


def _allowed(http: HttpSettings) -> TransportSecuritySettings:
    """Return the Host and Origin headers to accept: loopback names, and what the operator named."""
    hosts = [*_LOOPBACK, *(f"{name}:*" for name in _LOOPBACK), *http.allowed_hosts]
    if http.public_url is not None and http.public_url.host:
        hosts += [http.public_url.host, f"{http.public_url.host}:{http.public_url.port}"]
    if http.host not in _ANY_ADDRESS:
        hosts.append(f"{http.host}:*")
    origins = http.allowed_origins or [f"http://{name}{port}" for name in _LOOPBACK for port in ("", ":*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=[*origins]
    )


def _origins(http: HttpSettings) -> dict[str, Any]:
    """Return the same origins for CORS."""
    if http.allowed_origins:
        return {"allow_origins": [*http.allowed_origins]}
    names = "|".join(re.escape(name) for name in _LOOPBACK)
    return {"allow_origin_regex": f"http://({names})(:[0-9]+)?"}


def _probe_routes(parts: HttpParts, stack: list[tuple[str, Middleware]]) -> list[BaseRoute]:
    """Serve /healthz, /readyz and /metrics. They say nothing about callers, need no credential and have no limit."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        ready = not parts.lifecycle.draining
        return JSONResponse({"ready": ready, "calls": parts.lifecycle.calls}, status_code=200 if ready else 503)

    async def metrics(request: Request) -> Response:
        body, content_type = parts.metrics.render(request.headers.get("accept"))
        return Response(body, headers={"Content-Type": content_type})

    measured = Route("/metrics", metrics, middleware=_for("metrics", stack))
    return [Route("/healthz", healthz), Route("/readyz", readyz), measured]


def _card(parts: HttpParts, http: HttpSettings, *, sse: bool) -> Callable[[Request], Awaitable[Response]]:
    """Serve what a client needs to connect (SEP-2127). It names no tool and needs no credential."""
    server = parts.server
    key = {"name": KEY_HEADER if http.auth == "passthrough-header" else "Authorization", "isRequired": True}

    async def card(request: Request) -> Response:
        url = str(http.public_url or f"{request.base_url}mcp")
        secrets = {"headers": [{**key, "isSecret": True}]} if http.identifies_callers else {}
        versions = {"supportedProtocolVersions": [*KNOWN_PROTOCOL_VERSIONS]}
        remotes = [{"type": "streamable-http", "url": url, **versions, **secrets}]
        if sse:
            remotes.append({"type": "sse", "url": f"{url.removesuffix('/mcp')}/sse", **secrets})
        document = {
            "$schema": "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
            "name": REGISTRY_NAME,
            "title": server.title,
            "description": server.description,
            "version": server.version,
            "icons": [icon.model_dump(mode="json", by_alias=True, exclude_none=True) for icon in server.icons or ()],
            "remotes": remotes,
        }
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=3600"})

    return card


def _resource_metadata(parts: HttpParts, http: HttpSettings) -> tuple[str | None, list[Route]]:
    """Return where a client learns which authorization server to ask (RFC 9728), and the routes that serve it."""
    if http.public_url is None or http.oauth_issuer is None:
        return None, []
    routes = create_protected_resource_routes(
        http.public_url, [http.oauth_issuer], [*parts.scopes], resource_name="Extend workflows"
    )
    return str(build_resource_metadata_url(http.public_url)), routes


def _serve_subscriptions(parts: HttpParts, http: HttpSettings) -> Subscriptions:
    """Replace the SDK's handlers with our own, which check what the caller may read."""
    most = parts.limits.subscriptions
    subscriptions = Subscriptions(
        parts.bus,
        parts.registry,
        parts.clock,
        Shares(most, max(most // 10, 1) if parts.identify else most),
        still_valid=parts.identify.still_valid if parts.identify else None,
    )
    server = parts.server.session_manager.app
    server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, subscriptions.listen)
    if not http.stateless:
        # Without a session there is no stream to be notified on.
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscriptions.subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, subscriptions.unsubscribe)
    parts.lifecycle.on_end.append(subscriptions.close)
    return subscriptions
