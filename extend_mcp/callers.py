"""The callers of one server: each call works with its own caller's context, and never with another's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakSet

import anyio
import anyio.to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent, SubscriptionBus

from extend_mcp.accounts import Account, Caller
from extend_mcp.actions.confirmation_tokens import ConfirmationTokens, SealingKeys
from extend_mcp.actions.sqlite_store import SqliteStore
from extend_mcp.actions.store import ActionStore
from extend_mcp.audit import Audit, write_record
from extend_mcp.clock import Clock
from extend_mcp.limits import CallLimits
from extend_mcp.mcp_compat import auth_context_var
from extend_mcp.settings import Settings
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.views.uris import named_by

if TYPE_CHECKING:
    import httpx

    from extend_mcp.api.client import ExtendClient
    from extend_mcp.api.rate_limit import RateLimiter, RequestWindow
    from extend_mcp.events.event import Seen
    from extend_mcp.history.history import RunHistory
    from extend_mcp.history.store import RunStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_CALLERS = 1000
_MOST_REMEMBERED = 32


@dataclass(eq=False)
class Shared:
    """Parts that all callers have in common; with Redis, all replicas too.

    Attributes:
        keys: encrypt confirmation tokens and plans.
        events: remembers which webhook events were received; None where this server receives none.
        store: keeps what writes need between two calls.
        windows: makes the window that counts an account's requests, by `Account.budget` and limit; None to count alone.
        learn_key: called with a caller's key once Extend accepted it, to keep it out of logs.
    """

    keys: SealingKeys
    bus: SubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    events: Seen | None = None
    store: ActionStore = field(default_factory=SqliteStore)
    metrics: Metrics = field(default_factory=Metrics)
    windows: Callable[[str, int], RequestWindow] | None = None
    learn_key: Callable[[str], None] | None = None


@dataclass(eq=False, kw_only=True)
class CallerContext(Shared):
    """The context of one caller's tool calls. `build_server` says what its parts are for."""

    caller: Caller
    settings: Settings
    connect: Callable[[CallerContext], ExtendClient]
    histories: Histories | None = None
    limits: CallLimits = field(default_factory=CallLimits)
    clock: Clock = field(default_factory=Clock)
    local_files: bool = True
    audit: Audit = field(default_factory=Audit)
    _remembered: dict[str, tuple[float, Any]] = field(default_factory=dict, init=False, repr=False)

    async def remember(self, name: str, seconds: float, read: Callable[[], Awaitable[T]]) -> T:
        """Return what was read under this name in the last seconds, or read it. For facts that hardly change."""
        now = self.clock.monotonic()
        until, value = self._remembered.get(name, (now, None))
        if until <= now:
            value = await read()
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[name] = (now + seconds, value)
        return value  # type: ignore[no-any-return]

    @cached_property
    def api(self) -> ExtendClient:
        """Return the API client, made on first use."""
        client = self.connect(self)
        client.on_write_answered = lambda request_id: write_record().request_ids.append(request_id)
        client.on_key_accepted = self.learn_key
        if self.histories:
            client.on_run_gone = partial(self.histories.forget, self.caller.account)
        return client

    @cached_property
    def tokens(self) -> ConfirmationTokens:
        """Return what issues and verifies confirmation tokens of the caller's account."""
        return ConfirmationTokens(self.keys, audience=self.audience, lifetime=self.limits.confirmation_seconds)

    @property
    def audience(self) -> str:
        """Return what a token is valid for: the caller's account at this address of Extend. Holds no secret."""
        return self.caller.account.fingerprint("tokens", self.settings.api_base_url).hex()

    @property
    def account_id(self) -> str:
        """Return the fingerprint of the caller's account in audit lines."""
        return self.caller.account.fingerprint("audit", self.settings.api_base_url).hex()[:20]

    async def history(self) -> RunHistory | None:
        """Return the kept runs of the caller's account; None where none are kept."""
        return await self.histories.of(self.caller.account) if self.histories else None

    def history_of_one_call(self) -> RunHistory:
        """Return an empty history, for a question that needs one where none are kept."""
        from extend_mcp.history.history import RunHistory
        from extend_mcp.history.store import RunStore

        return RunHistory(RunStore(), anyio.CapacityLimiter(1), b"", self.clock)


Ctx: TypeAlias = Context["CallerRegistry", Any]


def caller_context(ctx: Ctx) -> CallerContext:
    """Return the context of the caller who makes this call."""
    return ctx.request_context.lifespan_context.current()


class CallerUser(AuthenticatedUser):
    """A caller in the shape in which the SDK carries them through a request.

    The SDK binds sessions and sealed state to client, issuer and subject, so these name the caller. The token itself
    is left out: nothing after authentication needs it.
    """

    def __init__(self, caller: Caller) -> None:
        super().__init__(
            AccessToken(
                token="",
                client_id=caller.client_id or caller.principal,
                scopes=sorted(caller.scopes or ()),
                expires_at=caller.expires_at,
                subject=caller.subject,
                claims={"iss": caller.issuer} if caller.issuer else None,
            )
        )
        self.caller = caller


class UnknownCallerError(Exception):
    """A call reached the server without a caller. This is a bug of the serving code; no rights are granted."""


class CallerRegistry:
    """The context of every caller, made on their first call.

    ``local`` is the caller of a transport that authenticates nobody; None where every call must bring its own.
    ``close`` closes what all callers share; it is called as ``aclose``.
    """

    def __init__(
        self,
        make: Callable[..., CallerContext],
        *,
        local: Caller | None,
        close: Callable[[], Awaitable[None]],
        most: int = _MOST_CALLERS,
    ) -> None:
        self._local = local
        self.aclose = close

        # All that the least recently used context holds can be read again.
        @lru_cache(most)
        def context_of(caller: Caller) -> CallerContext:
            return make(caller=caller)

        self.context_of = context_of

    def caller(self) -> Caller:
        """Return the caller of the current request.

        Raises:
            UnknownCallerError: nobody was identified, and this server has no default caller.
        """
        user = auth_context_var.get()
        if isinstance(user, CallerUser):
            return user.caller
        if self._local is None:
            raise UnknownCallerError("a call without a caller")
        return self._local

    def current(self) -> CallerContext:
        """Return the context of the current request's caller."""
        return self.context_of(self.caller())


class Histories:
    """The kept runs of every account: one store for all callers, opened by the first question."""

    def __init__(self, settings: Settings, clock: Clock, bus: SubscriptionBus) -> None:
        self._settings, self._clock = settings, clock
        self._unsubscribe = bus.subscribe(self._note_change)
        self._opening = anyio.Lock()
        self._store: RunStore | None = None
        self._thread = anyio.CapacityLimiter(1)
        self._open: WeakSet[RunHistory] = WeakSet()
        self._named = lru_cache(_MOST_CALLERS)(self._make)

    @property
    def is_open(self) -> bool:
        """True once a question opened the store; before, one in memory holds nothing."""
        return self._store is not None

    async def of(self, account: Account) -> RunHistory | None:
        """Return the kept runs of one account; None without a key, since nothing can be read then."""
        if account.api_key is None:
            return None
        store = await self._opened()
        return self._named(store, account.fingerprint("history", self._settings.api_base_url))

    def _make(self, store: RunStore, name: bytes) -> RunHistory:
        from extend_mcp.history.history import RunHistory

        history = RunHistory(store, self._thread, name, self._clock)
        self._open.add(history)
        return history

    def _note_change(self, event: ServerEvent) -> None:
        named = named_by(event.uri) if isinstance(event, ResourceUpdated) else None
        if named is not None and named.kind == "run":
            for history in self._open:
                history.note_change(named.id)

    async def forget(self, account: Account, run_id: str, deleted: bool) -> None:
        """Remove a run that the API no longer has. A store in memory that no question opened holds none."""
        if (self.is_open or self._settings.history != "memory") and (history := await self.of(account)):
            await history.forget(run_id, deleted=deleted)

    async def aclose(self) -> None:
        """Close the store."""
        self._unsubscribe()
        if self._store is not None:
            await anyio.to_thread.run_sync(self._store.close, limiter=self._thread)

    async def _opened(self) -> RunStore:
        from extend_mcp.history.database import MEMORY, StoreLostError
        from extend_mcp.history.store import RunStore

        async with self._opening:
            if self._store is None:
                # A new sandbox begins with other runs than the last one.
                in_memory = self._settings.sandbox or self._settings.history == "memory"
                path = MEMORY if in_memory else self._settings.history
                try:
                    self._store = await anyio.to_thread.run_sync(RunStore, path, limiter=self._thread)
                except StoreLostError as error:
                    logger.warning("runs are kept in memory, because the file cannot be used: %s", error)
                    self._store = RunStore()
            return self._store


class ApiClients:
    """Makes the API client of each caller: one connection pool, one rate limit per organization, one key per client.

    The first call loads httpx and the client, not the start of the server: clients wait for the tool list.
    """

    def __init__(self) -> None:
        self._limiter = lru_cache(_MOST_CALLERS)(_limiter)
        self._transport: httpx.AsyncBaseTransport | None = None

    def client(self, context: CallerContext) -> ExtendClient:
        """Return the API client of one caller: their key, the shared connections."""
        import httpx

        from extend_mcp.api.client import ExtendClient
        from extend_mcp.api.transport import ExtendTransport, network_transport

        settings, caller, limiter = context.settings, context.caller, None
        if not settings.sandbox:
            self._transport = self._transport or network_transport(settings.api_base_url)
            limiter = self._limiter(caller.account.budget, settings.requests_per_second, context.windows)
        elif self._transport is None:
            from extend_mcp.sandbox import Sandbox

            self._transport = httpx.ASGITransport(Sandbox().app)
        sending = ExtendTransport(self._transport, limiter=limiter, caller=caller.principal, metrics=context.metrics)
        return ExtendClient(settings.client_config(caller.account), sending)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.aclose()


def _limiter(budget: str, per_second: int, windows: Callable[[str, int], RequestWindow] | None) -> RateLimiter:
    from extend_mcp.api.rate_limit import LocalWindow, RateLimiter

    return RateLimiter(windows(budget, per_second) if windows else LocalWindow(per_second))
