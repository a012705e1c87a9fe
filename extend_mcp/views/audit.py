"""The list of the calls that could change something, from this server's audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from extend_mcp.runs.times import format_instant
from extend_mcp.views.document import ViewPart, listed
from extend_mcp.views.tables import ListingView, TokenAfter, list_view
from extend_mcp.views.untrusted import Code, Id, Note

_MOST_IDS_IN_FIELDS = 20
_SHOWN_IDS = 3

_SCOPE_OF_AUDIT = (
    "This is the audit of this server alone: actions in Extend's dashboard, by other programs and through "
    "other servers are not in it."
)


class ActionRow(ViewPart):
    """One call that could change something, or was denied."""

    at: datetime
    caller: Id
    tool: Code
    outcome: Code
    target: Id | None = None
    confirmed_by: Code | None = None
    reason: Note | None = None
    counts: dict[Code, int] | None = None
    run_ids: list[Id] | None = None
    new_run_ids: list[Id] | None = None
    request_ids: list[Id] | None = None


class ActionListView(ListingView):
    """The calls, the newest first."""

    rows_field, noun, tool = "actions", "action", "list_actions"
    columns = "time (UTC) · caller · tool · outcome · on · reason"

    actions: list[ActionRow]
    note: str
    untrusted: str = "reason"


def action_list_view(
    lines: Sequence[Mapping[str, Any]],
    *,
    run_id: str | None,
    token_after: TokenAfter,
    filters: str,
    missing: str | None,
    limit: int,
) -> ActionListView:
    """Show lines of the audit as a table.

    Args:
        lines: the lines, the newest first.
        run_id: the run that was asked about: of an action on many, its own outcome is shown.
        missing: what could not be read, or None.
    """
    return list_view(
        ActionListView,
        [_action_row(line, run_id) for line in lines],
        token_after=token_after,
        limit=limit,
        filters=filters,
        columns=ActionListView.columns + (" · requests" if run_id is not None else ""),
        write=lambda rows: [_action_line(row, with_requests=run_id is not None) for row in rows],
        note=_SCOPE_OF_AUDIT + (f" INCOMPLETE: {missing}." if missing else ""),
    )


def _action_row(line: Mapping[str, Any], run_id: str | None) -> ActionRow:
    by_outcome: dict[str, list[str]] = line.get("runs") or {}
    new = line.get("new_runs") or []
    if run_id is not None and run_id in new:
        new = [run_id]
    elif run_id is not None and by_outcome:
        by_outcome = {name: [run_id] for name, ids in by_outcome.items() if run_id in ids}
    run_ids = [each for ids in by_outcome.values() for each in ids]
    return ActionRow(
        at=line["at"],
        caller=line["who"],
        tool=line["tool"],
        outcome=line["outcome"],
        target=line.get("target"),
        confirmed_by=line.get("confirmed"),
        reason=line.get("reason"),
        counts={Code(name): len(ids) for name, ids in by_outcome.items()} or None,
        run_ids=[Id(each) for each in run_ids[:_MOST_IDS_IN_FIELDS]] or None,
        new_run_ids=[Id(each) for each in new[:_MOST_IDS_IN_FIELDS]] or None,
        request_ids=[Id(each) for each in (line.get("request_ids") or [])[:_MOST_IDS_IN_FIELDS]] or None,
    )


def _action_line(row: ActionRow, *, with_requests: bool) -> str:
    # For Extend's support, and a quarter of a line: the fields always hold them.
    requests = [listed(row.request_ids or [], _SHOWN_IDS) or "-"] if with_requests else []
    counts = ", ".join(f"{count:,} {name}" for name, count in (row.counts or {}).items())
    on = listed(row.run_ids, _SHOWN_IDS, of=sum((row.counts or {}).values())) if row.run_ids else f"{row.target or '-'}"
    outcome = f"{row.outcome}" + (f" (confirmed by {row.confirmed_by})" if row.confirmed_by else "")
    if row.new_run_ids and row.counts:
        started = max(row.counts.get(Code("started"), 0), len(row.new_run_ids))
        on += f", started {listed(row.new_run_ids, _SHOWN_IDS, of=started)}"
    return " · ".join(
        [
            format_instant(row.at),
            f"{row.caller}",
            f"{row.tool}",
            f"{outcome}: {counts}" if counts else outcome,
            on,
            f"{row.reason}" if row.reason else "-",
            *requests,
        ]
    )
