"""Check that an object with a secret does not show it when it is printed, dumped as JSON or put into an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from extend_mcp.accounts import Account, Caller
from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.api.client import ExtendClient
from extend_mcp.api.requests import CreateWorkflowRun, FileFromText, WorkflowTarget
from extend_mcp.api.transport import ExtendTransport, network_transport
from extend_mcp.callers import CallerUser, Shared
from extend_mcp.http.auth.base import ExtendKeys
from extend_mcp.http.auth.oauth import OAuth
from extend_mcp.http.settings import HttpSettings
from extend_mcp.settings import Settings
from extend_mcp.telemetry.redaction import Redactor
from tests.http.keys import with_bearer
from tests.http.kit import serving_http

KEY = "canary-key-11aa22bb"
STATE = "canary-state-" + "s" * 32
SIGNING = "canary-signing-33cc"
PASSWORD = "canary-redis-44dd"
TOKEN = "canary-token-55ee"
SECRET = "canary-workflow-66ff"


@asynccontextmanager
async def made(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """One of each kind of thing that knows a secret."""
    settings = Settings.model_validate({"api_key": KEY, "state_keys": STATE, "base_url": "http://127.0.0.1:1"})
    file = tmp_path / "tokens.json"
    entry = {"name": "a", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    file.write_text(json.dumps({"tokens": [entry]}))
    http = HttpSettings.model_validate(
        {
            "auth": f"token:{file}",
            "webhook_secrets": SIGNING,
            "redis_url": f"redis://:{PASSWORD}@127.0.0.1:1/0",
        }
    )
    account = Account(SecretStr(KEY))
    caller = Caller("token:a", account, scopes=frozenset({"runs:read"}))
    target, file_input = WorkflowTarget(id="workflow_1"), FileFromText(text="a")
    without_redis = {"auth": f"token:{file}", "webhook_secrets": SIGNING}
    async with serving_http("http://127.0.0.1:1", http=without_redis, api_key=KEY, state_keys=STATE) as running:
        served = running.app
        yield {
            "settings": settings,
            "http settings": http,
            "account": account,
            "caller": caller,
            "user": CallerUser(caller),
            "access token": CallerUser(caller).access_token,
            "client config": settings.client_config(),
            "client": ExtendClient(settings.client_config(), ExtendTransport(network_transport("http://x"))),
            "served": served,
            "registry": served.registry,
            "app": served.registry.context_of(caller),
            "app's client": served.registry.context_of(caller).api,
            "receiver": served.receiver,
            "shared": Shared(SealingKeys([SECRET]), learn_key=Redactor([SECRET]).add),
            "redactor": Redactor([SECRET]),
            "tokens": served.identify,
            "oauth": OAuth("http://127.0.0.1:1", "aud", default=account),
            "passthrough": ExtendKeys(),
            "run request": CreateWorkflowRun(
                workflow=target, file=file_input, secrets={"db": SECRET, "deep": {"list": [SECRET]}}
            ),
        }


async def test_no_repr_shows_it(tmp_path: Path) -> None:
    async with made(tmp_path) as holders:
        shown = {name: _shown(holder) for name, holder in holders.items()}
    for name, texts in shown.items():
        assert not [text for text in texts if "canary" in text or text == "None"], name


async def test_no_dump_shows_it(tmp_path: Path) -> None:
    async with made(tmp_path) as holders:
        models = {name: holder for name, holder in holders.items() if isinstance(holder, BaseModel)}
    # The body of a request is the one thing that is made to be written out.
    assert SECRET in models.pop("run request").model_dump_json()
    assert {"settings", "http settings", "access token"} <= models.keys()
    for name, model in models.items():
        assert "canary" not in model.model_dump_json(), name
        assert "canary" not in str(model.model_dump()), name


async def test_a_caller_who_brings_a_key_is_named_without_it() -> None:
    caller = await ExtendKeys()(with_bearer(KEY))
    assert caller.account.api_key
    assert caller.account.api_key.get_secret_value() == KEY
    assert "canary" not in repr(caller)
    assert "canary" not in caller.principal + caller.client_id + caller.account.budget


def _shown(holder: Any) -> list[str]:
    return [repr(holder), str(holder), repr([holder]), repr({"a": (holder,)})]
