"""The tool that reads this server's own audit."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from pydantic import Field

from extend_mcp.audit import AuditScan
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.times import format_instant
from extend_mcp.scopes import AUDIT_READ
from extend_mcp.tools.args import Example, Moment, PageToken, RunId
from extend_mcp.tools.pagination import open_token
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.toolsets import INCIDENTS, READ_ONLY
from extend_mcp.views.audit_log import ActionListView, action_list_view
from extend_mcp.views.untrusted import Id

_OFF = "this server keeps no audit that it can read; its operator can set EXTEND_MCP_AUDIT to a file"


@INCIDENTS.tool(title="List actions", annotations=READ_ONLY, scope=AUDIT_READ)
async def list_actions(
    ctx: Ctx,
    run_id: RunId | None = None,
    caller: Annotated[str, Field(max_length=300), Example("token:anna")] | None = None,
    since: Moment | None = None,
    before: Moment | None = None,
    page_size: Annotated[int, Field(ge=1, le=100, description="Actions per page"), Example("20")] = 10,
    page_token: PageToken | None = None,
) -> ActionListView:
    """List who did what through this server, newest first: each call that could change something, its outcome,
    who confirmed it, the reason given and the runs. Actions in Extend's dashboard are not in it.
    """
    app = caller_context(ctx)
    window = await RunFilter(created_since=since, created_before=before).resolve(app)
    given = {
        "run_id": run_id,
        "caller": caller,
        # Later pages mean the same: "24h" moves.
        "since": format_instant(window.since) if window.since else None,
        "before": format_instant(window.before) if window.before else None,
    }
    place = open_token("list_actions", given, page_token)
    wanted, account = place.a, app.account_id

    def read() -> tuple[list[tuple[int, dict[str, Any]]], str | None]:
        if app.audit.file is None:
            return [], _OFF
        scan = AuditScan(app.audit.file, int(place.t) if place.t else None)
        found: list[tuple[int, dict[str, Any]]] = []
        for at, line in scan.lines():
            if line["at"] < wanted.get("since", ""):
                return found, None
            if line.get("account") == account and _fits(line, wanted):
                found.append((at, line))
                if len(found) > page_size:
                    return found, None
        return found, None if scan.complete else f"only the newest {scan.most_bytes:,} bytes of the audit were read"

    try:
        # A large file must not keep other calls waiting.
        found, missing = await anyio.to_thread.run_sync(read)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "page_token is not one of this list"
        raise CallRefusedError(f"The audit cannot be read: {why}.") from None

    def token_after(count: int) -> str | None:
        return place.model_copy(update={"t": str(found[count - 1][0])}).encode() if count < len(found) else None

    said = [
        f"run {Id(wanted['run_id'])}" if "run_id" in wanted else "",
        f"caller {Id(wanted['caller'])}" if "caller" in wanted else "",
        f"since {wanted['since']}" if "since" in wanted else "",
        f"before {wanted['before']}" if "before" in wanted else "",
    ]
    return action_list_view(
        [line for _, line in found[:page_size]],
        run_id=wanted.get("run_id"),
        token_after=token_after,
        filters=", ".join(filter(None, said)),
        missing=missing,
        limit=app.limits.answer_chars,
    )


def _fits(line: dict[str, Any], wanted: dict[str, Any]) -> bool:
    run, caller, before = wanted.get("run_id"), wanted.get("caller"), wanted.get("before")
    runs = [line.get("target"), *(line.get("new_runs") or ())]
    runs += [each for ids in (line.get("runs") or {}).values() for each in ids]
    return bool(
        (run is None or run in runs)
        and (caller is None or caller == line["who"])
        and (before is None or before > line["at"])
    )
