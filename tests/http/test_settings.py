"""Settings of serving that do not fit together are found at start."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest

from extend_mcp.http.settings import HttpSettings
from extend_mcp.settings import SettingsError, load
from tests.harness import Box


class TestSettings:
    """Settings that do not fit together are found at start."""

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"host": "0.0.0.0"}, "EXTEND_MCP_AUTH is none"),
            ({"host": "10.1.2.3"}, "EXTEND_MCP_WITHOUT_AUTHENTICATION to true"),
            *(({"auth": auth}, "EXTEND_MCP_AUTH: must be") for auth in ("token", "token:", "oauth", "oauth:x", "open")),
            ({"auth": "oauth:https://login.example.com"}, "EXTEND_MCP_PUBLIC_URL"),
        ],
    )
    def test_a_server_that_would_be_open_or_could_not_work_is_not_started(
        self, given: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(SettingsError, match=said):
            load(HttpSettings, **given)

    def test_an_open_server_must_be_asked_for(self) -> None:
        assert load(HttpSettings, host="0.0.0.0", without_authentication=True).auth == "none"
        assert load(HttpSettings, host="0.0.0.0", auth="passthrough").auth == "passthrough"
        assert load(HttpSettings, host="::1").auth == "none"

    def test_an_issuer_is_taken_letter_for_letter(self) -> None:
        http = load(HttpSettings, auth="oauth:https://login.example.com", public_url="https://mcp.example.com/mcp")
        assert str(http.oauth_issuer) == "https://login.example.com"

    def test_only_a_server_that_others_can_reach_drains(self) -> None:
        assert load(HttpSettings).limits.drain_seconds == 0
        assert load(HttpSettings, host="0.0.0.0", auth="passthrough").limits.drain_seconds == 5

    def test_no_secret_is_in_a_repr(self) -> None:
        http = load(HttpSettings, redis_url="redis://:canary@127.0.0.1/0", webhook_secrets="wss_canary")
        assert "canary" not in repr(http) + str(http)
        assert http.secrets == ["redis://:canary@127.0.0.1/0", "wss_canary"]


async def test_a_port_that_is_taken_is_said_in_a_line(box: Box) -> None:
    from tests.e2e.test_commands import run

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = await anyio.to_thread.run_sync(
            lambda: run("serve", "--transport", "http", "--port", str(taken.getsockname()[1]), "--sandbox")
        )
    assert ended.returncode == 1
    assert "cannot listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr
