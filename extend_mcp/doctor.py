"""``extend-mcp doctor``: check each part of the configuration and name the cause of a failure on its row."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from urllib.parse import urlsplit

import anyio

from extend_mcp.api import errors
from extend_mcp.api.base import API_VERSION
from extend_mcp.api.config import REGION_BASE_URLS
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
_SET_WORKSPACE = "Set EXTEND_WORKSPACE_ID (ws_...) to a workspace of the key. An organization-scoped key needs it."


class CheckError(Exception):
    """A failed check. Its arguments are its row, its cause and the next step."""


async def diagnose(load: Callable[[], Settings], say: Say) -> int:
    """Check the settings part by part, then make one harmless request; return 0 when it could be made, else 1."""
    try:
        settings = load()
    except SettingsError as error:
        for line in str(error).splitlines():
            say(f"FAIL {_ROWS.get(line.partition(':')[0], 'settings'):<12} {line}")
        say("Next: Correct the variables above. docs/configuration.md lists what each one accepts.")
        return 1
    rows = _configured(settings)
    failed, advice = "", "All good: an MCP client can use this configuration."
    try:
        if not settings.sandbox:
            _check_key(settings)
            _check_machine(settings.api_base_url)
            await _check_connection(settings)
        rows["reachability"] = f"{settings.api_base_url} answered"
        rows["reachability"] = await _read_one_run(settings)
    except CheckError as fault:
        failed, rows[fault.args[0]], advice = fault.args
        advice = f"Next: {advice}"
    for name, text in rows.items():
        say(f"{'FAIL' if name == failed else 'ok  '} {name:<12} {text}")
    say(advice)
    return 1 if failed else 0


def _configured(settings: Settings) -> dict[str, str]:
    """Return the rows of what is set, before anything is tried."""
    where = f"{settings.region} = {REGION_BASE_URLS[settings.region]}"
    if settings.base_url:
        where = f"{settings.api_base_url} (EXTEND_BASE_URL wins over EXTEND_REGION)"
    workspace = settings.workspace_id or "none (needed only with an organization-scoped key)"
    if settings.workspace_id and not settings.workspace_id.startswith("ws_"):
        # Most likely something else was pasted here, so it is not repeated.
        workspace = "set, but it does not begin with ws_"
    name, proxy = _proxy(settings.api_base_url)
    return {
        "key": "the sandbox needs none" if settings.sandbox else "set",
        "region": "embedded sandbox" if settings.sandbox else where,
        "version": f"x-extend-api-version: {API_VERSION}",
        "workspace": workspace,
        **({"proxy": f"{name} = {proxy}"} if proxy and not settings.sandbox else {}),
    }


def _check_key(settings: Settings) -> None:
    if settings.api_key is None:
        advice = "Create an API key in the Extend dashboard and set EXTEND_API_KEY, or try --sandbox."
        raise CheckError("key", "EXTEND_API_KEY is not set", advice)
    key = settings.api_key.get_secret_value()
    odd = not (key.isascii() and key.isprintable())
    faults = (
        (key[0] in _QUOTES or key[-1] in _QUOTES, "has quotes around it", "Remove the quotes from the value."),
        (key.lower().startswith("bearer "), 'begins with "Bearer "', "Set it to the key alone."),
        ("\n" in key or "\r" in key, "contains a line break", "Set it to the key alone, on one line."),
        (any(char.isspace() for char in key), "contains a space", "Copy the key again, without spaces."),
        (odd, "contains a character that no key has", "Copy the key from the Extend dashboard again."),
    )
    for found, cause, advice in faults:
        if found:
            raise CheckError("key", f"EXTEND_API_KEY {cause}", advice)


def _check_machine(base_url: str) -> None:
    try:
        certificates()
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        cause = f"{name} cannot be used: {error.strerror or error}"
        raise CheckError("certificates", cause, f"Correct {name}, or unset it.") from None
    if proxy_for(base_url) is None:
        return
    name, proxy = _proxy(base_url)
    scheme = proxy.partition("://")[0]
    if scheme in ("socks5", "socks5h") and find_spec("socksio") is None:
        cause = f"{name} names a SOCKS proxy, and the package socksio is not installed"
        advice = f"Install it next to extend-mcp (pip install socksio), or set {name} to an http:// proxy."
        raise CheckError("proxy", cause, advice)
    if scheme not in ("http", "https", "socks5", "socks5h"):
        raise CheckError("proxy", f"{name} is not the URL of a proxy", f"Set {name} to http://HOST:PORT, or unset it.")


async def _check_connection(settings: Settings) -> None:
    """Open one connection, to the proxy if there is one, to tell apart what the API client reports as one error."""
    proxy = proxy_for(settings.api_base_url)
    parts = urlsplit(proxy or settings.api_base_url)
    tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    name = _proxy(settings.api_base_url)[0] if proxy else "EXTEND_BASE_URL"
    try:
        with anyio.fail_after(_CONNECT_SECONDS):
            connect = partial(anyio.connect_tcp, ssl_context=certificates()) if tls else anyio.connect_tcp
            await (await connect(host, port)).aclose()
            return
    except ssl.SSLCertVerificationError as error:
        cause = f"the certificate of {host} is not trusted: {error.verify_message}"
        advice = "Set SSL_CERT_FILE to your organization's certificate file if a proxy inspects traffic."
        raise CheckError("certificates", cause, advice) from None
    except (OSError, UnicodeError, anyio.BrokenResourceError) as error:
        causes = getattr(error.__cause__, "exceptions", (error.__cause__,))
        if isinstance(error, (socket.gaierror, UnicodeError)):
            cause = f"{host}: DNS knows no such name"
        elif any(isinstance(each, ConnectionRefusedError) for each in causes):
            cause = f"{host} port {port}: connection refused"
        elif isinstance(error, TimeoutError):
            cause = f"{host} port {port}: no answer within {_CONNECT_SECONDS:g} seconds"
        else:
            cause = f"{host} port {port}: no {'TLS ' if isinstance(error, ssl.SSLError) else ''}connection is possible"
    if proxy:
        raise CheckError("proxy", f"{name}: {cause}", f"Check {name} and the network.")
    what = f"{name} and the network" if settings.base_url else "the network, a firewall and DNS"
    raise CheckError("reachability", cause, f"Check {what}.")


async def _read_one_run(settings: Settings) -> str:
    _, registry = build_server(settings)
    try:
        page = await registry.current().api.list_workflow_runs(max_page_size=1)
    except errors.ExtendError as error:
        row, cause, advice = "reachability", str(error), error.next_step
        path = settings.base_url.path if settings.base_url else None
        match error:
            case errors.AuthenticationError():
                row = "key"
                advice = "Check EXTEND_API_KEY, and that EXTEND_REGION is the region the key was created in."
            case errors.InvalidRequestError() if "version" in error.message.lower():
                row, advice = "version", "Update extend-mcp."
            case errors.PermissionDeniedError() | errors.InvalidRequestError() if not settings.workspace_id:
                row, advice = "workspace", _SET_WORKSPACE
            case errors.PermissionDeniedError():
                row, advice = "workspace", f"Check what the key may do. {_SET_WORKSPACE}"
            case errors.NotFoundError() if path and path != "/":
                row, cause = "region", f"EXTEND_BASE_URL has a path: {error}"
                advice = f"Remove the path {path} from EXTEND_BASE_URL."
            case errors.NotFoundError() | errors.MalformedResponseError() | errors.UnexpectedStatusError() if (
                settings.base_url
            ):
                row, cause = "region", f"EXTEND_BASE_URL is not Extend's API: {error}"
                advice = "Correct EXTEND_BASE_URL, or unset it to use EXTEND_REGION."
        raise CheckError(row, cause, advice) from None
    finally:
        await registry.aclose()
    return f"GET /workflow_runs answered ({'there are runs' if page.data else 'no runs yet'})"


def _proxy(base_url: str) -> tuple[str, str]:
    """Return the variable that names the proxy, and the proxy without its credentials; empty if it is not a URL."""
    scheme = urlsplit(base_url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if os.environ.get(name)), "the system's proxy setting")
    try:
        parts = urlsplit(proxy_for(base_url) or "")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return name, ""
    return name, f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else ""
