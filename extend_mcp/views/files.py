"""Files: a list, one file with its parsed text, and what a delete would lose."""

from __future__ import annotations

from datetime import datetime

from pydantic import AliasPath, Field

from extend_mcp.api.models import File, FileSummary
from extend_mcp.views.document import Document, OrNone, View, cell, counted
from extend_mcp.views.tables import ListingRow, ListingView
from extend_mcp.views.untrusted import Code, DownloadUrl, Id, Label, tree_lines


class FileRow(ListingRow):
    """One file of a list."""

    file_id: Id = Field(validation_alias="id")
    name: Label
    type: OrNone[Code] = None
    pages: int | None = Field(None, validation_alias=AliasPath("metadata", "page_count"))
    created_at: datetime | None = None


class FileListView(ListingView):
    """Some files."""

    rows_field, noun, tool = "files", "file", "list_files"
    columns = "id · name · type · pages · created"

    files: list[FileRow]
    untrusted: str = "name"


class FileView(View, FileRow):
    """One file: its facts, a page of its parsed text where asked for, a download URL where asked for."""

    parent_file_id: OrNone[Id] = None
    download_url: OrNone[DownloadUrl] = None
    text_page: int | None = None
    text_pages: int | None = None
    content: str | None = None
    untrusted: str = "name, content"


def file_view(file: File, *, with_text: bool, with_url: bool, page: int, limit: int) -> FileView:
    """Show a file; a page of its parsed text, and its download URL, only where they were asked for."""
    view = FileView.model_validate(file)
    lines = file_lines(file)
    if with_url:
        url = DownloadUrl(file.presigned_url.get_secret_value()) if file.presigned_url else DownloadUrl()
        view.download_url = url or None
        for_all = "Download (works for 15 minutes, for anyone who has it):"
        lines.append(f"{for_all} {url}" if url else "Extend gave no usable download URL.")
    if not with_text:
        return view.with_text(Document(lines).text)
    text = tree_lines(file.contents) if file.stored_text else [_NO_TEXT]
    shown, part = Document(lines, text).page(page, limit)
    view.text_page, view.text_pages, view.content = part.page, part.pages, part.content
    return view.with_text(shown)


_NO_TEXT = (
    "This file has no stored text; read it through a parse step: "
    'get_step_result(run_id, step="PARSE") of a run of this file.'
)


def file_lines(file: FileSummary) -> list[str]:
    """Return a file's facts, a line each."""
    pages = file.metadata.page_count
    said = [f"{Code(file.type) or 'type unknown'}", "page count unknown" if pages is None else counted(pages, "page")]
    lines = [f"File {Label(file.name):120} ({Id(file.id)})", f"{', '.join(said)}, created {cell(file.created_at)}"]
    split = file.metadata.parent_split
    if file.parent_file_id:
        part = f", pages {split.start_page}-{split.end_page}" if split else ""
        lines.append(f"Split from {Id(file.parent_file_id)}{part}")
    return lines
