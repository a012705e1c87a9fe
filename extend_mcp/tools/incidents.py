"""Tools for the morning after: which failures are still open, what was processed twice, and who did what."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any

import anyio.to_thread
from pydantic import Field

from extend_mcp.audit import AuditScan
from extend_mcp.callers import CallerContext, Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.failures import RERUN_OF, chains, fate, same_files
from extend_mcp.runs.times import format_instant
from extend_mcp.scopes import AUDIT_READ
from extend_mcp.tools.args import Moment, PageToken, RunId
from extend_mcp.tools.pagination import PagePosition, open_token
from extend_mcp.tools.run_filter import DETAILS, OF_LISTS, RunFilter, parse_window, takes_run_filter
from extend_mcp.tools.run_scan import RunReader
from extend_mcp.tools.toolsets import INCIDENTS, READ_ONLY
from extend_mcp.views.audit import ActionListView, action_list_view
from extend_mcp.views.incidents import DoneTwiceView, OpenFailuresView, done_twice_view, open_failures_view
from extend_mcp.views.untrusted import Id

_OFF = "this server keeps no audit that it can read; its operator can set EXTEND_MCP_AUDIT to a file"

Shown = Annotated[int, Field(ge=1, le=200, description="How many to name", examples=[20])]


@INCIDENTS.tool(title="List open failures", annotations=READ_ONLY)
@takes_run_filter(without={*OF_LISTS, "status", "file_name_contains"})
async def list_open_failures(ctx: Ctx, filters: RunFilter, limit: Shown = 10) -> OpenFailuresView:
    """Sort the documents that failed in a window by what became of them: resolved by a good run of the same document
    since, running, failed again, never rerun; and list the open ones by cause. Rerun them with rerun_workflow_runs.
    """
    reader = RunReader(ctx)
    app = reader.app
    if filters.created_since is None:
        raise CallRefusedError('created_since is needed: failures of which time? Example: created_since="24h".')
    filters = await filters.resolve(app)
    # A rerun may be of another time or version.
    wide = RunFilter(workflow_id=filters.workflow_id, since=filters.since)
    listed = await reader.select(wide)
    runs, missing = listed.runs, listed.missing
    failed = [
        run for run in runs if run.status == "FAILED" and filters.matches(run) and filters.batch in (None, run.batch_id)
    ]
    insights = (await reader.insights(failed)).found
    if filters.needs_details:
        if unread := sum(run.id not in insights for run in failed):
            more = "; ask again to look into them" if app.histories else ""
            missing.append(f"{unread:,} failed runs were not looked into and are not counted{more}")
        looked_into = [insights[run.id] for run in failed if run.id in insights]
        failed = [run for run, cause, metadata in looked_into if filters.matches_details(cause, metadata)]
    history = await app.history()
    # Of a good run the mark is known only if another question had to read it.
    kept = await history.metadata(wide.selection(), RERUN_OF) if history else {}
    read = {run_id: each.metadata.get(RERUN_OF) for run_id, each in insights.items()}
    marks = {run_id: mark for run_id, mark in (kept | read).items() if mark}
    wanted = {run.id for run in failed}
    documents = []
    for document in chains(runs, marks):
        if places := [place for place, run in enumerate(document) if run.id in wanted]:
            last = document[places[-1]]
            documents.append((insights[last.id].run if last.id in insights else last, fate(document[places[0] :])))
    extent = reader.extent(filters.description(), missing)
    return open_failures_view(documents, extent, failed=len(failed), shown=limit)


@INCIDENTS.tool(title="List what was processed twice", annotations=READ_ONLY)
@takes_run_filter(without={*DETAILS, *OF_LISTS, "status", "file_name_contains"})
async def list_done_twice(ctx: Ctx, filters: RunFilter, limit: Shown = 10) -> DoneTwiceView:
    """List the files that more than one run of the same workflow processed in a window, with the credits spent twice.
    Intended reruns (by their rerunOf mark, or after a failure) are left out.
    """
    reader = RunReader(ctx)
    app = reader.app
    filters = await filters.resolve(app)
    listed = await reader.select(filters, ["PROCESSED"] if filters.since is None else ())
    runs, missing = listed.runs, listed.missing
    groups = same_files(run for run in runs if run.status == "PROCESSED")
    repeated = [group for group in groups if len(group) > 1]
    unsure = [run for group in repeated for run in group[1:]]
    insights = (await reader.insights(unsure)).found
    if left := len(unsure) - len(insights):
        missing.append(f"{left:,} runs were not looked into: they may be intended reruns")
    intended = {run_id for run_id, each in insights.items() if each.metadata.get(RERUN_OF)}
    groups = [[group[0], *(run for run in group[1:] if run.id not in intended)] for group in repeated]
    repeats, extent = [group for group in groups if len(group) > 1], reader.extent(filters.description(), missing)
    return done_twice_view(repeats, extent, intended=len(intended), shown=limit)


@INCIDENTS.tool(title="List actions", annotations=READ_ONLY, scope=AUDIT_READ)
async def list_actions(
    ctx: Ctx,
    run_id: RunId | None = None,
    caller: Annotated[str, Field(max_length=300, examples=["token:anna"])] | None = None,
    since: Moment | None = None,
    before: Moment | None = None,
    page_size: Annotated[int, Field(ge=1, le=100, description="Actions per page", examples=[20])] = 10,
    page_token: PageToken | None = None,
) -> ActionListView:
    """List who did what through this server, newest first: each call that could change something, its outcome,
    who confirmed it, the reason given and the runs. Actions in Extend's dashboard are not in it.
    """
    app = caller_context(ctx)
    window = parse_window(app.clock.now(), since=since, before=before)
    # Later pages mean the same: "24h" moves.
    first, last = (moment and format_instant(moment) for moment in window)
    given = {"run_id": run_id, "caller": caller, "since": first, "before": last}
    place = open_token("list_actions", given, page_token)
    try:
        # A large file must not keep other calls waiting.
        found, missing = await anyio.to_thread.run_sync(_actions, app, place, page_size)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "page_token is not one of this list"
        raise CallRefusedError(f"The audit cannot be read: {why}.") from None

    def token_after(count: int) -> str | None:
        return place.model_copy(update={"t": str(found[count - 1][0])}).encode() if count < len(found) else None

    return action_list_view(
        [line for _, line in found[:page_size]],
        run_id=place.a.get("run_id"),
        token_after=token_after,
        filters=", ".join(f"{name.removesuffix('_id')} {Id(value)}" for name, value in place.a.items()),
        missing=missing,
        limit=app.limits.answer_chars,
    )


def _actions(
    app: CallerContext, place: PagePosition, page_size: int
) -> tuple[list[tuple[int, dict[str, Any]]], str | None]:
    """Return the lines of the audit on a page and the next one, each with its place, and why older ones are missing."""
    if app.audit.file is None:
        return [], _OFF
    wanted, scan = place.a, AuditScan(app.audit.file, int(place.t) if place.t else None)
    found: list[tuple[int, dict[str, Any]]] = []
    for at, line in scan.lines():
        if line["at"] < wanted.get("since", ""):
            return found, None
        runs = [line.get("target"), *(line.get("new_runs") or ()), *chain(*(line.get("runs") or {}).values())]
        if (
            line.get("account") == app.account_id
            and wanted.get("run_id") in (None, *runs)
            and wanted.get("caller") in (None, line["who"])
            and line["at"] < wanted.get("before", "~")
        ):
            found.append((at, line))
            if len(found) > page_size:
                return found, None
    return found, None if scan.complete else f"only the newest {scan.most_bytes:,} bytes of the audit were read"
