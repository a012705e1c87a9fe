"""The list of the calls that could change something, from this server's audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from extend_mcp.runs.times import format_instant
from extend_mcp.views.document import OrNone, ViewPart, listed
from extend_mcp.views.tables import ListingView, TokenAfter, list_view
from extend_mcp.views.untrusted import Code, Id, Note

_MOST_IDS_IN_FIELDS = 20
_SHOWN_IDS = 3
_SCOPE_OF_AUDIT = (
    "This is the audit of this server alone: actions in Extend's dashboard, by other programs and through "
    "other servers are not in it."
)

FirstIds = Annotated[OrNone[list[Id]], AfterValidator(lambda ids: ids and ids[:_MOST_IDS_IN_FIELDS])]


class ActionRow(ViewPart):
    """One call that could change something, or was denied."""

    at: datetime
    caller: Id = Field(validation_alias="who")
    tool: Code
    outcome: Code
    target: Id | None = None
    confirmed_by: Code | None = Field(None, validation_alias="confirmed")
    reason: Note | None = None
    counts: OrNone[dict[Code, int]] = None
    run_ids: FirstIds = None
    new_run_ids: FirstIds = Field(None, validation_alias="new_runs")
    request_ids: FirstIds = None

    def line(self, *, with_requests: bool) -> str:
        """Write the call in one line."""
        counts, on = self.counts or {}, f"{self.target or '-'}"
        if self.run_ids:
            on = listed(self.run_ids, _SHOWN_IDS, of=sum(counts.values()))
        if self.new_run_ids and counts:
            started = max(counts.get(Code("started"), 0), len(self.new_run_ids))
            on += f", started {listed(self.new_run_ids, _SHOWN_IDS, of=started)}"
        outcome = f"{self.outcome}" + (f" (confirmed by {self.confirmed_by})" if self.confirmed_by else "")
        outcome += f": {', '.join(f'{count:,} {name}' for name, count in counts.items())}" if counts else ""
        cells = [format_instant(self.at), f"{self.caller}", f"{self.tool}", outcome, on, f"{self.reason or '-'}"]
        # For Extend's support, and a quarter of a line: the fields always hold them.
        cells += [listed(self.request_ids or [], _SHOWN_IDS) or "-"] if with_requests else []
        return " · ".join(cells)


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
    """Show lines of the audit, the newest first, as a table; of an action on many, what it did to run ``run_id``."""
    asked = run_id is not None
    return list_view(
        ActionListView,
        [_about(line, run_id) for line in lines],
        token_after=token_after,
        limit=limit,
        filters=filters,
        columns=ActionListView.columns + " · requests" * asked,
        write=lambda rows: [row.line(with_requests=asked) for row in rows],
        note=_SCOPE_OF_AUDIT + (f" INCOMPLETE: {missing}." if missing else ""),
    )


def _about(line: Mapping[str, Any], run_id: str | None) -> dict[str, Any]:
    runs: dict[str, list[str]] = line.get("runs") or {}
    new = line.get("new_runs") or []
    if run_id in new:
        new = [run_id]
    elif run_id is not None:
        runs = {outcome: [run_id] for outcome, ids in runs.items() if run_id in ids}
    run_ids = [each for ids in runs.values() for each in ids]
    return {**line, "counts": {name: len(ids) for name, ids in runs.items()}, "run_ids": run_ids, "new_runs": new}
