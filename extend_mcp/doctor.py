"""``extend-mcp doctor``: check each part of the configuration and name the cause of a failure on its row."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSStream

from extend_mcp.api.base import API_VERSION
from extend_mcp.api.config import REGION_BASE_URLS
from extend_mcp.api.errors import (
    AuthenticationError,
    ExtendError,
    InvalidRequestError,
    MalformedResponseError,
    NotFoundError,
    PermissionDeniedError,
    UnexpectedStatusError,
)
from extend_mcp.api.transport import certificates, proxy_for
from extend_mcp.server import build_server
from extend_mcp.settings import Settings, SettingsError

Say = Callable[[str], None]

_ROWS = {
    "EXTEND_API_KEY": "key",
    "EXTEND_REGION": "region",
    "EXTEND_BASE_URL": "region",
    "EXTEND_WORKSPACE_ID": "workspace",
}
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_CONNECT_SECONDS = 5.0
_SET_URL = "Correct EXTEND_BASE_URL, or unset it to use EXTEND_REGION."
_SET_WORKSPACE = "Set EXTEND_WORKSPACE_ID (ws_...) to a workspace of the key. An organization-scoped key needs it."


class Fault(NamedTuple):
    """A failed check: its row, its cause and the next step."""

    row: str
    cause: str
    advice: str


async def examine(settings: Settings, say: Say) -> int:
    """Check ``settings`` part by part, then make one harmless request; return 0 when it could be made, else 1."""
    rows = _configured(settings)
    fault = None
    if not settings.sandbox:
        fault = _key_fault(settings) or _machine_fault(settings.api_base_url) or await _connection_fault(settings)
    if fault is None:
        answer = await _ask(settings)
        fault = answer if isinstance(answer, Fault) else None
        rows["reachability"] = f"{settings.api_base_url} answered" if isinstance(answer, Fault) else answer
    if fault:
        rows[fault.row] = fault.cause
    for name, text in rows.items():
        say(f"{'FAIL' if fault and name == fault.row else 'ok  '} {name:<12} {text}")
    say(f"Next: {fault.advice}" if fault else "All good: an MCP client can use this configuration.")
    return 1 if fault else 0


def report_unusable(error: SettingsError, say: Say) -> int:
    """Report settings that cannot be used, each on its row; return the exit status."""
    for line in str(error).splitlines():
        name = line.partition(":")[0]
        say(f"FAIL {_ROWS.get(name, 'settings'):<12} {line}")
    say("Next: Correct the variables above. docs/configuration.md lists what each one accepts.")
    return 1


def _configured(settings: Settings) -> dict[str, str]:
    """Return the rows of what is set, before anything is tried."""
    where = f"{settings.region} = {REGION_BASE_URLS[settings.region]}"
    if settings.base_url:
        where = f"{settings.api_base_url} (EXTEND_BASE_URL wins over EXTEND_REGION)"
    workspace = settings.workspace_id or "none (needed only with an organization-scoped key)"
    if settings.workspace_id and not settings.workspace_id.startswith("ws_"):
        # Most likely something else was pasted here, so it is not repeated.
        workspace = "set, but it does not begin with ws_"
    rows = {
        "key": "the sandbox needs none" if settings.sandbox else "set",
        "region": "embedded sandbox" if settings.sandbox else where,
        "version": f"x-extend-api-version: {API_VERSION}",
        "workspace": workspace,
    }
    if not settings.sandbox and (proxy := _readable_proxy(settings.api_base_url)):
        rows["proxy"] = f"{_proxy_variable(settings.api_base_url)} = {proxy}"
    return rows


def _key_fault(settings: Settings) -> Fault | None:
    if settings.api_key is None:
        advice = "Create an API key in the Extend dashboard and set EXTEND_API_KEY, or try --sandbox."
        return Fault("key", "EXTEND_API_KEY is not set", advice)
    key = settings.api_key.get_secret_value()
    odd = not (key.isascii() and key.isprintable())
    faults = (
        (key[0] in _QUOTES or key[-1] in _QUOTES, "has quotes around it", "Remove the quotes from the value."),
        (key.lower().startswith("bearer "), 'begins with "Bearer "', "Set it to the key alone."),
        ("\n" in key or "\r" in key, "contains a line break", "Set it to the key alone, on one line."),
        (any(char.isspace() for char in key), "contains a space", "Copy the key again, without spaces."),
        (odd, "contains a character that no key has", "Copy the key from the Extend dashboard again."),
    )
    return next((Fault("key", f"EXTEND_API_KEY {cause}", advice) for found, cause, advice in faults if found), None)


def _machine_fault(base_url: str) -> Fault | None:
    """Find what is wrong with this machine's proxy and certificate settings."""
    for name, exists in (("SSL_CERT_FILE", Path.is_file), ("SSL_CERT_DIR", Path.is_dir)):
        value = os.environ.get(name)
        if value and not exists(Path(value)):
            return Fault("certificates", f"{name} names {value}, which does not exist", f"Correct {name}, or unset it.")
    try:
        certificates()
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        cause = f"{name} cannot be used: {error.strerror or error}"
        return Fault("certificates", cause, f"Correct {name}, or unset it.")
    if proxy_for(base_url) is None:
        return None
    name, scheme = _proxy_variable(base_url), (_readable_proxy(base_url) or "").partition("://")[0]
    if scheme in ("socks5", "socks5h") and find_spec("socksio") is None:
        cause = f"{name} names a SOCKS proxy, and the package socksio is not installed"
        advice = f"Install it next to extend-mcp (pip install socksio), or set {name} to an http:// proxy."
        return Fault("proxy", cause, advice)
    if scheme not in ("http", "https", "socks5", "socks5h"):
        return Fault("proxy", f"{name} is not the URL of a proxy", f"Set {name} to http://HOST:PORT, or unset it.")
    return None


async def _connection_fault(settings: Settings) -> Fault | None:
    """Open one connection, to the proxy if there is one, to tell apart what the API client reports as one error."""
    proxy = proxy_for(settings.api_base_url)
    row, url = ("proxy", proxy) if proxy else ("reachability", settings.api_base_url)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    name = _proxy_variable(settings.api_base_url) if proxy else "EXTEND_BASE_URL"
    advice = (
        f"Check {name} and the network." if proxy or settings.base_url else "Check the network, a firewall and DNS."
    )
    context = certificates() if parts.scheme == "https" else None
    try:
        with anyio.fail_after(_CONNECT_SECONDS):
            await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with anyio.fail_after(_CONNECT_SECONDS):
            async with await anyio.connect_tcp(host, port) as stream:
                if context:
                    await TLSStream.wrap(stream, hostname=host, ssl_context=context)
    except (socket.gaierror, UnicodeError):
        cause = f"{host}: DNS knows no such name"
    except TimeoutError:
        cause = f"{host} port {port}: no answer within {_CONNECT_SECONDS:g} seconds"
    except ssl.SSLCertVerificationError as error:
        return Fault(
            "certificates",
            f"the certificate of {host} is not trusted: {error.verify_message}",
            "Set SSL_CERT_FILE to your organization's certificate file if a proxy inspects traffic.",
        )
    except ssl.SSLError:
        cause = f"{host} port {port}: no TLS connection is possible"
    except OSError as error:
        causes = getattr(error.__cause__, "exceptions", (error.__cause__,))
        refused = any(isinstance(each, ConnectionRefusedError) for each in causes)
        cause = f"{host} port {port}: {'connection refused' if refused else 'no connection is possible'}"
    except anyio.BrokenResourceError:
        cause = f"{host} port {port}: the connection broke"
    else:
        return None
    return Fault(row, f"{name}: {cause}" if proxy else cause, advice)


async def _ask(settings: Settings) -> str | Fault:
    """Read one run. Return what the row says, or the fault."""
    _, registry = build_server(settings)
    try:
        page = await registry.current().api.list_workflow_runs(max_page_size=1)
    except ExtendError as error:
        return _refused(settings, error)
    finally:
        await registry.aclose()
    return f"GET /workflow_runs answered ({'there are runs' if page.data else 'no runs yet'})"


def _refused(settings: Settings, error: ExtendError) -> Fault:
    match error:
        case AuthenticationError():
            advice = "Check EXTEND_API_KEY, and that EXTEND_REGION is the region the key was created in."
            return Fault("key", str(error), advice)
        case PermissionDeniedError() if settings.workspace_id:
            return Fault("workspace", str(error), f"Check what the key may do. {_SET_WORKSPACE}")
        case PermissionDeniedError():
            return Fault("workspace", str(error), _SET_WORKSPACE)
        case InvalidRequestError() if "version" in error.message.lower():
            return Fault("version", str(error), "Update extend-mcp.")
        case InvalidRequestError() if not settings.workspace_id:
            return Fault("workspace", str(error), _SET_WORKSPACE)
        case NotFoundError() if settings.base_url and (settings.base_url.path or "/") != "/":
            advice = f"Remove the path {settings.base_url.path} from EXTEND_BASE_URL."
            return Fault("region", f"EXTEND_BASE_URL has a path: {error}", advice)
        case NotFoundError() | MalformedResponseError() | UnexpectedStatusError() if settings.base_url:
            return Fault("region", f"EXTEND_BASE_URL is not Extend's API: {error}", _SET_URL)
    return Fault("reachability", str(error), error.next_step)


def _proxy_variable(base_url: str) -> str:
    """Return the name of the variable that the proxy comes from."""
    scheme = urlsplit(base_url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), "the system's proxy setting")


def _readable_proxy(base_url: str) -> str | None:
    """Return the proxy without its credentials; None without one, or if it is not a URL."""
    try:
        parts = urlsplit(proxy_for(base_url) or "")
        port = parts.port
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}{f':{port}' if port else ''}" if parts.hostname else None
