"""Name extend-mcp and its baselines, and how each is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from kit.processes import BENCHMARKS, PROGRAM, Child


@dataclass(frozen=True)
class Server:
    """A server that makes calls to Extend.

    Attributes:
        name: for the report.
        stdio: the command that serves over stdio.
        http: the command that serves over HTTP, with ``{port}`` in place of the port.
    """

    name: str
    stdio: tuple[str, ...]
    http: tuple[str, ...] = ()

    def start_http(self, port: int, **environment: str) -> Child:
        """Start it over HTTP.

        Raises:
            RuntimeError: it does not listen within 30 seconds.
        """
        child = Child([part.replace("{port}", str(port)) for part in self.http], **environment)
        try:
            child.wait_for_port(port)
        except BaseException:
            child.__exit__()
            raise
        return child


OURS = Server(
    "extend-mcp",
    (*PROGRAM, "serve"),
    (*PROGRAM, "serve", "--transport", "http", "--host", "127.0.0.1", "--port", "{port}"),
)


def earlier(python: str | None) -> tuple[Server, ...]:
    """Return the earlier version that is installed for another Python; nothing without one."""
    # Not `-m extend_mcp`, which takes the package of the folder where it is started: this version.
    program = (str(Path(python or "").with_name("extend-mcp")),) if python else ()
    stdio = (*program, *OURS.stdio[len(PROGRAM) :])
    return (Server("extend-mcp, earlier", stdio, (*program, *OURS.http[len(PROGRAM) :])),) if python else ()


OURS_ALL = Server("extend-mcp, all toolsets", (*OURS.stdio, "--toolsets", "all"))

PING = Server("bare SDK, one tool", (sys.executable, str(BENCHMARKS / "bare_server.py")))
"""Makes no call: the cost of the SDK itself."""

_CALLING = (sys.executable, str(BENCHMARKS / "bare_http_server.py"))
WHOLE = Server("bare SDK, raw JSON", (*_CALLING, "0"), (*_CALLING, "{port}"))
"""Makes the same calls and returns the whole response, as a first draft would."""
BRIEF = Server("bare SDK, id and status", (*WHOLE.stdio, "brief"), (*WHOLE.http, "brief"))
"""Makes the same calls, parses the response, and returns next to nothing: the least that a server can do."""


def arguments(tool: str, run_id: str) -> dict[str, object]:
    """Return the arguments of ``list_runs`` (20 runs) or ``get_workflow_run``."""
    return {"run_id": run_id} if tool == "get_workflow_run" else {"page_size": 20}
