"""Files: a list, one file with its parsed text, and what a delete would lose."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from extend_mcp.api.models import File, FileSummary
from extend_mcp.views.document import Document, View, counted
from extend_mcp.views.tables import ListingRow, ListingView, TokenAfter, list_view, moment
from extend_mcp.views.untrusted import Code, DownloadUrl, Id, Label, tree_lines


class FileRow(ListingRow):
    """One file of a list."""

    file_id: Id
    name: Label
    type: Code | None = None
    pages: int | None = None
    created_at: datetime | None = None

    def line(self) -> str:
        pages = "?" if self.pages is None else self.pages
        return f"{self.file_id} · {self.name:80} · {self.type or '?'} · {pages} · {moment(self.created_at)}"


class FileListView(ListingView):
    """Some files."""

    rows_field, noun, tool = "files", "file", "list_files"
    columns = "id · name · type · pages · created"

    files: list[FileRow]
    untrusted: str = "name"


class FileView(View):
    """One file: its facts, a page of its parsed text where asked for, a download URL where asked for."""

    file_id: Id
    name: Label
    type: Code | None = None
    pages: int | None = None
    parent_file_id: Id | None = None
    created_at: datetime | None = None
    download_url: DownloadUrl | None = None
    text_page: int | None = None
    text_pages: int | None = None
    content: str | None = None
    untrusted: str = "name, content"


def file_list_view(files: list[FileSummary], *, token_after: TokenAfter, limit: int) -> FileListView:
    """Show files as a table."""
    rows = [FileRow(**_facts(file)) for file in files]
    return list_view(FileListView, rows, token_after=token_after, limit=limit)


def file_view(file: File, *, with_text: bool, with_url: bool, page: int, limit: int) -> FileView:
    """Show a file; a page of its parsed text, and its download URL, only where they were asked for."""
    view = FileView(**_facts(file), parent_file_id=file.parent_file_id or None)
    lines = file_lines(file)
    if with_url:
        url = DownloadUrl(file.presigned_url.get_secret_value()) if file.presigned_url else None
        view.download_url = url or None
        lines.append(
            f"Download (works for 15 minutes, for anyone who has it): {url}"
            if url
            else "Extend gave no usable download URL."
        )
    if not with_text:
        return view.with_text(Document(lines).text)
    text = tree_lines(file.contents) if file.stored_text else [_NO_TEXT]
    shown = Document(lines, text).page(page, limit)
    view.text_page, view.text_pages, view.content = shown.number, shown.count, shown.content
    return view.with_text(shown.text)


_NO_TEXT = (
    "This file has no stored text; read it through a parse step: "
    'get_step_result(run_id, step="PARSE") of a run of this file.'
)


def file_lines(file: FileSummary) -> list[str]:
    """Return a file's facts, a line each."""
    pages = file.metadata.page_count
    said = [f"{Code(file.type) or 'type unknown'}", "page count unknown" if pages is None else counted(pages, "page")]
    lines = [
        f"File {Label(file.name):120} ({Id(file.id)})",
        f"{', '.join(said)}, created {moment(file.created_at)}",
    ]
    split = file.metadata.parent_split
    if file.parent_file_id:
        part = f", pages {split.start_page}-{split.end_page}" if split else ""
        lines.append(f"Split from {Id(file.parent_file_id)}{part}")
    return lines


def _facts(file: FileSummary) -> dict[str, Any]:
    return {
        "file_id": file.id,
        "name": file.name,
        "type": file.type or None,
        "pages": file.metadata.page_count,
        "created_at": file.created_at,
    }
