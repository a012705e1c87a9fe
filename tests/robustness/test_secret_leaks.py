"""Secrets planted wherever one can be, a session full of failures, and every output of the process read for them.

One secret is shown on purpose: the download URL of a file, to the caller who asked `get_file` for it. It must be in
that answer and nowhere else. The signing secret of a new webhook endpoint is shown to the person, not to the model.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from extend_mcp.scopes import SCOPES
from tests.calls import Needs, calls, make_objects
from tests.e2e.test_observability import collecting
from tests.harness import Box, Person, example_run, text_of
from tests.http.keys import AUDIENCE, KEYS, claims, issuers, sign
from tests.redis_server import needs_redis, running_redis

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EXTEND_", "OTEL_"))}
SCENARIO = "empty"
SERVER = str(Path(__file__).parent / "crashing_server.py")
RUN = "workflow_run_canary000000000001"

# None looks like a key of Extend's: patterns must not be what keeps them out.
API_KEY = "canary-api-key-5e2d9a1c"
CALLERS_KEY = "canary-callers-key-77c1b0"
TOKEN = "canary-bearer-token-0123456789abcdef"
WRONG_TOKEN = "canary-wrong-bearer-f00dfeed"
STATE_KEY = "canary-state-key-" + "k" * 32
WEBHOOK_SECRET = "canary-webhook-secret-9d8e"
REDIS_PASSWORD = "canary-redis-password-4b"
WORKFLOW_SECRET = "canary-workflow-secret-31aa"
FILE_PASSWORD = "canary-file-password-6f6f"
SIGNATURE = "canary-presigned-signature-c0ffee"


class Session:
    """A server process, what a client said to it, and all that came out of it.

    Attributes:
        answers: every answer, error and resource, as text.
        shown_urls: the answers that show a download URL on purpose.
    """

    def __init__(self, box: Box, client: Client, person: Person, key: str = API_KEY) -> None:
        self.key = key
        self.box = box
        self.client = client
        self.person = person
        self.answers: list[str] = []
        self.shown_urls: list[str] = []

    async def call(self, tool: str, **arguments: Any) -> str:
        """Call a tool and keep what it says."""
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            said = f"{error!r} {error.error!r}"
        else:
            said = f"{text_of(result)} {json.dumps(result.structured_content)} {result!r}"
        self.answers.append(said)
        return said

    async def play(self) -> None:
        """Everything that can go well or wrong while a secret is known."""
        box, file = self.box, {"object": "file", "id": "file_canary1", "name": "a.pdf", "type": "PDF"}
        url = f"https://bucket.example/a.pdf?X-Amz-Signature={SIGNATURE}"
        signed = {**file, "presignedUrl": url}
        run = example_run(RUN, "PROCESSED")
        box.load({**run, "files": [signed]})
        workflow = box.api("POST", "/workflows", json={"name": "Canary"})["id"]
        box.api("POST", f"/workflows/{workflow}/versions", json={})

        await self.call("list_runs")
        for detail in ("concise", "full"):
            await self.call("get_workflow_run", run_id=RUN, detail=detail)
        secrets = {"db": WORKFLOW_SECRET, "nested": {"token": [WORKFLOW_SECRET]}}
        await self.call("run_workflow", workflow=workflow, text="a", secrets=secrets)
        await self.call("upload_file", text="a", name="a.txt", password=FILE_PASSWORD)
        box.fault(method="GET", path="/files/*", status=200, body=signed)
        await self.call("get_file", file_id="file_canary1", text=True)
        box.fault(method="GET", path="/files/*", status=200, body=signed)
        self.shown_urls.append(await self.call("get_file", file_id="file_canary1", download_url=True))
        self.answers.pop()
        made = await self.call("create_webhook_endpoint", url="https://h.example/hook", name="x", events=[])
        assert "wss_" not in made

        # Every tool, on runs that have ended: no call waits for one.
        objects = make_objects(box)
        moving = (Needs.NEW_RUN, Needs.MOVING_RUN, Needs.QUEUED_RUN, Needs.OTHER_QUEUED_RUN)
        objects |= dict.fromkeys(moving, objects[Needs.DONE_RUN])
        for example in calls():
            if "download_url" not in example.arguments:
                await self.call(example.tool, **example.on(objects))

        # Extend, or a proxy before it, fails; some of them say the secret themselves.
        echo = {"code": "UNAUTHORIZED", "message": f"bad key {self.key}", "requestId": "req_1"}
        for fault in (
            {"status": 401, "body": echo},
            {"status": 400, "body": echo},
            {"status": 500, "body": echo},
            {"status": 502, "text": f"<html>Authorization: Bearer {self.key}</html>"},
            {"text": f"no JSON {self.key}"},
            {"drop": True},
            {"truncate": 9},
        ):
            with_secrets: list[tuple[str, dict[str, Any]]] = [
                ("run_workflow", {"workflow": workflow, "text": "a", "secrets": secrets}),
                ("upload_file", {"text": "a", "password": FILE_PASSWORD}),
            ]
            if fault.get("status") in (400, 401, 502):
                with_secrets.append(("get_file", {"file_id": "file_canary1", "download_url": True}))
            for tool, arguments in with_secrets:
                # As often as a read is tried again.
                box.fault(**fault, times=9)
                await self.call(tool, **arguments)
                box.sandbox.faults.clear()

        # Our own bugs.
        await self.call("list_workflows")
        batch = [{"text": "a", "secrets": secrets, "metadata": {"a": 1}}]
        await self.call("run_workflow_batch", workflow=workflow, inputs=batch)

        # Wrong arguments.
        for wrong in (WORKFLOW_SECRET, [WORKFLOW_SECRET], 5):
            await self.call("run_workflow", workflow=workflow, text="a", secrets=wrong)
            await self.call("run_workflow", workflow=workflow, text="a", secret=WORKFLOW_SECRET)
            await self.call("run_workflow_batch", workflow=workflow, inputs=[{"text": 1, "secrets": wrong}])
            await self.call("upload_file", text="a", password=[FILE_PASSWORD, wrong])
            await self.call("upload_file", text=1, password=FILE_PASSWORD * 20)
            await self.call("cancel_workflow_run", run_id=RUN, confirmation_token=[STATE_KEY])
        # A secret in the place of something else is refused without being said again.
        await self.call("get_workflow_run", run_id=f"workflow_run_{self.key} x")

        for uri in ("extend://account", f"extend://workflow-runs/{RUN}", "extend://workflow-runs/none"):
            try:
                self.answers.append(repr(await self.client.read_resource(uri)))
            except MCPError as error:
                self.answers.append(repr(error.error))
        self.answers += [repr(await self.client.list_tools()), repr(await self.client.list_resource_templates())]


async def failing_requests(url: str) -> list[str]:
    """Send what no MCP client sends, and return the responses; /metrics too."""
    answers = []
    body = json.dumps({"eventId": "evt_1", "eventType": "workflow_run.completed", "payload": {"id": RUN}}).encode()
    stamp = str(int(time.time()))
    good = hmac.new(WEBHOOK_SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        for signature in (good, WEBHOOK_SECRET, ""):
            headers = {"x-extend-request-timestamp": stamp, "x-extend-request-signature": signature}
            answers.append(await http.post("/webhooks/extend", content=body, headers=headers))
        for credential in (WRONG_TOKEN, f"{WRONG_TOKEN} x", f"a.{WRONG_TOKEN}.b"):
            headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
            answers.append(await http.post("/mcp", content=b"{", headers=headers))
            answers.append(await http.get(f"/mcp?token={WRONG_TOKEN}", headers=headers))
        answers += [await http.get("/metrics"), await http.get("/readyz"), await http.get("/nothing")]
        assert "extend_mcp_tool_calls" in answers[-3].text
    return [f"{answer.status_code} {answer.headers!r} {answer.text}" for answer in answers]


def forms(secret: str) -> set[str]:
    """Return the ways to write a secret."""
    raw = secret.encode()
    coded = {base64.b64encode(raw[offset:]).decode()[:-4].rstrip("=") for offset in range(3)}
    return {secret, quote(secret, safe=""), secret.upper(), secret[::-1], raw.hex(), *coded}


def found(secrets: dict[str, str], outputs: dict[str, str]) -> list[str]:
    """Return which secrets are in which outputs."""
    return [
        f"{name} in {where}: ...{text[max(0, text.index(form) - 200) : text.index(form) + 100]}"
        for where, text in outputs.items()
        for name, secret in secrets.items()
        for form in forms(secret)
        if form in text
    ]


@contextmanager
def process(environment: dict[str, str], *arguments: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A serving process: its address, and its outputs once it has ended."""
    outputs: dict[str, str] = {}
    lines: list[str] = []
    command = [sys.executable, SERVER, "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as running:  # fmt: skip
        try:
            assert running.stderr
            assert running.stdout
            address = None
            while not address:
                line = running.stderr.readline()
                assert line, lines
                lines.append(line)
                address = re.search(r"serves (http://\S+)/mcp", line)
            reader = threading.Thread(target=lambda: lines.extend(running.stderr or ()))
            reader.start()
            yield address[1], outputs
            running.terminate()
            outputs["stdout"] = running.stdout.read()
            assert running.wait(20) == 0
            reader.join()
            outputs["stderr"] = "".join(lines)
        finally:
            running.kill()


def environment_of(box: Box, folder: Path, collector: str) -> dict[str, str]:
    return {
        **CLEAN,
        "PYTHONPATH": str(ROOT),
        "EXTEND_API_KEY": API_KEY,
        "EXTEND_BASE_URL": box.base_url,
        "EXTEND_MCP_STATE_KEYS": STATE_KEY,
        "EXTEND_MCP_TOOLSETS": "all",
        "EXTEND_MCP_AUDIT": str(folder / "audit.jsonl"),
        "EXTEND_MCP_LOG": "json:DEBUG",
        "EXTEND_MCP_REQUESTS_PER_SECOND": "1000",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
    }


SECRETS = {name: value for name, value in globals().items() if isinstance(value, str) and value.startswith("canary-")}


def check(session: Session, outputs: dict[str, str], secrets: dict[str, str], spans: list[Any], folder: Path) -> None:
    """No secret is in any output, and each output has what it is for."""
    audit = (folder / "audit.jsonl").read_text()
    everything = {**outputs, "audit": audit, "spans": str(spans), "answers": "\n".join(session.answers)}
    assert found(secrets, everything) == []
    # It was there to be found: the caller got the URL, the person the signing secret, the logs the crashes.
    assert all(SIGNATURE in shown for shown in session.shown_urls)
    revealed = re.findall(r"wss_[A-Za-z0-9_-]{8,}", "\n".join(session.person.asked))
    assert revealed
    assert found({"signing secret": revealed[0]}, everything) == []
    assert audit.count('"outcome":"AuthenticationError"') == 2
    assert "tools/call run_workflow" in str(spans)
    assert re.search(r"RuntimeError: .*\[redacted\] \[redacted\]", outputs["stderr"])
    assert outputs["stderr"].count("\n") > 50, "DEBUG says more"
    assert outputs.get("stdout", "") == ""


async def test_stdio(box: Box, tmp_path: Path) -> None:
    person = Person()
    errors = (tmp_path / "stderr").open("w")
    with collecting() as (collector, spans), errors:
        environment = environment_of(box, tmp_path, collector)
        parameters = StdioServerParameters(
            command=sys.executable, args=[SERVER, "serve"], env=environment, cwd=str(ROOT)
        )
        async with Client(stdio_client(parameters, errlog=errors), elicitation_callback=person.answer) as client:
            session = Session(box, client, person)
            await session.play()
    check(session, {"stderr": (tmp_path / "stderr").read_text()}, SECRETS, spans, tmp_path)


@asynccontextmanager
async def over_http(box: Box, url: str, bearer: str | None) -> AsyncIterator[Session]:
    person = Person()
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False, verify=False) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), elicitation_callback=person.answer) as client,
    ):
        yield Session(box, client, person, bearer if bearer == CALLERS_KEY else API_KEY)


@pytest.mark.parametrize("auth", ["none", "passthrough", "oauth", pytest.param("token", marks=needs_redis)])
async def test_http(box: Box, tmp_path: Path, auth: str) -> None:
    bearer: str | None = None
    secrets = dict(SECRETS)
    with ExitStack() as stack:
        collector, spans = stack.enter_context(collecting())
        environment = {
            **environment_of(box, tmp_path, collector),
            "EXTEND_MCP_AUTH": auth,
            "EXTEND_MCP_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        }
        redis = None
        if auth == "passthrough":
            bearer = CALLERS_KEY
        elif auth == "token":
            bearer = TOKEN
            entry = {"name": "anna", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
            (tmp_path / "tokens.json").write_text(json.dumps({"tokens": [entry]}))
            redis = stack.enter_context(running_redis())
            environment["EXTEND_MCP_AUTH"] = f"token:{tmp_path / 'tokens.json'}"
            environment["EXTEND_MCP_REDIS_URL"] = with_password(redis.url)
        elif auth == "oauth":
            issuer = stack.enter_context(issuers()).new()
            issuer.shows(*KEYS)
            now = int(time.time())
            bearer = sign(claims(issuer.url, iat=now, exp=now + 600, scope=" ".join(SCOPES)))
            secrets |= {f"part {n} of the access token": part for n, part in enumerate(bearer.split("."))}
            environment |= {"EXTEND_MCP_AUTH": f"oauth:{issuer.url}", "EXTEND_MCP_PUBLIC_URL": AUDIENCE}
        url, outputs = stack.enter_context(process(environment, "--transport", "http"))
        async with over_http(box, url, bearer) as session:
            await session.play()
            answers = await failing_requests(url)
            if redis is not None:
                redis.stop()
                for tool in ("list_runs", "get_workflow_run"):
                    await session.call(tool, **({"run_id": RUN} if tool != "list_runs" else {}))
                answers += await failing_requests(url)
        stack.pop_all().close()
    check(session, {**outputs, "HTTP": "\n".join(answers)}, secrets, spans, tmp_path)


def with_password(url: str) -> str:
    """Give a Redis a password; its address with it."""
    import redis

    with redis.Redis.from_url(url) as connection:
        connection.config_set("requirepass", REDIS_PASSWORD)
    return url.replace("redis://", f"redis://:{REDIS_PASSWORD}@")
