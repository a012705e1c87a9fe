"""The client over a socket: what it sends, how often, and what it makes of every kind of answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from extend_mcp import __version__
from extend_mcp.api.base import Pager
from extend_mcp.api.client import ExtendClient
from extend_mcp.api.errors import (
    AuthenticationError,
    ConnectFailedError,
    ExtendError,
    InvalidRequestError,
    MalformedResponseError,
    MissingApiKeyError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ResponseLostError,
    ServerError,
    UnexpectedStatusError,
)
from extend_mcp.api.requests import CreateWorkflowRun, FileFromId, FileFromText, FileFromUrl, WorkflowTarget
from tests.api.server import Answer, Server, answering, calling

KEY = "sk_canary_7c1b"
BODY = CreateWorkflowRun(workflow=WorkflowTarget(id="workflow_1"), file=FileFromText(text="hello"))

Call = Callable[[ExtendClient], Awaitable[Any]]


def get(client: ExtendClient) -> Awaitable[Any]:
    return client.get_workflow_run("workflow_run_1")


def cancel(client: ExtendClient) -> Awaitable[Any]:
    return client.cancel_workflow_run("workflow_run_1")


def create(client: ExtendClient) -> Awaitable[Any]:
    return client.create_workflow_run(BODY)


class Slept:
    """Replaces sleeping: records how long."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.times.append(seconds)


def client_of(server: Server, slept: Slept | None = None, **given: Any) -> AbstractAsyncContextManager[ExtendClient]:
    return calling(server.url, **{"api_key": SecretStr(KEY), "sleep": slept or Slept(), **given})


async def test_every_request_carries_key_version_and_who_is_asking() -> None:
    async with answering() as server, client_of(server, workspace_id="ws_1") as client:
        await get(client)
        await cancel(client)
        await create(client)
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/workflow_runs/workflow_run_1"),
        ("POST", "/workflow_runs/workflow_run_1/cancel"),
        ("POST", "/workflow_runs"),
    ]
    for seen in server.seen:
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.headers["x-extend-api-version"] == "2026-02-09"
        assert seen.headers["x-extend-workspace-id"] == "ws_1"
        assert seen.headers["user-agent"] == f"extend-mcp/{__version__}"
    assert server.seen[1].body == b""
    assert json.loads(server.seen[2].body) == {"workflow": {"id": "workflow_1"}, "file": {"text": "hello"}}


async def test_without_a_workspace_the_header_is_not_sent() -> None:
    async with answering() as server, client_of(server) as client:
        await get(client)
    assert "x-extend-workspace-id" not in server.seen[0].headers


@pytest.mark.parametrize(
    ("file", "wire"),
    [
        (FileFromUrl(url="https://e.test/a.pdf", name="a.pdf"), {"url": "https://e.test/a.pdf", "name": "a.pdf"}),
        (FileFromId(id="file_1"), {"id": "file_1"}),
        (FileFromText(text="x", name="n"), {"text": "x", "name": "n"}),
    ],
)
async def test_a_create_says_exactly_what_was_given(file: Any, wire: dict[str, str]) -> None:
    body = CreateWorkflowRun(
        workflow=WorkflowTarget(id="workflow_1", version="draft"), file=file, priority=3, metadata={"aB": {"c_d": None}}
    )
    async with answering() as server, client_of(server) as client:
        await client.create_workflow_run(body)
    assert json.loads(server.seen[0].body) == {
        "workflow": {"id": "workflow_1", "version": "draft"},
        "file": wire,
        "priority": 3,
        "metadata": {"aB": {"c_d": None}},
    }


LISTS: dict[str, Callable[..., Pager[Any]]] = {
    "/workflow_runs?batchId=b&": lambda api, **page: api.list_workflow_runs(batch_id="b", **page),
    "/extract_runs?status=FAILED&sortBy=createdAt&source=WORKFLOW_RUN&": lambda api, **page: api.list_child_runs(
        "extract_runs", status="FAILED", sort_by="createdAt", **page
    ),
    "/workflows?sortBy=createdAt&sortDir=asc&": lambda api, **page: api.list_workflows(
        sort_by="createdAt", sort_dir="asc", **page
    ),
    "/workflows/w/versions?sortDir=desc&": lambda api, **page: api.list_workflow_versions("w", sort_dir="desc", **page),
    "/files?nameContains=a&sortDir=asc&": lambda api, **page: api.list_files(name_contains="a", sort_dir="asc", **page),
    "/webhook_endpoints?sortDir=asc&": lambda api, **page: api.list_webhook_endpoints(sort_dir="asc", **page),
    "/webhook_subscriptions?webhookEndpointId=e&resourceId=r&sortDir=asc&": lambda api, **page: (
        api.list_webhook_subscriptions(webhook_endpoint_id="e", resource_id="r", sort_dir="asc", **page)
    ),
}


def test_every_list_is_tried() -> None:
    assert len(LISTS) == sum(name.startswith("list_") and name != "list_of" for name in dir(ExtendClient))


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_reads_page_by_page_and_only_as_far_as_its_reader(path: str) -> None:
    pages = [
        Answer(body=json.dumps({"data": [{"id": each} for each in ids], "nextPageToken": token}).encode())
        for ids, token in (("ab", "t1"), ("", "t2"), ("c", None))
    ]
    async with answering(*pages) as server, client_of(server) as client:
        assert [item.id async for page in LISTS[path](client).pages() for item in page.data] == ["a", "b", "c"]
    queries = [f"{seen.path}&".replace("maxPageSize=100&", "") for seen in server.seen]
    assert queries == [path, f"{path}nextPageToken=t1&", f"{path}nextPageToken=t2&"]
    async with answering(*pages) as server, client_of(server) as client:
        async with aclosing(LISTS[path](client).pages()) as read:
            assert (await anext(read)).data[0].id == "a"
        assert len(server.seen) == 1
    async with answering(*pages[1:]) as server, client_of(server) as client:
        later = [page async for page in LISTS[path](client, next_page_token="t1", max_page_size=2).pages()]
        assert [len(page.data) for page in later] == [0, 1]
        assert ["maxPageSize=2" in seen.path for seen in server.seen] == [True, True]
        assert "nextPageToken=t1" in server.seen[0].path
    async with answering(*pages) as server, client_of(server) as client:
        assert [item.id for item in (await LISTS[path](client)).data] == ["a", "b"]
        assert "maxPageSize" not in server.seen[0].path


async def test_list_filters_go_by_their_wire_names_and_absent_ones_not_at_all() -> None:
    page = Answer(body=b'{"object": "list", "data": [{"id": "workflow_run_1"}, 5], "nextPageToken": "a==:b+/c="}')
    async with answering(page) as server, client_of(server) as client:
        found = await client.list_workflow_runs(
            status="FAILED",
            workflow_id="workflow_1",
            batch_id="batch_1",
            file_name_contains="inv oice",
            sort_by="createdAt",
            sort_dir="asc",
            next_page_token="a==:b+/c=",
            max_page_size=5,
        )
        await client.list_workflow_runs()
        await client.list_workflows(max_page_size=2)
    assert [run.id for run in found.data] == ["workflow_run_1"]
    assert found.next_page_token == "a==:b+/c="
    query = server.seen[0].path.partition("?")[2]
    assert sorted(query.split("&")) == [
        "batchId=batch_1",
        "fileNameContains=inv+oice",
        "maxPageSize=5",
        "nextPageToken=a%3D%3D%3Ab%2B%2Fc%3D",
        "sortBy=createdAt",
        "sortDir=asc",
        "status=FAILED",
        "workflowId=workflow_1",
    ]
    assert server.seen[1].path == "/workflow_runs"
    assert server.seen[2].path == "/workflows?maxPageSize=2"


PASSING = [408, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", PASSING)
async def test_a_read_that_fails_in_passing_is_sent_again_and_a_write_never(status: int) -> None:
    async with answering(Answer(status, b"{}"), Answer()) as server, client_of(server) as client:
        assert (await get(client)).id == "workflow_run_1"
        assert len(server.seen) == 2
    for write in (cancel, create):
        async with answering(Answer(status, b"{}"), Answer()) as server, client_of(server) as client:
            with pytest.raises(ExtendError) as problem:
                await write(client)
            assert len(server.seen) == 1
            assert problem.value.effect == ("none" if status == 429 else "unknown")


@pytest.mark.parametrize("broken", [Answer(silent=True), Answer(cut=10)], ids=["dropped", "truncated"])
async def test_a_broken_connection_is_tried_again_for_a_read_and_reported_for_a_write(broken: Answer) -> None:
    async with answering(broken, broken, Answer()) as server, client_of(server) as client:
        assert (await get(client)).id == "workflow_run_1"
        assert len(server.seen) == 3
    for write in (cancel, create):
        async with answering(broken) as server, client_of(server) as client:
            with pytest.raises(ResponseLostError) as problem:
                await write(client)
            assert problem.value.effect == "unknown"
            assert "may have taken effect" in problem.value.next_step
            assert len(server.seen) == 1


async def test_a_read_is_given_up_after_four_attempts_with_waits_that_grow_and_vary() -> None:
    slept = Slept()
    async with answering(Answer(503, b"{}")) as server, client_of(server, slept) as client:
        with pytest.raises(ServerError) as problem:
            await get(client)
    assert len(server.seen) == 4
    assert problem.value.effect == "none"
    assert len(slept.times) == 3
    assert all(0 <= wait <= most for wait, most in zip(slept.times, (0.5, 1.0, 2.0), strict=True))


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("3", 3, 3),
        ("in 20 s", 5, 20),
        ("soon", 0, 0.5),
    ],
    ids=["seconds", "date", "unreadable"],
)
async def test_retry_after_is_waited_for(header: str, least: float, most: float) -> None:
    slept = Slept()
    if header == "in 20 s":
        # Reckoned now: between the collection of the tests and this one, much time may pass.
        header = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=20), usegmt=True)
    limited = Answer(429, b"{}", {"retry-after": header})
    async with answering(limited, Answer()) as server, client_of(server, slept) as client:
        await get(client)
    [wait] = slept.times
    assert least <= wait <= most


async def test_a_long_retry_after_is_handed_up_at_once() -> None:
    slept = Slept()
    async with answering(Answer(429, b"{}", {"retry-after": "3600"})) as server, client_of(server, slept) as client:
        with pytest.raises(RateLimitedError) as problem:
            await get(client)
    assert (len(server.seen), slept.times) == (1, [])
    assert problem.value.retry_after == 3600
    assert "3600 seconds" in problem.value.next_step


@pytest.mark.parametrize("call", [get, cancel, create])
async def test_nothing_was_sent_where_nobody_listens(call: Call) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = Server(f"http://127.0.0.1:{free.getsockname()[1]}", [])
    async with client_of(closed) as client:
        with pytest.raises(ConnectFailedError) as problem:
            await call(client)
    assert problem.value.effect == "none"


@pytest.mark.parametrize(("call", "effect"), [(get, "none"), (cancel, "unknown"), (create, "unknown")])
async def test_a_server_that_hangs_is_left_at_the_deadline(call: Call, effect: str) -> None:
    async with (
        answering(Answer(wait=asyncio.Event())) as server,
        client_of(server, total_timeout=0.2) as client,
    ):
        with pytest.raises(ResponseLostError, match="total time") as problem:
            await call(client)
    assert problem.value.effect == effect


async def test_a_silent_server_is_left_at_the_read_timeout() -> None:
    async with (
        answering(Answer(wait=asyncio.Event())) as server,
        client_of(server, read_timeout=0.1, max_attempts=2) as client,
    ):
        with pytest.raises(ResponseLostError, match="in time"):
            await get(client)
    assert len(server.seen) == 2


KINDS = [
    (400, InvalidRequestError),
    (401, AuthenticationError),
    (402, PaymentRequiredError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (422, InvalidRequestError),
    (307, UnexpectedStatusError),
    (418, UnexpectedStatusError),
]
FIELDS = b'{"code": "SOME_CODE", "message": "what is wrong", "retryable": false, "requestId": "req_1"}'
SHAPES = {
    "flat": FIELDS,
    "wrapped": b'{"error": %b}' % FIELDS,
    "text": b'{"error": "what is wrong"}',
    "legacy": b'{"success": false, "error": "what is wrong"}',
    "plain": b"what is wrong",
    "html": b"<html><head><title>x</title></head><body><h1>what is wrong</h1></body></html>",
}


@pytest.mark.parametrize(("status", "kind"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_every_refusal_is_its_own_error_in_every_shape(status: int, kind: type[ExtendError], shape: str) -> None:
    answer = Answer(status, SHAPES[shape], {"x-extend-request-id": "req_1", "location": "/elsewhere"})
    async with answering(answer) as server, client_of(server) as client:
        with pytest.raises(kind) as problem:
            await cancel(client)
    error = problem.value
    assert type(error) is kind
    assert (error.status, error.request_id, error.message) == (status, "req_1", "what is wrong")
    assert error.code == ("SOME_CODE" if shape in ("flat", "wrapped") else None)
    assert error.retryable is False
    assert error.effect == ("unknown" if status == 307 else "none")
    assert len(server.seen) == 1


async def test_the_body_s_word_on_retrying_counts() -> None:
    async with answering(Answer(500, b'{"message": "m", "retryable": false}')) as server, client_of(server) as client:
        with pytest.raises(ServerError) as problem:
            await cancel(client)
    assert problem.value.retryable is False


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"id": "a"', b'{"data": []}', b'{"id": NaN}', b"{}"]
)
async def test_a_good_status_with_something_else_behind_it_is_malformed(body: bytes) -> None:
    async with answering(Answer(200, body)) as server, client_of(server) as client:
        with pytest.raises(MalformedResponseError) as read:
            await get(client)
        with pytest.raises(MalformedResponseError) as wrote:
            await cancel(client)
        if body != b'{"data": []}':
            with pytest.raises(MalformedResponseError):
                await client.list_workflow_runs()
    assert (read.value.effect, wrote.value.effect) == ("none", "unknown")


async def test_gzip_is_read_and_a_bomb_is_stopped() -> None:
    whole = Answer(body=gzip.compress(b'{"id": "workflow_run_1"}'), headers={"content-encoding": "gzip"})
    bomb = Answer(body=gzip.compress(b" " * 80_000_000), headers={"content-encoding": "gzip"})
    async with answering(whole, bomb) as server, client_of(server) as client:
        assert (await get(client)).id == "workflow_run_1"
        with pytest.raises(MalformedResponseError, match="too large"):
            await get(client)


@pytest.mark.parametrize("call", [get, cancel, create])
@pytest.mark.parametrize("key", [None, "", "  "])
async def test_without_a_key_nothing_is_sent(call: Call, key: str | None) -> None:
    async with answering() as server:
        async with client_of(server, api_key=SecretStr(key) if key is not None else None) as client:
            with pytest.raises(MissingApiKeyError, match="EXTEND_API_KEY"):
                await call(client)
        assert server.seen == []


@pytest.mark.parametrize("run_id", ["", ".", ".."])
async def test_an_id_that_would_climb_is_refused(run_id: str) -> None:
    async with answering() as server:
        async with client_of(server) as client:
            with pytest.raises(InvalidRequestError, match="nothing was sent"):
                await client.get_workflow_run(run_id)
        assert server.seen == []


async def test_an_odd_id_stays_one_segment() -> None:
    async with answering() as server, client_of(server) as client:
        await client.get_workflow_run("a/../b?c#d")
    assert server.seen[0].path == "/workflow_runs/a%2F..%2Fb%3Fc%23d"


@pytest.mark.parametrize(
    "answer",
    [Answer(401, f'{{"message": "bad key Bearer {KEY}"}}'.encode()), Answer(500, KEY.encode()), Answer(silent=True)],
    ids=["echoed in json", "echoed in text", "dropped"],
)
async def test_the_key_is_in_no_error_repr_or_traceback(answer: Answer) -> None:
    async with answering(answer) as server, client_of(server) as client:
        assert KEY not in repr(client) + repr(client.config)
        with pytest.raises(ExtendError) as problem:
            await get(client)
    error = problem.value
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert KEY not in printed + repr(error) + repr(vars(error))
