"""One table of the whole surface: each endpoint with what serves it on every layer, none of it typed in by hand.

The client column is what our client's method really requests, the sandbox column is the route that answers it, the
tool and view columns are what reaches the endpoint when every tool is called once, and the contract column is the
test in which the official SDK makes the same request.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.routing import Match, Route

from extend_mcp.api.client import ExtendClient
from extend_mcp.sandbox import Sandbox
from extend_mcp.sandbox.api.file_routes import file_routes
from extend_mcp.sandbox.api.run_routes import run_routes
from extend_mcp.sandbox.api.webhook_routes import webhook_routes
from extend_mcp.sandbox.api.workflow_routes import workflow_routes
from tests.api.server import calling
from tests.calls import calls, is_read_only, make_objects, tools
from tests.contract.judge import Judge
from tests.contract.test_request_bodies import CASES, Ids, objects
from tests.harness import Box, Person, facts_of, serving

# Extend API reference: the Workflows section, Files, Webhook endpoints and Webhook subscriptions.
ENDPOINTS = """
POST   /workflow_runs
GET    /workflow_runs
POST   /workflow_runs/batch
GET    /workflow_runs/{id}
POST   /workflow_runs/{id}
DELETE /workflow_runs/{id}
POST   /workflow_runs/{id}/cancel
POST   /workflows
GET    /workflows
GET    /workflows/{id}
POST   /workflows/{id}
POST   /workflows/{id}/versions
GET    /workflows/{id}/versions
GET    /workflows/{id}/versions/{version}
POST   /files/upload
GET    /files
GET    /files/{id}
DELETE /files/{id}
POST   /webhook_endpoints
GET    /webhook_endpoints
GET    /webhook_endpoints/{id}
POST   /webhook_endpoints/{id}
DELETE /webhook_endpoints/{id}
POST   /webhook_subscriptions
GET    /webhook_subscriptions
GET    /webhook_subscriptions/{id}
POST   /webhook_subscriptions/{id}
DELETE /webhook_subscriptions/{id}
""".strip().splitlines()

DONE = ("done", "started", "finished", "still_running", "cancelled")

UPLOAD: dict[str, tuple[Callable[[Any, Ids], Any], Callable[[ExtendClient, Ids], Awaitable[Any]]]] = {
    "upload": (
        lambda sdk, ids: sdk.files.upload(file=("a.pdf", b"x")),
        lambda api, ids: api.upload_file("a.pdf", b"x", content_type="application/pdf"),
    )
}
"""Its body is multipart, with a boundary of each client's own; the other operations are compared byte for byte."""


async def test_every_endpoint_is_served_on_every_layer(
    judge: Judge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routes = _routes()
    assert {f"{method:6} {path}" for method, path in routes} == set(ENDPOINTS)
    client, contract = await _clients(judge, routes)
    reached = await _tools(Box(judge.base_url, judge.sandbox), tmp_path, routes)
    header = "| Endpoint | Client | Sandbox | Tools | Views | Contract: test_both_send_the_same |"
    rows = [header, "|---|---|---|---|---|---|"]
    for endpoint in ENDPOINTS:
        method, path = endpoint.split()
        key = (method, path)
        views = sorted({view for tool in reached.get(key, ()) for view in _views(tool)})
        cells = [
            f"{method} {path}",
            ", ".join(sorted(client.get(key, ()))),
            routes[key],
            ", ".join(sorted(reached.get(key, ()))),
            ", ".join(views),
            ", ".join(sorted(contract.get(key, ()))),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    empty = [row for row in rows if re.search(r"\|\s*\|", row)]
    assert not empty


def _routes() -> dict[tuple[str, str], str]:
    sandbox = Sandbox()
    routes: list[Any] = [
        *run_routes(sandbox),
        *workflow_routes(sandbox),
        *file_routes(sandbox),
        *webhook_routes(sandbox),
    ]
    return {(next(iter(route.methods - {"HEAD"})), route.path): _operation(route) for route in routes}


def _operation(route: Route) -> str:
    # The route's handler closes over the operation that it runs.
    name: str = inspect.getclosurevars(route.endpoint).nonlocals["operation"].__name__
    return name


def _endpoint(request: dict[str, Any], routes: dict[tuple[str, str], str]) -> tuple[str, str] | None:
    if request["status"] is None or request["status"] >= 300:
        return None
    for method, path in routes:
        scope = {"type": "http", "method": request["method"], "path": request["path"]}
        if Route(path, lambda _: None, methods=[method]).matches(scope)[0] is Match.FULL:  # type: ignore[arg-type, return-value]
            return method, path
    return None


Reached = dict[tuple[str, str], set[str]]


async def _clients(judge: Judge, routes: dict[tuple[str, str], str]) -> tuple[Reached, Reached]:
    """Return which of our client's methods, and which of the SDK's operations, reach each endpoint."""
    ours: Reached = {}
    theirs: Reached = {}
    async with calling(judge.base_url) as client:
        for name, (call_sdk, call_us) in (CASES | UPLOAD).items():
            method = re.search(r"api\.(\w+)\(", inspect.getsource(call_us).split("lambda api")[-1])
            for reached, call in ((theirs, call_sdk), (ours, call_us)):
                ids = objects(judge)
                made = call(judge.sdk if call is call_sdk else client, ids)
                if inspect.isawaitable(made):
                    await made
                endpoint = _endpoint(judge.sandbox.log[-1].to_json(), routes)
                assert endpoint, name
                label = f"[{name}]" if call is call_sdk else (method[1] if method else "")
                reached.setdefault(endpoint, set()).add(label)
    public = {name for name in dir(ExtendClient) if not name.startswith("_")}
    assert {name for names in ours.values() for name in names} <= public
    return ours, theirs


async def _tools(box: Box, folder: Path, routes: dict[tuple[str, str], str]) -> Reached:
    """Return which tools reach each endpoint: every tool is called, and a person says yes."""
    reached: Reached = {}
    objects = make_objects(box)
    async with serving(box, person=Person(), toolsets="all", file_roots=[folder]) as client:
        for call in calls():
            box.forget()
            facts = facts_of(await client.call_tool(call.tool, call.on(objects)))
            assert facts.get("outcome", "done") in DONE, (call, facts)
            sent = box.requests()
            # An export writes to the user's machine alone.
            only_reads = is_read_only(call.tool) or call.tool == "export_fields"
            assert all(request["method"] == "GET" for request in sent) == only_reads, (call, sent)
            for request in sent:
                endpoint = _endpoint(request, routes)
                if endpoint:
                    reached.setdefault(endpoint, set()).add(call.tool)
    return reached


def _views(tool: str) -> set[str]:
    """The views that a tool's function is declared to return."""
    declared = inspect.signature(tools()[tool].fn, eval_str=True).return_annotation
    return {each.__name__ for each in get_args(declared) or (declared,) if each.__name__.endswith("View")}
