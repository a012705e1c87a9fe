"""``extend-mcp doctor``: is this configuration able to work, and if not, what is to be done?"""

from __future__ import annotations

from collections.abc import Callable

from extend_mcp.api.config import REGION_BASE_URLS
from extend_mcp.api.errors import (
    AuthenticationError,
    ConnectFailedError,
    ExtendError,
    InvalidRequestError,
    MalformedResponseError,
    PermissionDeniedError,
    UnexpectedStatusError,
)
from extend_mcp.server import build_server
from extend_mcp.settings import Settings

Say = Callable[[str], None]

_CAUSES: tuple[tuple[type[ExtendError], str, str], ...] = (
    (ConnectFailedError, "reachability", "Check the network, a proxy, and EXTEND_BASE_URL."),
    (AuthenticationError, "key", "Check EXTEND_API_KEY, and that EXTEND_REGION is the region the key was made in."),
    (
        PermissionDeniedError,
        "workspace",
        "Set EXTEND_WORKSPACE_ID (ws_...) for an organization-scoped key, or correct it.",
    ),
    (
        InvalidRequestError,
        "version or workspace",
        "See the text above; an organization-scoped key needs EXTEND_WORKSPACE_ID.",
    ),
    (MalformedResponseError, "base URL", "EXTEND_BASE_URL answers, but not as Extend's API: correct or unset it."),
    (UnexpectedStatusError, "base URL", "EXTEND_BASE_URL answers, but not as Extend's API: correct or unset it."),
)


async def examine(settings: Settings, say: Say) -> int:
    """Check ``settings`` one by one and make one harmless request.

    Args:
        settings: what to check.
        say: takes each line of the report.

    Returns:
        0 when a list of runs could be read, else 1.
    """
    key = "the sandbox needs none" if settings.sandbox else "set" if settings.api_key else "EXTEND_API_KEY is not set"
    missing = not settings.sandbox and settings.api_key is None
    say(f"{'FAIL' if missing else 'ok  '} key          {key}")
    where = "embedded sandbox" if settings.sandbox else _where(settings)
    say(f"ok   region       {where}")
    say("ok   version      x-extend-api-version: 2026-02-09")
    workspace = settings.workspace_id or "none (needed only with an organization-scoped key)"
    # A workspace id is no secret, but one without its prefix is most likely something else pasted here.
    odd = settings.workspace_id is not None and not settings.workspace_id.startswith("ws_")
    say(f"{'warn' if odd else 'ok  '} workspace    {'does not begin with ws_' if odd else workspace}")
    if missing:
        say("Next: create an API key in Extend's dashboard and set EXTEND_API_KEY, or try --sandbox.")
        return 1
    return await _reach(settings, say)


def _where(settings: Settings) -> str:
    if settings.base_url:
        return f"{settings.api_base_url} (EXTEND_BASE_URL wins over EXTEND_REGION)"
    return f"{settings.region} = {REGION_BASE_URLS[settings.region]}"


async def _reach(settings: Settings, say: Say) -> int:
    _, registry = build_server(settings)
    try:
        page = await registry.current().api.list_workflow_runs(max_page_size=1)
    except ExtendError as error:
        area, advice = next(
            ((area, advice) for kind, area, advice in _CAUSES if isinstance(error, kind)), ("api", error.next_step)
        )
        say(f"FAIL reachability {error}")
        say(f"Next ({area}): {advice}")
        return 1
    finally:
        await registry.aclose()
    say(f"ok   reachability GET /workflow_runs answered ({'there are runs' if page.data else 'no runs yet'})")
    say("All good: an MCP client can use this configuration.")
    return 0
