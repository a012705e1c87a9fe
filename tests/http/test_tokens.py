from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from extend_mcp.accounts import Account
from extend_mcp.http.auth.base import UnidentifiedError
from extend_mcp.http.auth.tokens import Tokens, append_entry, new_token
from extend_mcp.scopes import SCOPES
from extend_mcp.settings import SettingsError
from extend_mcp.telemetry.prometheus import PrometheusMetrics
from tests.http.keys import HandClock, with_bearer

DEFAULT = Account(SecretStr("sk_canary_default"), "ws_default", "own", "PRODUCTION")
TOKEN, ENTRY = new_token("ops-bot")
SHA = ENTRY["sha256"]

Write = Callable[..., Path]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes entries to the tokens file, each write different from the one before."""
    path = tmp_path / "tokens.json"
    times = iter(range(1, 100))

    def write(*entries: Any, text: str | None = None) -> Path:
        path.write_text(json.dumps({"tokens": entries}) if text is None else text)
        os.utime(path, ns=(0, next(times) * 10**9))
        return path

    return write


async def identify(tokens: Tokens, token: str = TOKEN) -> Any:
    return await tokens(with_bearer(token))


async def key_of(tokens: Tokens, token: str = TOKEN) -> str | None:
    key = (await identify(tokens, token)).account.api_key
    return key.get_secret_value() if key else None


async def test_a_token_without_more_is_the_server_s_account_and_everything(write: Write) -> None:
    caller = await identify(Tokens(write(ENTRY), default=DEFAULT))
    assert caller.account == DEFAULT
    assert (caller.principal, caller.client_id) == ("token:ops-bot", "ops-bot")
    assert (caller.scopes, caller.expires_at) == (None, None)


async def test_each_token_has_its_own_account(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXTEND_KEY_OPS", "sk_of_env")
    (tmp_path / "key").write_text("sk_of_file\n")
    made = [new_token(name) for name in ("env", "file", "workspace")]
    sources: list[dict[str, Any]] = [
        {"api_key_env": "EXTEND_KEY_OPS", "workspace_id": "ws_1", "organization": "acme"},
        {"api_key_file": str(tmp_path / "key"), "label": "test"},
        {"workspace_id": "ws_2"},
    ]
    entries = [{**entry, **source} for (_, entry), source in zip(made, sources, strict=True)]
    tokens = Tokens(write(*entries), default=DEFAULT)
    labels = [(await identify(tokens, token)).account.label for token, _ in made]
    assert labels == ["", "test", "PRODUCTION"]
    accounts = [(await identify(tokens, token)).account for token, _ in made]
    assert accounts == [
        Account(SecretStr("sk_of_env"), "ws_1", "acme"),
        Account(SecretStr("sk_of_file")),
        Account(DEFAULT.api_key, "ws_2", "own"),
    ]


@pytest.mark.parametrize(
    ("rights", "scopes"),
    [
        ({"scopes": ["runs:read", "runs:cancel"]}, {"runs:read", "runs:cancel"}),
        ({"toolsets": ["runs"]}, {"runs:read", "runs:write", "runs:cancel", "runs:delete"}),
        ({"toolsets": ["runs", "files"], "read_only": True}, {"runs:read", "files:read"}),
        ({"read_only": True}, {scope for scope in SCOPES if scope.endswith(":read")}),
        ({"read_only": False}, None),
    ],
)
async def test_rights_are_scopes_or_toolsets(write: Write, rights: dict[str, Any], scopes: set[str] | None) -> None:
    assert (await identify(Tokens(write({**ENTRY, **rights}), default=DEFAULT))).scopes == scopes


@pytest.mark.parametrize(
    "sent",
    [
        Headers({}),
        Headers({"authorization": f"Basic {TOKEN}"}),
        with_bearer(TOKEN[:-1]),
        with_bearer(TOKEN + "x"),
        with_bearer(TOKEN.swapcase()),
        with_bearer(SHA),
        with_bearer("canary-token-\xe4-of-more-than-20"),
        with_bearer("canary " * 5),
        with_bearer("canary" * 100),
    ],
)
async def test_what_is_no_token_of_the_file_is_refused_and_not_quoted(write: Write, sent: Headers) -> None:
    tokens = Tokens(write(ENTRY), default=DEFAULT)
    with pytest.raises(UnidentifiedError) as problem:
        await tokens(sent)
    text = str(problem.value)
    assert "canary" not in text
    assert TOKEN[5:20] not in text


async def test_a_token_that_is_no_good_one_is_refused_even_if_the_file_has_it(write: Write) -> None:
    sent = ["t" * 20, "t" * 500, "t" * 19, "t" * 501, "t" * 20 + " " + "t" * 20, "\xe4" * 20]
    entries = [{"name": f"n{n}", "sha256": hashlib.sha256(text.encode()).hexdigest()} for n, text in enumerate(sent)]
    tokens = Tokens(write(*entries), default=DEFAULT)
    assert [(await identify(tokens, text)).client_id for text in sent[:2]] == ["n0", "n1"]
    for text in sent[2:]:
        with pytest.raises(UnidentifiedError, match="too short, too long or not plain"):
            await identify(tokens, text)


async def test_a_token_ends_when_it_expires(write: Write, clock: HandClock) -> None:
    tokens = Tokens(write({**ENTRY, "expires": "2026-02-10T13:00:00+01:00"}), default=DEFAULT, clock=clock)
    clock.seconds = -0.5
    assert (await identify(tokens)).expires_at == 1770724800
    clock.seconds = 0
    with pytest.raises(UnidentifiedError, match="ops-bot has expired"):
        await identify(tokens)


FAULTY: list[tuple[Any, str]] = [
    ({**ENTRY, "sha256": "canary"}, "tokens[0] (ops-bot): sha256"),
    ({**ENTRY, "sha256": SHA + "\n"}, "tokens[0] (ops-bot): sha256"),
    ({"sha256": SHA}, "tokens[0]: name Field required"),
    ({**ENTRY, "name": "canary name"}, "tokens[0]: name"),
    ({**ENTRY, "name": ["canary"]}, "tokens[0]: name"),
    ("canary", "tokens[0]:"),
    ({**ENTRY, "api_kye": "sk_canary"}, "tokens[0] (ops-bot): api_kye Extra inputs"),
    ({**ENTRY, "sk_canary_1": 1}, "tokens[0] (ops-bot): Extra inputs"),
    ({**ENTRY, "api_key_env": "sk_canary-1"}, "tokens[0] (ops-bot): api_key_env"),
    ({**ENTRY, "api_key_env": "canary_UNSET"}, "api_key_env names a variable that is not set"),
    ({**ENTRY, "api_key_env": "EMPTY_KEY"}, "api_key_env names a variable that is not set"),
    ({**ENTRY, "api_key_file": "/canary/none"}, "api_key_file names a file"),
    ({**ENTRY, "api_key_file": "/"}, "api_key_file names a file"),
    ({**ENTRY, "api_key_file": os.devnull}, "api_key_file names a file"),
    ({**ENTRY, "api_key": "sk_canary"}, "tokens[0] (ops-bot): api_key Extra inputs"),
    ({**ENTRY, "api_key_file": "/canary", "api_key_env": "HOME"}, "tokens[0] (ops-bot): give api_key_env or"),
    ({**ENTRY, "workspace_id": "ws canary"}, "workspace_id must be visible ASCII"),
    ({**ENTRY, "scopes": ["runs:read"], "read_only": True}, "not both"),
    ({**ENTRY, "scopes": ["runs:read"], "toolsets": ["runs"]}, "not both"),
    ({**ENTRY, "scopes": ["runs:canary"]}, "scopes are some of runs:read"),
    ({**ENTRY, "scopes": []}, "tokens[0] (ops-bot): scopes"),
    ({**ENTRY, "toolsets": ["canary"]}, "tokens[0] (ops-bot): toolsets should be 'runs'"),
    ({**ENTRY, "toolsets": []}, "tokens[0] (ops-bot): toolsets"),
    ({**ENTRY, "toolsets": ["workflow-authoring"], "read_only": True}, "leave nothing"),
    ({**ENTRY, "expires": "2027-01-01T00:00:00"}, "expires should have timezone"),
    ({**ENTRY, "expires": "canary"}, "tokens[0] (ops-bot): expires"),
]


@pytest.mark.parametrize(("entry", "message"), FAULTY, ids=[message for _, message in FAULTY])
def test_a_faulty_entry_is_named_with_its_rule_and_quoted_nowhere(
    write: Write, monkeypatch: pytest.MonkeyPatch, entry: Any, message: str
) -> None:
    monkeypatch.setenv("EMPTY_KEY", " ")
    with pytest.raises(SettingsError) as problem:
        Tokens(write(entry), default=DEFAULT)
    assert message in str(problem.value)
    assert "canary" not in str(problem.value)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({**new_token("ops-bot")[1]}, "tokens[1] (ops-bot): the name or the sha256 is used"),
        ({**ENTRY, "name": "b", "sha256": SHA.upper()}, "tokens[1] (b): the name or the sha256 is used"),
    ],
)
def test_names_and_hashes_are_unique(write: Write, second: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as problem:
        Tokens(write(ENTRY, second), default=DEFAULT)
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tokens": [canary', "not JSON"),
        ('["canary"]', "must be an object"),
        ("{}", "must be an object"),
        ('{"tokens": {"canary": 1}}', "must be an object"),
        ('{"tokens": [], "canary_1": 1}', "must be an object"),
    ],
)
def test_a_file_of_another_form_is_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as problem:
        Tokens(write(text=text), default=DEFAULT)
    assert message in str(problem.value)
    assert "canary" not in str(problem.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SettingsError, match="cannot be read"):
            Tokens(path, default=DEFAULT)


async def test_a_token_is_revoked_by_taking_it_out_of_the_file(write: Write, clock: HandClock) -> None:
    tokens = Tokens(write(ENTRY), default=DEFAULT, clock=clock)
    other, other_entry = new_token("other")
    write(other_entry)
    # The file is looked at once a second.
    clock.seconds = 0.9
    assert await identify(tokens)
    clock.seconds = 1.0
    with pytest.raises(UnidentifiedError, match="no such token"):
        await identify(tokens)
    assert (await identify(tokens, other)).principal == "token:other"


async def test_a_file_that_became_faulty_changes_nothing_until_it_is_mended(
    write: Write, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(ENTRY)
    tokens = Tokens(path, default=DEFAULT, clock=clock)
    for text in ('{"tokens": [{"name": "sk_canary', '{"tokens": [{"name": "x", "sha256": "canary"}]}'):
        write(text=text)
        caplog.clear()
        for _ in range(3):
            clock.seconds += 1
            assert await identify(tokens)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "canary" not in caplog.text
    caplog.clear()
    path.unlink()
    for _ in range(2):
        clock.seconds += 1
        assert await identify(tokens)
    assert len(caplog.records) == 1
    write()
    caplog.set_level(logging.INFO)
    for _ in range(2):
        clock.seconds += 1
        with pytest.raises(UnidentifiedError):
            await identify(tokens)
    assert [record.getMessage() for record in caplog.records[1:]] == ["Read 0 tokens."]


async def test_a_key_s_file_is_read_again_when_it_changes(write: Write, clock: HandClock, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk_1")
    tokens = Tokens(write({**ENTRY, "api_key_file": str(key)}), default=DEFAULT, clock=clock)
    key.unlink()
    clock.seconds += 1
    assert await key_of(tokens) == "sk_1"
    key.write_text("sk_two")
    clock.seconds += 1
    assert await key_of(tokens) == "sk_two"


async def test_no_secret_is_in_a_repr(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_KEY_OPS", "sk_canary_1")
    tokens = Tokens(write({**ENTRY, "api_key_env": "EXTEND_KEY_OPS"}), default=DEFAULT)
    caller = await identify(tokens)
    seen = repr(tokens) + repr(caller) + repr(caller.account) + repr(tokens._callers)
    assert "canary" not in seen
    assert TOKEN not in seen


def test_a_new_token_is_random_and_its_entry_is_good_for_it_alone() -> None:
    token, entry = new_token("a.b-c_d@e")
    assert token.startswith("emcp_")
    assert len(token) == len("emcp_") + 43
    assert entry == {"name": "a.b-c_d@e", "sha256": hashlib.sha256(token.encode()).hexdigest()}
    assert new_token("a")[0] != new_token("a")[0]


async def test_an_entry_is_added_to_the_file_and_counts_at_once(write: Write, clock: HandClock) -> None:
    path = write(ENTRY)
    path.chmod(0o640)
    metrics = PrometheusMetrics()
    tokens = Tokens(path, default=DEFAULT, clock=clock, metrics=metrics)
    bot, entry = new_token("bot", scopes=["runs:read", "runs:cancel"])
    append_entry(path, entry)
    clock.seconds += 1
    assert (await identify(tokens, bot)).scopes == {"runs:read", "runs:cancel"}
    assert (await identify(tokens)).principal == "token:ops-bot"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    # Neither a name that is there already nor a file that is faulty changes anything.
    before = path.read_text()
    with pytest.raises(SettingsError, match="the name or the sha256 is used more than once"):
        append_entry(path, new_token("bot")[1])
    assert (path.read_text(), [each.name for each in path.parent.iterdir()]) == (before, [path.name])
    path.write_text("{")
    with pytest.raises(SettingsError, match="is not JSON"):
        append_entry(path, new_token("other")[1])
    assert path.read_text() == "{"
    clock.seconds += 1
    await identify(tokens, bot)
    assert b"extend_mcp_tokens_file_rejected 1.0" in metrics.render()[0]
    path.write_text(before)
    clock.seconds += 1
    await identify(tokens, bot)
    assert b"extend_mcp_tokens_file_rejected 0.0" in metrics.render()[0]


def test_rights_that_the_file_would_refuse_get_no_token() -> None:
    assert new_token("a", read_only=True)[1]["read_only"] is True
    with pytest.raises(SettingsError, match="not both"):
        new_token("a", scopes=["runs:read"], read_only=True)
    with pytest.raises(SettingsError, match="scopes are some of runs:read"):
        new_token("a", scopes=["runs:everything"])


@pytest.mark.parametrize("name", ["", "a b", "a\n", "-a", "ä", "n" * 65])
def test_a_name_that_the_file_would_refuse_gets_no_token(name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        new_token(name)
