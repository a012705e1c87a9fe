"""The tool that writes extracted values to a local file: they never pass through the model."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import anyio.to_thread
from pydantic import Field

from extend_mcp.api.errors import NotFoundError
from extend_mcp.api.models import WorkflowRun
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.times import format_instant
from extend_mcp.scopes import RUNS_READ
from extend_mcp.tools.args import Moment, OneStatus, PageToken, WorkflowRef
from extend_mcp.tools.local_file import Folder, locate, opened_folder
from extend_mcp.tools.pagination import PagePosition, open_token
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import CALL_SECONDS, RunLists, RunReader
from extend_mcp.tools.toolsets import CREATES, INCIDENTS
from extend_mcp.views.actions import ExportView, export_view
from extend_mcp.views.document import error_words
from extend_mcp.views.steps import as_object
from extend_mcp.views.untrusted import FieldPath

_ABOUT = ("run_id", "created_at", "status", "file")
"""The columns that come before the fields."""

_LAST_SECONDS = 8.0
"""Kept at the end of a call for the requests in progress and for writing the table."""

_AT_A_TIME = 20
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*")


@INCIDENTS.tool(title="Export fields", annotations=CREATES, scope=RUNS_READ)
async def export_fields(
    ctx: Ctx,
    workflow: WorkflowRef | None = None,
    path: Annotated[str, Field(max_length=4096, description=".csv or .jsonl, new", examples=["may.csv"])] | None = None,
    created_since: Moment | None = None,
    created_before: Moment | None = None,
    status: OneStatus = "PROCESSED",
    fields: Annotated[list[str], Field(max_length=200, examples=[["invoice_number", "total"]])] | None = None,
    page_token: PageToken | None = None,
) -> ExportView:
    """Write the values extracted by a workflow's runs to a new file in an allowed folder, one row per run, newest
    first. Use it where the user wants a table: values go to the file and not into the answer.
    Returns the path, rows, columns and what was left out.
    """
    app = caller_context(ctx)
    limit = app.limits.answer_chars
    if not app.local_files or not app.settings.file_roots:
        why = "it is shared" if not app.local_files else "the user can allow folders with EXTEND_MCP_FILE_ROOTS"
        return export_view("refused", f"This server writes no local files: {why}.", limit=limit)
    window = await RunFilter(created_since=created_since, created_before=created_before, workflow=workflow).resolve(app)
    given = {
        "path": path,
        "workflow": window.workflow_id,
        "since": format_instant(window.since) if window.since else None,
        "before": format_instant(window.before) if window.before else None,
        "status": status if not page_token else None,
        "fields": fields,
    }
    place = open_token("export_fields", given, page_token)
    if not {"path", "workflow"} <= place.a.keys():
        raise CallRefusedError('Give workflow and path, such as path="invoices.csv".')
    if Path(place.a["path"]).suffix.lower() not in (".csv", ".jsonl") or "\0" in place.a["path"]:
        raise CallRefusedError("path: must end in .csv or .jsonl, and hold no NUL.")
    target = Path(place.a["path"])
    located = locate(str(target.parent), app.settings.file_roots, Path.is_dir)
    if located is None:
        raise CallRefusedError("path: its folder does not exist under the folders of EXTEND_MCP_FILE_ROOTS.")
    try:
        with opened_folder(*located) as folder:
            reader = RunReader(ctx, CALL_SECONDS - _LAST_SECONDS)
            return await _Export(reader, folder, target.name, place).run()
    except OSError as error:
        raise CallRefusedError(f"path: the file cannot be written ({error.strerror}).") from None


@dataclass
class _Export:
    """One export. Rows are kept as JSON lines in ``NAME.partial`` until all are read, so no half table has its name."""

    reader: RunReader
    folder: Folder
    name: str
    place: PagePosition
    written: int = 0

    def __post_init__(self) -> None:
        self.spool = f"{self.name}.partial"
        self.limit = self.reader.app.limits.answer_chars

    async def run(self) -> ExportView:
        kept = self.place.a.get("size", 0)
        begins = "size" not in self.place.a
        for name in (self.name, self.spool) if begins else (self.name,):
            if self.folder.holds(name):
                raise CallRefusedError(f"path: {name} exists already.")
        flags = os.O_WRONLY | (os.O_CREAT | os.O_EXCL if begins else os.O_APPEND)
        file = os.fdopen(self.folder.open(self.spool, flags), "wb")
        with ExitStack() as undo:
            if begins:
                undo.callback(self.folder.remove, self.spool)
            with file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size < kept:
                    raise CallRefusedError(f"path: {self.spool} is not as the last call left it. Export to a new file.")
                # A call whose answer was lost may have written more.
                file.truncate(kept)
                problem = await self._read(file)
                size = file.seek(0, os.SEEK_END)
            undo.pop_all()
        if problem is not None:
            where = self.place.model_copy(update={"a": {**self.place.a, "size": size}})
            message = f"{self.written:,} more runs were read; {problem}. {self._path(self.spool)} holds those so far."
            return export_view("partial", message, token=where.encode(), limit=self.limit)
        # Nothing else may run in between: what is kept is read once more and written as a table.
        return await anyio.to_thread.run_sync(self._finish)

    async def _read(self, file: BinaryIO) -> str | None:
        """Read runs and keep their rows; return why not all were read."""
        wanted = self.place.a
        filters = RunFilter(
            status=wanted["status"],
            workflow_id=wanted["workflow"],
            created_since=wanted.get("since"),
            created_before=wanted.get("before"),
        )
        lists = RunLists(self.reader, await filters.resolve(self.reader.app), start=self.place)
        while taken := await lists.take(_AT_A_TIME):
            details = await self.reader.read([run.id for run, _ in taken], _row, noun="runs read")
            if details.skipped:
                return "time was up"
            for run_id, error in details.failed.items():
                why = "deleted meanwhile" if isinstance(error, NotFoundError) else error_words(error)
                details.found[run_id] = {"left_out": why}
            file.writelines(f"{json.dumps(details.found[run.id])}\n".encode() for run, _ in taken)
            self.written += len(taken)
            token, skip = lists.places[0] or (None, 0)
            self.place = self.place.model_copy(update={"t": token, "s": skip})
        return lists.ended_by and f"{lists.ended_by}{lists.problem}"

    def _finish(self) -> ExportView:
        table = _Table(self._rows, self.place.a.get("fields"))
        if not table.rows:
            self.folder.remove(self.spool)
            message = "No run here has values to export; no file was written."
            return export_view("nothing_to_do", message, left_out=table.left_out, limit=self.limit)
        is_csv, columns, path = self.name.lower().endswith(".csv"), [*_ABOUT, *table.columns], self._path(self.name)
        # Spreadsheets take a file for UTF-8 by the mark at its start.
        encoding = "utf-8-sig" if is_csv else "utf-8"
        descriptor = self.folder.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(descriptor, "w", encoding=encoding, errors="replace", newline="") as out:
            if is_csv:
                # Quotes around every text keep it one cell, whatever the spreadsheet takes for a separator.
                writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
                writer.writerow(map(table.cell, columns))
            for about, values in table.lines():
                if is_csv:
                    writer.writerow(map(table.cell, [*about.values(), *map(values.get, table.columns)]))
                else:
                    known = {name: values[name] for name in table.columns if values.get(name) is not None}
                    out.write(json.dumps({**about, "fields": known}, ensure_ascii=False) + "\n")
        self.folder.remove(self.spool)
        return export_view(
            "done",
            f"{table.rows:,} rows and {len(columns):,} columns are in {path}.",
            path=path,
            rows=table.rows,
            columns=columns,
            left_out=table.left_out,
            escaped=table.escaped,
            limit=self.limit,
        )

    def _rows(self) -> Iterator[dict[str, Any]]:
        with os.fdopen(self.folder.open(self.spool, os.O_RDONLY), encoding="utf-8") as file:
            yield from map(json.loads, file)

    def _path(self, name: str) -> str:
        return str(self.folder.path / name)


class _Table:
    """The columns of the kept rows, and their cells.

    A column is a path such as ``vendor.name``. Where a run has a path from two steps, its columns begin with the step.
    ``left_out`` counts the runs and fields that have no row or column, by reason, and ``escaped`` the cells that were
    made harmless.
    """

    def __init__(self, read: Callable[[], Iterator[dict[str, Any]]], wanted: Sequence[str] | None) -> None:
        self.rows = self.escaped = 0
        self.left_out: Counter[str] = Counter()
        self._read = read
        self._in_two_steps: set[str] = set()
        found: dict[tuple[str, str], None] = {}
        for row in read():
            if "left_out" in row:
                self.left_out[row["left_out"]] += 1
                continue
            self.rows += 1
            found |= dict.fromkeys((step, path) for step, path, _ in row["values"])
            paths = Counter(path for _, path, _ in row["values"])
            self._in_two_steps |= {path for path, count in paths.items() if count > 1}
        headings = dict.fromkeys(self._heading(step, path) for step, path in found)
        fitting = {
            name: [each for each in headings if each == name or f"{each.rpartition(': ')[2]}.".startswith(f"{name}.")]
            for name in wanted or ()
        }
        self.left_out.update(f"field {FieldPath(name)} (no run has it)" for name, fits in fitting.items() if not fits)
        # The headings of the fields, in the order asked for or found.
        self.columns = list(headings if wanted is None else dict.fromkeys(chain(*fitting.values())))

    def lines(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Iterate over the rows: what is known of the run, and its values by column."""
        for row in self._read():
            if values := row.pop("values", None):
                yield row, {self._heading(step, path): value for step, path, value in values}

    def cell(self, value: Any) -> Any:
        """Return a value as a cell: text that a spreadsheet would run begins with an apostrophe."""
        if value is None or type(value) in (int, float):
            return "" if value is None else value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
            self.escaped += 1
            return f"'{text}"
        return text

    def _heading(self, step: str, path: str) -> str:
        return f"{step}: {path}" if path in self._in_two_steps else path


def _row(run: WorkflowRun) -> dict[str, Any]:
    """Return what is kept of a run: its values, each with its step and path."""
    values: list[tuple[str, str, Any]] = []
    titles: Counter[str] = Counter()
    for step in run.step_runs:
        if leaves := list(_leaves(as_object(step.output.get("value")))):
            titles[step.title] += 1
            name = f"{step.title} #{titles[step.title]}" if titles[step.title] > 1 else step.title
            values += [(name, path, value) for path, value in leaves]
    if not values:
        return {"left_out": "without extracted values"}
    created, file = format_instant(run.created) if run.created else None, run.files[0] if run.files else None
    about = (run.id, created, run.status, file and (file.name or file.id))
    return {**dict(zip(_ABOUT, about, strict=True)), "values": values}


def _leaves(value: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over paths and values; a list is one value."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, f"{above}{name}.")
        else:
            yield f"{above}{name}", item
