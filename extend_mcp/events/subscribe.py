"""Subscriptions to resources, in every protocol version, and only to what the caller may read.

- 2026-07-28: ``subscriptions/listen``, a separate stream (MCP specification, Subscriptions).
- 2025-11-25 and before: ``resources/subscribe``, notified on the session's open stream.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server import subscriptions as mcp_bus
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from extend_mcp.accounts import Caller
from extend_mcp.actions.store import alongside
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

# The most resources that one subscription may name: each is read once, to check that the caller may.
MOST_URIS: Final = 50
_READ_AT_ONCE: Final = 5
_SEND_SECONDS: Final = 10.0  # the time that a client has to accept one notification before it is dropped
_STATE: Final = "extend_mcp.subscriptions"
_Context = ServerRequestContext[CallerRegistry, Any]
_End = Callable[[], None]


@dataclass
class Subscriptions:
    """Serves the subscriptions of all clients of this process.

    ``still_valid`` checks a caller's credential before each notification; None without authentication. ``on_end`` is
    called when the server ends: each listening stream still sends what it has buffered. ``tasks`` run until then.
    """

    bus: mcp_bus.SubscriptionBus
    registry: CallerRegistry
    clock: Clock
    shares: Shares
    still_valid: Callable[[Caller], Awaitable[bool]] | None
    on_end: set[Callable[[], object]]
    tasks: TaskGroup = field(init=False)

    async def listen(
        self, ctx: _Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one ``subscriptions/listen`` until the client leaves, the server ends, or the credential expires."""
        caller, uris = self.registry.caller(), list(params.notifications.resource_subscriptions or ())
        with ExitStack() as exits:
            self._admit(caller, exits)
            await check_readable(self.registry.current(), uris)
            # One handler a stream: each stream is notified of the steps that it named along with their run.
            bus = mcp_bus.InMemorySubscriptionBus()
            handler = mcp_bus.ListenHandler(bus)
            self.on_end.add(handler.close)
            exits.callback(self.on_end.discard, handler.close)
            exits.callback(self._forward(caller, uris, bus.publish, handler.close))

            async def end_in_time() -> None:
                if caller.expires_at is not None:
                    await self.clock.sleep(max(caller.expires_at - self.clock.now().timestamp(), 0.0))
                    handler.close()

            async with alongside(end_in_time):
                return await handler(ctx, params)

    async def subscribe(self, ctx: _Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/subscribe`` of a client of 2025-11-25 and before."""
        connection, uri = connection_of(ctx), str(params.uri)
        held: dict[str, _End] = connection.state.setdefault(_STATE, {})
        if uri in held:
            return types.EmptyResult()
        if len(held) >= MOST_URIS:
            raise MCPError(types.INTERNAL_ERROR, f"A session holds {MOST_URIS} subscriptions at most.")
        caller = self.registry.caller()

        async def notify(event: ServerEvent) -> None:
            if isinstance(event, ResourceUpdated):
                with anyio.move_on_after(_SEND_SECONDS):
                    await connection.send_resource_updated(uri)

        with ExitStack() as exits:
            self._admit(caller, exits)
            await check_readable(self.registry.current(), [uri])
            exits.callback(self._forward(caller, [uri], notify, lambda: kept.close()))
            exits.callback(held.pop, uri, None)
            kept = exits.pop_all()
        held[uri] = kept.close
        connection.exit_stack.callback(kept.close)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: _Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/unsubscribe``; an unknown subscription is no error."""
        connection_of(ctx).state.get(_STATE, {}).get(str(params.uri), lambda: None)()
        return types.EmptyResult()

    def _admit(self, caller: Caller, exits: ExitStack) -> None:
        if exits.enter_context(self.shares.hold(caller.principal)):
            raise MCPError(types.INTERNAL_ERROR, "Too many subscriptions are open; close one, or try later.")

    def _forward(
        self,
        caller: Caller,
        uris: Sequence[str],
        notify: Callable[[ServerEvent], Awaitable[None]],
        end: Callable[[], None],
    ) -> _End:
        """Notify a subscriber of changes, each time after a check of their credential; return what stops it.

        A subscription whose credential no longer counts is ended. Events name runs, and a change of a run is also one
        of its steps. Only the reader knows which step a URI means: there are several ways to write one.
        """
        changed_with: dict[str, list[ServerEvent]] = {}
        for uri in dict.fromkeys(uris):
            for changed in {uri, uri.partition("/steps/")[0]}:
                changed_with.setdefault(changed, []).append(ResourceUpdated(uri))

        async def deliver(event: ServerEvent) -> None:
            try:
                expired = caller.expires_at is not None and caller.expires_at <= self.clock.now().timestamp()
                if expired or not (self.still_valid is None or await self.still_valid(caller)):
                    end()
                else:
                    await notify(event)
            except Exception:
                # What fails for one caller must neither notify them nor end the subscriptions of all others.
                logger.exception("the caller %s could not be notified", caller.principal)

        def on_event(event: ServerEvent) -> None:
            for each in changed_with.get(event.uri, ()) if isinstance(event, ResourceUpdated) else [event]:
                self.tasks.start_soon(deliver, each)

        return self.bus.subscribe(on_event)


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
            if refusal := await _refusal(app, waiting.pop()):
                refusals.append(refusal)

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
