"""The one application that serves everything over HTTP: MCP, health, metrics, and the webhook receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.subscriptions import SubscriptionBus
from mcp_types import SubscribeRequestParams, SubscriptionsListenRequestParams, UnsubscribeRequestParams
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route, request_response
from starlette.types import ASGIApp

from extend_mcp.callers import CallerRegistry
from extend_mcp.clock import Clock, SystemClock
from extend_mcp.events.receiver import Receiver
from extend_mcp.events.subscribe import Subscriptions
from extend_mcp.http.door import REQUEST_ID_HEADER, AtOnce, NoMessage, RequestIds, WholeBody
from extend_mcp.http.identity import Identify, IdentityBackend
from extend_mcp.http.lifecycle import Lifecycle, StandingStreams
from extend_mcp.http.probes import probe_routes
from extend_mcp.http.security import ScopeChallenge, transport_security
from extend_mcp.http.settings import HttpSettings
from extend_mcp.scopes import SCOPES
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.redaction import Redactor

WEBHOOK_PATH = "/webhooks/extend"


@dataclass
class Served:
    """What is served, and with what.

    Attributes:
        server: the MCP server.
        registry: its callers' parts.
        bus: carries changes of runs.
        tools: the scope that each tool needs, by its name.
        metrics: counts what is done.
        redactor: keeps keys out of logs.
        lifecycle: what is under way; must be among the server's middleware.
        identify: tells who calls; None where nobody is told apart.
        receiver: takes webhook deliveries; None where none are expected.
        background: what else runs as long as the application does.
        clock: time.
    """

    server: MCPServer[CallerRegistry]
    registry: CallerRegistry
    bus: SubscriptionBus
    tools: dict[str, str]
    metrics: Metrics
    redactor: Redactor
    lifecycle: Lifecycle
    identify: Identify | None = None
    receiver: Receiver | None = None
    background: Callable[[], AbstractAsyncContextManager[object]] | None = None
    clock: Clock = field(default_factory=SystemClock)


def build_app(served: Served, http: HttpSettings, *, sse: bool) -> Starlette:
    """Put the application together.

    Args:
        served: its parts.
        http: where and within which bounds.
        sse: whether /sse is served too, for older clients.
    """
    security = transport_security(http)
    most_bytes = http.body_kilobytes * 1024
    whole_body = partial(WholeBody, most_bytes=most_bytes, seconds=http.body_seconds)
    metadata_url, metadata_routes = _resource_metadata(http)

    # Makes the session manager, whose parts are then put behind our own doors.
    served.server.streamable_http_app(
        stateless_http=http.stateless,
        max_request_body_size=most_bytes,
        session_idle_timeout=http.session_idle_seconds,
        max_sessions=http.max_sessions,
        transport_security=security,
    )
    manager = served.server.session_manager
    subscriptions = _serve_subscriptions(served, http)

    def protected(app: ASGIApp) -> ASGIApp:
        if served.identify is None:
            return app
        url = AnyHttpUrl(metadata_url) if metadata_url else None
        app = RequireAuthMiddleware(ScopeChallenge(app, served.tools, metadata_url), [], url)
        return AuthenticationMiddleware(
            AuthContextMiddleware(app), backend=IdentityBackend(served.identify, served.redactor)
        )

    def mcp_app(app: ASGIApp) -> ASGIApp:
        return AtOnce(protected(StandingStreams(whole_body(app), served.lifecycle)), http.requests_at_once)

    routes: list[BaseRoute] = [
        Route("/mcp", mcp_app(NoMessage(StreamableHTTPASGIApp(manager)))),
        *probe_routes(served.lifecycle, served.metrics),
        *metadata_routes,
    ]
    if served.receiver is not None:
        routes.append(Route(WEBHOOK_PATH, whole_body(request_response(served.receiver)), methods=["POST"]))
    if sse:
        routes.append(
            Mount("/", mcp_app(served.server.sse_app(max_request_body_size=most_bytes, transport_security=security)))
        )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if served.background is not None:
                await stack.enter_async_context(served.background())
            await stack.enter_async_context(manager.run())
            tasks = await stack.enter_async_context(anyio.create_task_group())
            subscriptions.tasks = tasks
            if served.receiver is not None:
                stack.callback(served.receiver.close)
                tasks.start_soon(served.receiver.run)
            yield
            tasks.cancel_scope.cancel()

    return Starlette(routes=routes, middleware=_middleware(served, http), lifespan=lifespan)


def _middleware(served: Served, http: HttpSettings) -> list[Middleware]:
    middleware = [Middleware(RequestIds, metrics=served.metrics)]
    if http.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=[*http.allowed_origins],
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=["Mcp-Session-Id", "WWW-Authenticate", REQUEST_ID_HEADER],
            )
        )
    return middleware


def _resource_metadata(http: HttpSettings) -> tuple[str | None, list[Route]]:
    """Where a client learns which authorization server to ask (RFC 9728): the address, and what serves it."""
    if http.auth != "oauth" or http.public_url is None or http.oauth_issuer is None:
        return None, []
    routes = create_protected_resource_routes(
        resource_url=http.public_url,
        authorization_servers=[http.oauth_issuer],
        scopes_supported=[*SCOPES],
        resource_name="Extend workflows",
    )
    return str(build_resource_metadata_url(http.public_url)), routes


def _serve_subscriptions(served: Served, http: HttpSettings) -> Subscriptions:
    """Put our own handlers, which know who may hear of what, in the place of the SDK's."""
    subscriptions = Subscriptions(served.bus, served.registry, served.clock, most=http.subscriptions)
    server = served.server.session_manager.app
    server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, subscriptions.listen)
    if not http.stateless:
        # Without a session there is no standing stream to be heard of on.
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscriptions.subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, subscriptions.unsubscribe)
    served.lifecycle.on_end.append(subscriptions.close)
    return subscriptions
