"""``extend-mcp doctor`` in broken environments: each cause is on its row, as docs/troubleshooting.md shows."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp.client.client import Client

from extend_mcp import doctor
from extend_mcp.cli import configure_tracing, main
from extend_mcp.http.settings import HttpSettings
from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from extend_mcp.telemetry import otlp
from tests.harness import Box, text_of

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
CLOSED = "127.0.0.1:9"

BROKEN: dict[str, dict[str, str]] = {
    "The key has quotes around it": {"EXTEND_API_KEY": '"sk_canary"'},
    "The key contains a line break": {"EXTEND_API_KEY": "sk_\ncanary"},
    "The key contains a space": {"EXTEND_API_KEY": "sk_ canary"},
    "The key begins with Bearer": {"EXTEND_API_KEY": "Bearer sk_canary"},
    "Extend does not accept the key (401)": {"fault": "401"},
    "The key may not read runs, or belongs to another workspace (403)": {"fault": "403", "EXTEND_WORKSPACE_ID": "ws_1"},
    "An organization-scoped key without a workspace": {"fault": "workspace"},
    "The base URL has a path (404)": {"EXTEND_BASE_URL": "{sandbox}/v1"},
    "The base URL is http:// on another machine": {"EXTEND_BASE_URL": "http://extend.example.com"},
    "The host does not exist": {"EXTEND_BASE_URL": "https://api.extend.invalid"},
    "Nothing listens on the port": {"EXTEND_BASE_URL": f"https://{CLOSED}"},
    "The proxy is down": {"HTTPS_PROXY": f"http://user:canary@{CLOSED}", "EXTEND_BASE_URL": ""},
    "A SOCKS proxy without its package": {"ALL_PROXY": f"socks5://{CLOSED}", "EXTEND_BASE_URL": ""},
    "The certificate file is missing": {"SSL_CERT_FILE": "/etc/no-such-file.pem"},
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.upper() in NETWORK or each.startswith("EXTEND_")]:
        monkeypatch.delenv(name)


def diagnose(monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[int, str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for name in environment:
        monkeypatch.delenv(name)
    return result.exit_code, result.output


def broken(monkeypatch: pytest.MonkeyPatch, box: Box, environment: dict[str, str]) -> str:
    """Run the doctor in a broken environment; return the lines about the failure."""
    given = {"EXTEND_API_KEY": "sk_canary", "EXTEND_BASE_URL": box.base_url} | environment
    match given.pop("fault", ""):
        case "workspace":
            text = "Header x-extend-workspace-id is required for this key."
            box.fault(status=400, body={"error": {"code": "BAD_REQUEST", "message": text}})
        case "401":
            box.fault(status=401, body={"error": {"code": "UNAUTHORIZED", "message": "Invalid API key."}})
        case "403":
            box.fault(status=403, body={"error": {"code": "FORBIDDEN", "message": "You do not have access."}})
    given = {name: value.format(sandbox=box.base_url) for name, value in given.items()}
    status, output = diagnose(monkeypatch, **given)
    assert status == 1
    assert "canary" not in output
    [failed] = re.findall(r"^FAIL .*", output, re.MULTILINE)
    assert output.splitlines()[-1].startswith("Next: ")
    output = f"{failed}\n{output.splitlines()[-1]}"
    return re.sub(r" \(request \w[\w-]*\)|/box\d+(?=/)", "", output)


def test_the_page_shows_what_each_broken_environment_gets(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    parts = [f"{title}:\n{broken(monkeypatch, box, case)}" for title, case in BROKEN.items()]
    block = "```text\n" + "\n\n".join(parts) + "\n```"
    assert block in PAGE.read_text(), block


def test_a_good_configuration_is_good(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    status, output = diagnose(monkeypatch, EXTEND_API_KEY=" sk_canary\n", EXTEND_BASE_URL=box.base_url)
    assert (status, "All good" in output, "FAIL" in output) == (0, True, False)


def test_a_proxy_that_is_used_is_shown_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    _, output = diagnose(
        monkeypatch, EXTEND_API_KEY="sk_1", EXTEND_WORKSPACE_ID="x", https_proxy=f"user:canary@{CLOSED}"
    )
    assert "FAIL proxy        https_proxy: 127.0.0.1 port 9: connection refused" in output
    assert "canary" not in output
    assert "does not begin with ws_" in output


async def test_an_untrusted_certificate_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        error = ssl.SSLCertVerificationError("x")
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(doctor.anyio, "connect_tcp", refuse)
    with pytest.raises(doctor.CheckError, match="self-signed certificate") as fault:
        await doctor._check_connection(Settings(base_url="https://127.0.0.1"))  # type: ignore[arg-type]
    assert fault.value.args[0] == "certificates"


@pytest.mark.parametrize("value", ["", " ", "x", "-1", "\udcff", "http://[", "a b\nc", "https://h:99999"])
def test_no_variable_brings_a_traceback(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(each.validation_alias) for kind in (Settings, HttpSettings) for each in kind.model_fields.values()]
    for name in [*names, *NETWORK]:
        given = {"EXTEND_API_KEY": "sk_1", "EXTEND_BASE_URL": f"https://{CLOSED}"} | {name: value}
        if not given["EXTEND_BASE_URL"].strip():
            continue  # The region's own address: not reached from here.
        status, output = diagnose(monkeypatch, **given)
        assert (name, status) == (name, 1)
        assert re.search(r"^Next: ", output, re.MULTILINE), (name, output)


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/no/such"), ("HTTPS_PROXY", "foo://x")])
async def test_a_call_in_a_broken_environment_gets_an_error_that_names_the_doctor(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    server, registry = build_server(Settings(api_key="sk_1"))  # type: ignore[arg-type]
    async with Client(server) as client:
        result = await client.call_tool("list_runs", {})
    await registry.aclose()
    assert result.is_error
    assert "`extend-mcp doctor` names the variable" in text_of(result)


def test_an_unusable_variable_of_opentelemetry_costs_the_spans_only(caplog: pytest.LogCaptureFixture) -> None:
    def send_spans(*_: object, **__: object) -> None:
        raise ValueError("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp, "send_spans", send_spans)
        configure_tracing("1", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})()
    assert "no spans are sent: an OTEL_ variable cannot be used" in caplog.text


def test_every_problem_of_the_settings_is_on_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    status, output = diagnose(
        monkeypatch, EXTEND_REGION="mars", EXTEND_MCP_TOOLSETS="runz", EXTEND_BASE_URL="http://a:b@c"
    )
    assert status == 1
    assert "FAIL region       EXTEND_REGION: should be" in output
    assert "FAIL settings     EXTEND_MCP_TOOLSETS" in output
