"""Subscriptions to resources, in every protocol version, and only to what the caller may read.

- 2026-07-28: ``subscriptions/listen``, a separate stream (MCP specification, Subscriptions).
- 2025-11-25 and before: ``resources/subscribe``, notified on the session's open stream.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent, SubscriptionBus
from mcp.shared.exceptions import MCPError

from extend_mcp.accounts import Caller
from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.callers import CallerContext, CallerRegistry
from extend_mcp.clock import Clock
from extend_mcp.limits import Shares
from extend_mcp.mcp_compat import connection_of
from extend_mcp.tools.run_scan import in_parallel
from extend_mcp.views.document import error_words
from extend_mcp.views.untrusted import Note
from extend_mcp.views.uris import named_by

logger = logging.getLogger(__name__)

MOST_URIS: Final = 50
"""The most resources that one subscription may name: each is read once, to check that the caller may."""

_READ_AT_ONCE: Final = 5

_SEND_SECONDS: Final = 10.0
"""The time that a client has to accept one notification before it is dropped."""

_STATE: Final = "extend_mcp.subscriptions"

_Context = ServerRequestContext[CallerRegistry, Any]


@dataclass
class Subscriptions:
    """Serves the subscriptions of all clients of this process.

    Attributes:
        shares: how many are open, and may be.
        still_valid: checks the credential of a caller before each notification; None without authentication.
        tasks: checks callers and sends notifications while the server runs.
    """

    bus: SubscriptionBus
    registry: CallerRegistry
    clock: Clock
    shares: Shares
    still_valid: Callable[[Caller], Awaitable[bool]] | None = None
    tasks: TaskGroup | None = None
    _listening: set[ListenHandler] = field(default_factory=set)

    async def listen(
        self, ctx: _Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one ``subscriptions/listen`` until the client leaves, the server ends, or the credential expires."""
        caller, uris = self.registry.caller(), list(params.notifications.resource_subscriptions or ())
        with ExitStack() as exits:
            self._admit(caller, exits)
            await check_readable(self.registry.current(), uris)
            # One handler a stream: each stream is notified of the steps that it named along with their run.
            bus = _CallerBus(self, caller, uris)
            handler = ListenHandler(bus)
            bus.end = handler.close
            self._listening.add(handler)
            exits.callback(self._listening.discard, handler)
            async with anyio.create_task_group() as tasks:
                if caller.expires_at is not None:
                    left = caller.expires_at - self.clock.now().timestamp()
                    tasks.start_soon(self._end_after, handler, left)
                result = await handler(ctx, params)
                tasks.cancel_scope.cancel()
            return result

    async def subscribe(self, ctx: _Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/subscribe`` of a client of 2025-11-25 and before."""
        connection, uri = connection_of(ctx), str(params.uri)
        held: dict[str, Callable[[], None]] = connection.state.setdefault(_STATE, {})
        if uri in held:
            return types.EmptyResult()
        if len(held) >= MOST_URIS:
            raise MCPError(types.INTERNAL_ERROR, f"A session holds {MOST_URIS} subscriptions at most.")
        caller = self.registry.caller()

        def on_event(event: ServerEvent) -> None:
            if isinstance(event, ResourceUpdated) and self.tasks is not None:
                self.tasks.start_soon(_notify, connection, uri)

        with ExitStack() as exits:
            self._admit(caller, exits)
            await check_readable(self.registry.current(), [uri])
            bus = _CallerBus(self, caller, [uri])
            exits.callback(bus.subscribe(on_event))
            exits.callback(held.pop, uri, None)
            bus.end = held[uri] = exits.pop_all().close
        connection.exit_stack.callback(bus.end)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: _Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/unsubscribe``; an unknown subscription is no error."""
        end = connection_of(ctx).state.get(_STATE, {}).get(str(params.uri))
        if end is not None:
            end()
        return types.EmptyResult()

    def close(self) -> None:
        """End every listening stream; each still sends what it has buffered."""
        for handler in list(self._listening):
            handler.close()

    def _admit(self, caller: Caller, exits: ExitStack) -> None:
        if exits.enter_context(self.shares.hold(caller.principal)):
            raise MCPError(types.INTERNAL_ERROR, "Too many subscriptions are open; close one, or try later.")

    async def is_valid(self, caller: Caller) -> bool:
        """Return whether a caller's credential counts still."""
        if caller.expires_at is not None and caller.expires_at <= self.clock.now().timestamp():
            return False
        return self.still_valid is None or await self.still_valid(caller)

    async def _end_after(self, handler: ListenHandler, seconds: float) -> None:
        await self.clock.sleep(max(seconds, 0.0))
        handler.close()


@dataclass
class _CallerBus:
    """A bus of the resources that a subscriber named. Each notification follows a check of the caller's credential.

    Events name runs, and a change of a run is also one of its steps. Only the reader knows which step a URI means:
    there are several ways to write one. A subscription whose credential no longer counts is ended.
    """

    of: Subscriptions
    caller: Caller
    uris: Sequence[str]
    end: Callable[[], None] | None = None

    async def publish(self, event: ServerEvent) -> None:
        """Pass an event on."""
        await self.of.bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a listener."""
        changed_with: dict[str, list[ServerEvent]] = {}
        for uri in dict.fromkeys(self.uris):
            for changed in {uri, uri.partition("/steps/")[0]}:
                changed_with.setdefault(changed, []).append(ResourceUpdated(uri))

        def on_event(event: ServerEvent) -> None:
            for each in changed_with.get(event.uri, ()) if isinstance(event, ResourceUpdated) else [event]:
                if self.of.tasks is not None:
                    self.of.tasks.start_soon(self._deliver, partial(listener, each))

        return self.of.bus.subscribe(on_event)

    async def _deliver(self, notify: Callable[[], None]) -> None:
        try:
            valid = await self.of.is_valid(self.caller)
        except Exception:
            # A failed check must neither notify the caller nor end the subscriptions of all others.
            logger.exception("the caller %s could not be checked", self.caller.principal)
            return
        if valid:
            notify()
        elif self.end is not None:
            self.end()


async def _notify(connection: Connection, uri: str) -> None:
    with anyio.move_on_after(_SEND_SECONDS):
        await connection.send_resource_updated(uri)


async def check_readable(app: CallerContext, uris: Sequence[str]) -> None:
    """Read each resource once with the caller's own key.

    Raises:
        MCPError: a resource is not ours, not there, or not theirs - which look the same - or could not be read.
    """
    if len(uris) > MOST_URIS:
        raise MCPError(
            types.INVALID_PARAMS, f"{len(uris)} resources in one subscription; at most {MOST_URIS} are taken."
        )
    waiting, refusals = list(uris), list[str]()

    async def work() -> None:
        while waiting and not refusals:
            refusal = await _refusal(app, waiting.pop())
            refusals.extend([refusal] if refusal else ())

    await in_parallel(work, min(_READ_AT_ONCE, len(waiting)))
    if refusals:
        raise MCPError(types.INVALID_PARAMS, refusals[0])


async def _refusal(app: CallerContext, uri: str) -> str | None:
    """Return why the caller may not follow a resource; None if they may."""
    named, shown = named_by(uri), f"{Note(uri)}"
    if named is None:
        return f"{shown} is no resource of this server."
    absent = f"{shown}: there is no such object for this API key."
    try:
        if named.kind == "run":
            await app.api.get_workflow_run(named.id)
        elif named.kind == "workflow":
            await app.api.get_workflow(named.id)
        elif named.kind == "batch":
            page = await app.api.list_workflow_runs(batch_id=named.id, max_page_size=1)
            return None if page.data else absent
    except (NotFoundError, ValueError):
        return absent
    except ExtendError as error:
        return f"{shown}: {error_words(error)}."
    return None
