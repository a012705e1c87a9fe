from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner
from pydantic import ValidationError

from extend_mcp.cli import main, read_env_file
from extend_mcp.http.settings import HttpSettings
from extend_mcp.settings import (
    EnvironmentSettings,
    Settings,
    SettingsError,
    load,
)
from tests.docs.configuration import settings_table

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Begin without settings, and end without what a file set."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("EXTEND_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def read(file: Path) -> None:
    """Read an env file, as the command line does."""
    read_env_file(None, None, file)


def test_the_region_gives_the_address_and_an_explicit_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Settings).api_base_url == "https://api.extend.ai"
    monkeypatch.setenv("EXTEND_REGION", "us2")
    assert load(Settings).api_base_url == "https://api.us2.extend.app"
    monkeypatch.setenv("EXTEND_REGION", "eu")
    assert load(Settings).api_base_url == "https://api.eu1.extend.ai"
    monkeypatch.setenv("EXTEND_BASE_URL", "http://127.0.0.1:8787/")
    assert load(Settings).api_base_url == "http://127.0.0.1:8787"


@pytest.mark.parametrize("address", ["http://api.extend.ai", "http://10.0.0.5:8080", "http://localhost.evil.example"])
def test_a_key_is_not_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("EXTEND_BASE_URL", address)
    with pytest.raises(SettingsError, match=r"^EXTEND_BASE_URL: the API key would cross") as error:
        load(Settings)
    assert address not in str(error.value)


@pytest.mark.parametrize(
    "address", ["https://api.example.com", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9"]
)
def test_https_and_loopback_are_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("EXTEND_BASE_URL", address)
    assert load(Settings).api_base_url == address


def test_a_region_may_be_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_REGION", " EU ")
    assert load(Settings).region == "eu"


@pytest.mark.parametrize("unset", ["", "   ", "${EXTEND_API_KEY}", "${env:EXTEND_API_KEY}"])
def test_a_key_that_no_client_filled_in_is_no_key(monkeypatch: pytest.MonkeyPatch, unset: str) -> None:
    monkeypatch.setenv("EXTEND_API_KEY", unset)
    assert load(Settings).api_key is None


def test_what_a_client_did_not_fill_in_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clients pass a reference unresolved where their user left a setting empty."""
    monkeypatch.setenv("EXTEND_REGION", "${EXTEND_REGION}")
    monkeypatch.setenv("EXTEND_MCP_TOOLSETS", "${user_config.toolsets}")
    monkeypatch.setenv("EXTEND_MCP_READ_ONLY", " ${env:READ_ONLY} ")
    settings = load(Settings, workspace_id="${input:workspace}")
    assert (settings.region, settings.toolsets) == ("us", ("runs", "workflows"))
    assert (settings.read_only, settings.workspace_id) == (False, None)
    monkeypatch.setenv("EXTEND_REGION", "${EXTEND_REGION} eu")
    with pytest.raises(SettingsError, match="EXTEND_REGION"):
        load(Settings)


def test_flags_win_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("EXTEND_REGION=eu\nEXTEND_MCP_REQUESTS_PER_SECOND=3\nEXTEND_MCP_READ_ONLY=true\n")
    monkeypatch.setenv("EXTEND_MCP_REQUESTS_PER_SECOND", "4")
    monkeypatch.setenv("EXTEND_REGION", "")
    read(file)
    settings = load(Settings, read_only=False, sandbox=None)
    assert (settings.region, settings.requests_per_second, settings.read_only, settings.sandbox) == (
        "eu",
        4,
        False,
        False,
    )


def test_toolsets_are_a_list_of_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Settings, toolsets=" runs ,").toolsets == ("runs",)
    with pytest.raises(SettingsError, match="EXTEND_MCP_TOOLSETS"):
        load(Settings, toolsets="runs,files_of_tomorrow")


def test_every_fault_is_named_and_no_value_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_REGION", "canary")
    monkeypatch.setenv("EXTEND_MCP_REQUESTS_PER_SECOND", "0")
    monkeypatch.setenv("EXTEND_MCP_STATE_KEYS", "canary")
    with pytest.raises(SettingsError) as problems:
        load(Settings)
    text = str(problems.value)
    for name in ("EXTEND_REGION", "EXTEND_MCP_REQUESTS_PER_SECOND", "EXTEND_MCP_STATE_KEYS"):
        assert name in text
    assert "canary" not in text
    assert len(text.splitlines()) == 3


def test_no_secret_is_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_API_KEY", "sk_canary")
    monkeypatch.setenv("EXTEND_MCP_STATE_KEYS", "canary" * 8)
    settings = load(Settings)
    assert settings.api_key
    assert settings.api_key.get_secret_value() == "sk_canary"
    assert "canary" not in repr(settings) + str(settings) + repr(settings.client_config())


@pytest.mark.parametrize("kind", [Settings, HttpSettings])
def test_the_table_of_settings_is_the_settings(kind: type[EnvironmentSettings]) -> None:
    """The page's rows are these, in this order; write it with ``python -m tests.docs.configuration``."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert "\n".join(settings_table(kind)) in text
    named = set(re.findall(r"^\| `(EXTEND_[A-Z_]+)` ", text, re.MULTILINE))
    assert {str(field.validation_alias) for field in kind.model_fields.values()} <= named


def test_only_variables_of_this_server_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """API_KEY, BASE_URL, CONFIRMATION and LOG_LEVEL often belong to another program in the same environment."""
    names = [name for kind in (Settings, HttpSettings) for name in kind.model_fields]
    file = tmp_path / "settings.env"
    file.write_text("".join(f"{name.upper()}=http://other.example\n" for name in names))
    for name in names:
        monkeypatch.setenv(name.upper(), "http://other.example")
        monkeypatch.setenv(name, "http://other.example")
    read(file)
    assert load(Settings) == Settings()
    assert load(HttpSettings) == HttpSettings()
    assert load(Settings).api_key is None


def test_a_variable_that_is_no_setting_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("# EXTEND_MCP_MAX_SESSIONS=1\nexport EXTEND_MCP_SUBSCRIPTIONS = 5\nEXTEND_MCP_HOST=::1\n")
    monkeypatch.setenv("EXTEND_MCP_AUDIT", "off")
    assert CliRunner().invoke(main, ["history", "clear"]).stderr == ""
    monkeypatch.setenv("EXTEND_MCP_LOG_LEVEL", "INFO")
    said = CliRunner().invoke(main, ["history", "clear", "--env-file", str(file)]).stderr
    assert re.findall(r"(\w+) is not a setting and is ignored", said) == [
        "EXTEND_MCP_LOG_LEVEL",
        "EXTEND_MCP_SUBSCRIPTIONS",
    ]


def test_code_sets_a_field_by_its_name() -> None:
    assert Settings(region="eu").region == "eu"
    with pytest.raises(ValidationError, match="EXTEND_REGION"):
        Settings(EXTEND_REGION="eu")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_an_env_file_in_another_encoding_gets_one_line(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    # In UTF-16 without a byte order mark, ASCII text is valid UTF-8.
    letter = "\xfc" if encoding == "latin-1" else "u"
    file.write_bytes(f"EXTEND_API_KEY=sk_canary_{letter}\n".encode(encoding))
    with pytest.raises(ClickException, match="is not UTF-8 text; save it as UTF-8") as refused:
        read(file)
    assert "canary" not in refused.value.message
    assert "\n" not in refused.value.message


def test_an_env_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_bytes("EXTEND_REGION=eu\n".encode("utf-8-sig"))
    read(file)
    assert load(Settings).region == "eu"


def test_a_variable_of_extend_s_own_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTEND_ENVIRONMENT", "production")
    for command in (["--sandbox"], ["doctor", "--sandbox"]):
        done = subprocess.run(
            [sys.executable, "-m", "extend_mcp", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "EXTEND_ENVIRONMENT belongs to Extend's own MCP server and is ignored: the key alone" in done.stderr
