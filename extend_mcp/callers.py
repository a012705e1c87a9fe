"""The callers of one server: each call works with its own caller's context, and never with another's."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import anyio
import anyio.to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent, SubscriptionBus

from extend_mcp.accounts import Account, Caller
from extend_mcp.actions.confirmation_tokens import ConfirmationTokens
from extend_mcp.actions.store import ActionStore, MemoryStore
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
K = TypeVar("K")

_MOST_LIMITERS = 2000
_MOST_CALLERS = 1000
_MOST_REMEMBERED = 32


class Kept(Generic[K, T]):
    """The most recently used values by key, at most ``most``; all that an evicted one holds can be read again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, T] = OrderedDict()

    def of(self, key: K, make: Callable[[], T]) -> T:
        """Return the value of a key, made on first use."""
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def all(self) -> list[T]:
        """Return the values, the least recently used first."""
        return list(self._values.values())


@dataclass(eq=False)
class CallerContext:
    """The context of one caller's tool calls. `build_server` and `Shared` say what its parts are for."""

    caller: Caller
    settings: Settings
    connect: Callable[[], ExtendClient]
    tokens: ConfirmationTokens
    limits: CallLimits = field(default_factory=CallLimits)
    clock: Clock = field(default_factory=Clock)
    local_files: bool = True
    store: ActionStore = field(default_factory=MemoryStore)
    audit: Audit = field(default_factory=Audit)
    metrics: Metrics = field(default_factory=Metrics)
    bus: SubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    events: Seen | None = None
    histories: Histories | None = None
    learn_key: Callable[[str], None] | None = None
    _client: ExtendClient | None = field(default=None, init=False, repr=False)
    _remembered: OrderedDict[str, tuple[float, Any]] = field(default_factory=OrderedDict, init=False, repr=False)

    async def remember(self, name: str, seconds: float, read: Callable[[], Awaitable[T]]) -> T:
        """Return what was read under this name in the last seconds, or read it. For facts that hardly change."""
        now = self.clock.monotonic()
        until, value = self._remembered.get(name, (now, None))
        if until <= now:
            value = await read()
            self._remembered[name] = (now + seconds, value)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return value  # type: ignore[no-any-return]

    @property
    def api(self) -> ExtendClient:
        """Return the API client, made on first use."""
        if self._client is None:
            self._client = self.connect()
            self._client.on_write_answered = lambda request_id: write_record().note_request(request_id)
            self._client.on_key_accepted = self.learn_key
            if self.histories is not None:
                self._client.on_run_gone = partial(self.histories.forget, self.caller.account)
        return self._client

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

    async def aclose(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


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
    """

    def __init__(
        self,
        make: Callable[[Caller], CallerContext],
        *,
        local: Caller | None,
        close: Callable[[], Awaitable[None]],
        most: int = _MOST_CALLERS,
    ) -> None:
        self._make = make
        self._local = local
        self._close = close
        self._contexts: Kept[Caller, CallerContext] = Kept(most)

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

    def context_of(self, caller: Caller) -> CallerContext:
        """Return the context of one caller."""
        return self._contexts.of(caller, lambda: self._make(caller))

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        for context in self._contexts.all():
            await context.aclose()
        await self._close()


class Histories:
    """The kept runs of every account: one store for all callers, opened by the first question."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._opening = anyio.Lock()
        self._store: RunStore | None = None
        self._thread = anyio.CapacityLimiter(1)
        self._accounts: Kept[bytes, RunHistory] = Kept(_MOST_CALLERS)

    @property
    def is_open(self) -> bool:
        """True once a question opened the store; before, one in memory holds nothing."""
        return self._store is not None

    async def of(self, account: Account) -> RunHistory | None:
        """Return the kept runs of one account; None without a key, since nothing can be read then."""
        from extend_mcp.history.history import RunHistory
        from extend_mcp.history.store import partition

        if account.api_key is None:
            return None
        name, store = partition(account, self._settings.api_base_url), await self._opened()
        return self._accounts.of(name, lambda: RunHistory(store, self._thread, name, self._clock))

    def note_change(self, event: ServerEvent) -> None:
        """Note on the bus of events that a run changed, of any account."""
        named = named_by(event.uri) if isinstance(event, ResourceUpdated) else None
        if named is not None and named.kind == "run":
            for history in self._accounts.all():
                history.note_change(named.id)

    async def forget(self, account: Account, run_id: str, deleted: bool) -> None:
        """Remove a run that the API no longer has. A store in memory that no question opened holds none."""
        if self._store is None and self._settings.history == "memory":
            return
        history = await self.of(account)
        if history is not None:
            await history.forget(run_id, deleted=deleted)

    async def aclose(self) -> None:
        """Close the store. A call after this opens it again."""
        store, self._store = self._store, None
        self._accounts = Kept(_MOST_CALLERS)
        if store is not None:
            await anyio.to_thread.run_sync(store.close, limiter=self._thread)

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

    The first call loads httpx and the client, not the start of the server: clients wait for the tool list. ``windows``
    makes the window that counts an account's requests; by default each process counts alone.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, windows: Callable[[str, int], RequestWindow] | None = None
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._windows = windows
        self._limiters: Kept[str, RateLimiter] = Kept(_MOST_LIMITERS)
        self._transport: httpx.AsyncBaseTransport | None = None

    def client(self, caller: Caller) -> ExtendClient:
        """Return the API client of one caller: their key, the shared connections."""
        from extend_mcp.api.client import ExtendClient

        config = self._settings.client_config(caller.account)
        limiter = None if self._settings.sandbox else self._limiter(caller.account)
        return ExtendClient(
            config, transport=self._shared(), limiter=limiter, caller=caller.principal, metrics=self._metrics
        )

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _limiter(self, account: Account) -> RateLimiter:
        from extend_mcp.api.rate_limit import LocalWindow, RateLimiter

        name, per_second = account.budget, self._settings.requests_per_second

        def make() -> RateLimiter:
            return RateLimiter(self._windows(name, per_second) if self._windows else LocalWindow(per_second))

        return self._limiters.of(name, make)

    def _shared(self) -> httpx.AsyncBaseTransport:
        from extend_mcp.api.transport import SharedTransport, network_transport

        if self._transport is None:
            if self._settings.sandbox:
                import httpx

                from extend_mcp.sandbox import Sandbox

                self._transport = httpx.ASGITransport(Sandbox().app)
            else:
                self._transport = network_transport(self._settings.api_base_url)
        return SharedTransport(self._transport)
