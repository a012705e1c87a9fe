"""The connections of the HTTP server: none may wait for its request forever, and idle ones make room for new ones."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ModuleNotFoundError:  # Windows, which has no limit on open files to look at
    resource = None  # type: ignore[assignment]

_OTHER_FILES: Final = 200
"""Open files that are left to everything but clients: requests to Extend, Redis, logs."""


class Connections:
    """Makes uvicorn's protocol for each connection, and knows which connections have no request in progress.

    Args:
        most: the most open connections. Beyond it the one that has been idle longest is closed, not the new one: a
            probe is a new one. A connection with a request in progress is never closed.
        header_seconds: the longest time for a connection to send the headers of a request.
    """

    def __init__(self, *, most: int, header_seconds: float) -> None:
        self.header_seconds = header_seconds
        self._most = min(most, _open_files(most))
        self._open = 0
        self._idle: dict[Connection, None] = {}

    def __call__(self, *args: Any, **options: Any) -> Connection:
        """Make the protocol of a new connection; called by uvicorn."""
        return Connection(self, *args, **options)

    def opened(self, connection: Connection) -> None:
        """Count a connection, and make room for it."""
        self._open += 1
        if self._open > self._most and self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.transport.abort()
        self.note(connection, idle=True)

    def closed(self, connection: Connection) -> None:
        """Stop counting a connection."""
        self._open -= 1
        self.note(connection, idle=False)

    def note(self, connection: Connection, *, idle: bool) -> None:
        """Note whether a connection has a request in progress."""
        if idle:
            self._idle.setdefault(connection)
        else:
            self._idle.pop(connection, None)


class Connection(H11Protocol):
    """A connection that is closed when the headers of its next request do not arrive in time.

    uvicorn has a timeout between two requests, which the first byte of the second one ends, and none before the first.
    """

    def __init__(self, connections: Connections, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all = connections
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._all.opened(self)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        # What the client sent meanwhile may have begun the next request.
        self._look(between_requests=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._all.closed(self)
        super().connection_lost(exc)

    def end(self) -> None:
        """Close the connection. Nothing is lost: no request is in progress."""
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.close()
            # A client that does not read its last response would keep a closing connection forever.
            self.loop.call_later(self._all.header_seconds, self.transport.abort)

    # uvicorn calls it when no further request comes.
    timeout_keep_alive_handler = end

    def _look(self, *, between_requests: bool = False) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        self._all.note(self, idle=idle)
        if not idle:
            self._stop_waiting()
        elif not between_requests:
            self._wait_for_headers()

    def _wait_for_headers(self) -> None:
        # A client that sends a byte now and then gets no more time.
        if self._headers_due is None and not self.transport.is_closing():
            self._headers_due = self.loop.call_later(self._all.header_seconds, self.end)

    def _stop_waiting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None


def _open_files(most: int) -> int:
    """Return how many connections this process can hold, after raising its limit of open files if it may."""
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return max(raised - _OTHER_FILES, raised // 2)
