"""The answer of an export to a local file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extend_mcp.views.actions import Outcome, WriteView, skipped_words
from extend_mcp.views.document import counted, listed
from extend_mcp.views.untrusted import FieldPath, Label

_MOST_COLUMNS = 200
_SHOWN_COLUMNS = 40


class ExportView(WriteView):
    """The file that was written, and what it does not hold."""

    path: Label | None = None
    rows: int = 0
    columns: list[FieldPath] | None = None
    left_out: dict[str, int] | None = None
    next_page_token: str | None = None
    untrusted: str = "columns"

    @property
    def target(self) -> str | None:
        """The file."""
        return str(self.path) if self.path else None


def export_view(
    outcome: Outcome,
    message: str,
    *,
    path: str = "",
    rows: int = 0,
    columns: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
    escaped: int = 0,
    token: str | None = None,
    limit: int,
) -> ExportView:
    """Build the answer of an export.

    Args:
        path: the file.
        rows: how many runs it holds.
        columns: the headings of the file.
        left_out: how many runs or fields it does not hold, by reason.
        escaped: how many cells a spreadsheet would have run as formulas.
        token: continues an export that is not complete.
    """
    view = ExportView(
        outcome=outcome,
        request_sent=False,
        message=message,
        path=path or None,
        rows=rows,
        columns=[FieldPath(each) for each in columns[:_MOST_COLUMNS]] or None,
        left_out=dict(left_out or {}) or None,
        next_page_token=token,
        next_step=f'export_fields(page_token="{token}") continues.' if token else None,
    )
    lines = [f"Left out: {skipped_words(view.left_out)}."] if view.left_out else []
    if escaped:
        lines.append(f"{counted(escaped, 'cell')} begin with ' since a spreadsheet would run them as formulas.")
    if view.columns:
        lines.append(f"Columns: {listed(view.columns, _SHOWN_COLUMNS, of=len(columns))}")
    view.render(limit, lines=lines)
    return view
