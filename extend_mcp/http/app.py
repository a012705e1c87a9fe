"""The one application that serves everything over HTTP: MCP, health, metrics, and the webhook receiver."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
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
from extend_mcp.callers import Shared
from extend_mcp.clock import Clock
from extend_mcp.events.event import Seen
from extend_mcp.events.receiver import Receiver
from extend_mcp.events.subscribe import Subscriptions
from extend_mcp.http import middleware as asgi
from extend_mcp.http.auth.base import KEY_HEADER, Challenge, ExtendKeys, Identify
from extend_mcp.http.auth.oauth import OAuth
from extend_mcp.http.auth.tokens import Tokens
from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.http.settings import HttpLimits, HttpSettings, share
from extend_mcp.limits import CallLimits, Shares
from extend_mcp.mcp_compat import FairSessions
from extend_mcp.scopes import AUDIT_READ, scopes_of
from extend_mcp.server import build_server, sealing_keys
from extend_mcp.settings import Settings, SettingsError
from extend_mcp.telemetry.prometheus import PrometheusMetrics
from extend_mcp.telemetry.redaction import Redactor

try:
    from extend_mcp.replicas.connect import Replicas
except ModuleNotFoundError:
    # Redis is an extra: a single server needs none.
    Replicas = None  # type: ignore[assignment, misc]

WEBHOOK_PATH: Final = "/webhooks/extend"

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_LOOPBACK_ORIGIN: Final = rf"http://({'|'.join(map(re.escape, _LOOPBACK))})(:[0-9]+)?"
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_CORS: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["*"],
    "expose_headers": ["Mcp-Session-Id", "WWW-Authenticate", "Retry-After", asgi.REQUEST_ID_HEADER],
}
_CHECKED_ALREADY: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class HttpApp:
    """Everything that one process serves over HTTP; with ``sse`` also /sse, for older clients.

    The redactor learns the keys that callers bring, once Extend accepted them. Tests give the last three arguments.

    Raises:
        SettingsError: the settings do not fit together, or a file they name cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        http: HttpSettings,
        redactor: Redactor,
        *,
        sse: bool,
        limits: HttpLimits | None = None,
        call_limits: CallLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.http, self.limits, self.clock, self._sse = http, limits or http.limits, clock or Clock(), sse
        self.metrics = PrometheusMetrics()
        self.shared = Shared(sealing_keys(settings), metrics=self.metrics, learn_key=redactor.add)
        self.identify = self._identify(settings)
        # Without authentication all requests are of one caller, to whom everything belongs.
        self.lifecycle = Lifecycle(Shares(of_one_caller=share(self.limits.requests) if self.identify else inf))
        self._background: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
        seen = self._share_with_replicas(settings) or Seen()
        self.receiver: Receiver | None = None
        if http.webhook_secrets:
            self.shared.events, hosts = seen, http.webhook_payload_hosts
            self.receiver = Receiver(http.webhook_secrets, seen, self.shared.bus, hosts, self.metrics)
        self.server, self.registry = build_server(
            settings,
            clock=self.clock,
            local_files=False,
            own_caller=self.identify is None,
            shared=self.shared,
            count_calls=self.lifecycle,
            limits=call_limits,
        )
        self.scopes = scopes_of(settings.toolsets, read_only=settings.read_only)
        self._sessions = FairSessions(
            self.server,
            most=self.limits.sessions,
            of_one_caller=share(self.limits.sessions),
            idle_seconds=self.limits.session_idle_seconds,
            stateless=http.stateless,
        )
        self.subscriptions = self._serve_subscriptions()
        self.asgi = self._route()

    def _identify(self, settings: Settings) -> Identify | None:
        kind, _, value = self.http.auth.partition(":")
        if kind == "none":
            return None
        if kind == "token":
            return Tokens(Path(value), default=settings.account, clock=self.clock, metrics=self.metrics)
        if kind == "oauth":
            return OAuth(value, str(self.http.public_url), default=settings.account, clock=self.clock)
        return ExtendKeys("Authorization" if kind == "passthrough" else KEY_HEADER)

    def _share_with_replicas(self, settings: Settings) -> Seen | None:
        """Share through Redis, if there is one, what replicas must agree on; return the events that any received."""
        if self.http.redis_url is None:
            return None
        if not settings.state_keys:
            raise SettingsError(
                "EXTEND_MCP_STATE_KEYS: must be set where EXTEND_MCP_REDIS_URL is, the same for all replicas"
            )
        if Replicas is None:
            raise SettingsError("EXTEND_MCP_REDIS_URL: needs the redis package: pip install 'extend-mcp[redis]'")
        shared = self.shared
        replicas = Replicas(self.http.redis_url.get_secret_value(), shared.keys, self.metrics)
        shared.bus, shared.store, shared.windows = replicas.bus, replicas.store, replicas.window
        self._background = replicas.connected
        return replicas.seen

    def _serve_subscriptions(self) -> Subscriptions:
        """Replace the SDK's handlers with our own, which check what the caller may read."""
        most = self.limits.subscriptions
        subscriptions = Subscriptions(
            self.shared.bus,
            self.registry,
            self.clock,
            Shares(most, max(most // 10, 1) if self.identify else most),
            self.identify.still_valid if self.identify else None,
            self.lifecycle.on_end,
        )
        server = self.server.session_manager.app
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, subscriptions.listen)
        if not self.http.stateless:
            # Without a session there is no stream to be notified on.
            server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscriptions.subscribe)
            server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, subscriptions.unsubscribe)
        return subscriptions

    def _route(self) -> Starlette:
        metadata_url, metadata_routes = None, []
        if self.http.public_url is not None and self.http.oauth_issuer is not None:
            # Where a client learns which authorization server to ask (RFC 9728).
            metadata_url = str(build_resource_metadata_url(self.http.public_url))
            metadata_routes = create_protected_resource_routes(
                self.http.public_url, [self.http.oauth_issuer], self.scopes, resource_name="Extend workflows"
            )
        stack = self._middleware(metadata_url)
        mcp: ASGIApp = StreamableHTTPASGIApp(self._sessions)
        for each in reversed(_for("mcp", stack)):
            mcp = each.cls(mcp, *each.args, **each.kwargs)
        routes: list[BaseRoute] = [
            # Both are the endpoint: a redirect would lead to http where TLS ends at a proxy.
            *(Route(path, mcp) for path in ("/mcp", "/mcp/")),
            Route("/mcp/server-card", self._card, middleware=_for("card", stack)),
            # The probes and metrics say nothing about callers, need no credential and have no limit.
            Route("/healthz", PlainTextResponse("ok")),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics, middleware=_for("metrics", stack)),
            *metadata_routes,
        ]
        if self.receiver is not None:
            receive = self.receiver.receive
            routes.append(Route(WEBHOOK_PATH, receive, methods=["POST"], middleware=_for("webhook", stack)))
        if self._sse:
            sse_app = self.server.sse_app(transport_security=_CHECKED_ALREADY)
            sse_app.router.redirect_slashes = False
            routes.append(Mount("/", sse_app, middleware=_for("mcp", stack)))
        app = Starlette(routes=routes, middleware=_for("all", stack), lifespan=self._lifespan)
        app.router.redirect_slashes = False
        return app

    def _middleware(self, metadata_url: str | None) -> list[tuple[str, Middleware]]:
        """List all ASGI middleware and the routes it is for. A request passes it from top to bottom."""
        # What only reads is asked for first: a client asks for more when a call needs it, such as the audit log.
        first = [scope for scope in self.scopes if scope.endswith(":read") and scope != AUDIT_READ] or self.scopes
        limits, challenge, origins = self.limits, Challenge(metadata_url, first), [*self.http.allowed_origins]
        trusted = partial(Middleware, asgi.TrustedHostMiddleware, allowed=_allowed(self.http))
        authentication: list[Middleware] = []
        if self.identify is not None:
            identification = Middleware(AuthenticationMiddleware, self.identify, challenge.unidentified)
            authentication = [identification, Middleware(AuthContextMiddleware)]
        deliveries = limits.delivery_bytes, limits.delivery_seconds, limits.deliveries_bytes
        origin = None if origins else _LOOPBACK_ORIGIN
        return [
            ("all", Middleware(asgi.RequestIdMiddleware, self.metrics)),
            ("mcp", Middleware(CORSMiddleware, origins, allow_origin_regex=origin, **_CORS)),
            ("mcp", trusted()),
            ("metrics", trusted(addresses=True)),
            ("card", trusted()),
            *(("mcp", each) for each in authentication),
            ("mcp", Middleware(asgi.ConcurrencyLimitMiddleware, Shares(limits.requests, share(limits.requests)))),
            ("mcp", Middleware(asgi.ShutdownMiddleware, self.lifecycle)),
            ("mcp", Middleware(asgi.BodyLimitMiddleware, limits.body_bytes, limits.body_seconds)),
            ("webhook", Middleware(asgi.ShutdownMiddleware, self.lifecycle)),
            ("webhook", Middleware(asgi.BodyLimitMiddleware, *deliveries)),
            ("mcp", Middleware(asgi.ErrorMiddleware, challenge)),
        ]

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._background(), self._sessions.run(), anyio.create_task_group() as tasks:
            self.subscriptions.tasks = tasks
            if self.receiver is not None:
                tasks.start_soon(self.receiver.run)
            yield
            tasks.cancel_scope.cancel()

    async def _readyz(self, _: Request) -> Response:
        ready = not self.lifecycle.draining
        return JSONResponse({"ready": ready, "calls": self.lifecycle.calls}, status_code=200 if ready else 503)

    async def _metrics(self, _: Request) -> Response:
        body, content_type = self.metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    async def _card(self, request: Request) -> Response:
        """Serve what a client needs to connect (SEP-2127). It names no tool and needs no credential."""
        server, url = self.server, str(self.http.public_url or f"{request.base_url}mcp")
        header = KEY_HEADER if self.http.auth == "passthrough-header" else "Authorization"
        secrets = {"headers": [{"name": header, "isRequired": True, "isSecret": True}]} if self.identify else {}
        versions = {"supportedProtocolVersions": [*KNOWN_PROTOCOL_VERSIONS]}
        remotes = [{"type": "streamable-http", "url": url, **versions, **secrets}]
        if self._sse:
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
