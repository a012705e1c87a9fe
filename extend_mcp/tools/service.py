"""All callers of one server: hands each call the parts of whoever makes it, and never those of another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from extend_mcp.callers import Caller
from extend_mcp.tools.app import App

_MOST_CALLERS = 1000


class CallerUser(AuthenticatedUser):
    """A caller in the shape in which the SDK carries them through a request.

    The SDK binds sessions and sealed state to client, issuer and subject, so these name the caller; the token itself
    is left out, since nothing behind the door needs it.
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
    """A call reached the server without a caller: a fault of the serving, never answered with anybody's rights."""


class Service:
    """The parts of every caller, made on their first call.

    Args:
        make: makes the parts of one caller.
        local: the caller of a transport that authenticates nobody; None where every call must bring its own.
        close: closes the connections that all callers share.
        most: how many callers' parts are kept; the one longest unused makes room. Nothing is lost with them but
            what can be read again.
    """

    def __init__(
        self,
        make: Callable[[Caller], App],
        *,
        local: Caller | None,
        close: Callable[[], Awaitable[None]],
        most: int = _MOST_CALLERS,
    ) -> None:
        self._make = make
        self._local = local
        self._close = close
        self._most = most
        self._apps: OrderedDict[Caller, App] = OrderedDict()

    def caller(self) -> Caller:
        """Who makes the call at hand.

        Raises:
            UnknownCallerError: nobody was identified, and this server has no caller of its own.
        """
        user = auth_context_var.get()
        if isinstance(user, CallerUser):
            return user.caller
        if self._local is None:
            raise UnknownCallerError("a call without a caller")
        return self._local

    def app(self) -> App:
        """The parts of whoever makes the call at hand."""
        return self.app_of(self.caller())

    def app_of(self, caller: Caller) -> App:
        """The parts of one caller."""
        app = self._apps.get(caller)
        if app is None:
            app = self._apps[caller] = self._make(caller)
            while len(self._apps) > self._most:
                self._apps.popitem(last=False)
        else:
            self._apps.move_to_end(caller)
        return app

    async def aclose(self) -> None:
        """Close all connections. A call after this opens new ones."""
        for app in self._apps.values():
            await app.aclose()
        await self._close()
