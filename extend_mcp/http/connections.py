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


class Connection(H11Protocol):
    """A connection that is closed when the headers of its next request do not arrive in time.

    uvicorn has a timeout between two requests, which the first byte of the second one ends, and none before the first.
    Beyond the ``most`` connections the one that waits longest is closed, not the new one: a probe is a new one. A
    connection with a request in progress is never closed.
    """

    def __init__(self, *args: Any, most: int, header_seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._most = most
        self._header_seconds = header_seconds
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room, and begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            others = [each for each in self.connections if isinstance(each, Connection)]
            waiting = {each: each._headers_due.when() for each in others if each._headers_due}
            if waiting:
                oldest = min(waiting, key=waiting.__getitem__)
                oldest._stop_waiting()
                oldest.transport.abort()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless the client sent it meanwhile."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def end(self) -> None:
        """Close the connection. Nothing is lost: no request is in progress."""
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.close()
            # A client that does not read its last response would keep a closing connection forever.
            self.loop.call_later(self._header_seconds, self.transport.abort)

    # uvicorn calls it when no further request comes.
    timeout_keep_alive_handler = end

    def _look(self) -> None:
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            self._stop_waiting()
        elif self._headers_due is None:
            # A client that sends a byte now and then gets no more time.
            self._headers_due = self.loop.call_later(self._header_seconds, self.end)

    def _stop_waiting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None


def open_files(most: int) -> int:
    """Return how many connections this process can hold, after raising its limit of open files if it may."""
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return min(most, max(raised - _OTHER_FILES, raised // 2))
