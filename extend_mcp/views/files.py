"""Files: a list, one file with its parsed text, and what a delete would lose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from extend_mcp.api.models import File, FileSummary
from extend_mcp.views.base import View, ViewPart
from extend_mcp.views.budget import paginate
from extend_mcp.views.listing import ListingView, listing, moment
from extend_mcp.views.tree import tree_lines
from extend_mcp.views.untrusted import NOTE, download_link, plain, quote, word


class FileRow(ViewPart):
    """One file of a list."""

    file_id: str
    name: str
    type: str | None = None
    pages: int | None = None
    created_at: datetime | None = None


class FileListView(ListingView):
    """Some files."""

    files: list[FileRow]
    untrusted: str = "name"


class FileView(View):
    """One file: its facts, a page of its parsed text where asked for, a download URL where asked for."""

    file_id: str
    name: str
    type: str | None = None
    pages: int | None = None
    parent_file_id: str | None = None
    created_at: datetime | None = None
    download_url: str | None = None
    text_page: int | None = None
    text_pages: int | None = None
    content: str | None = None
    untrusted: str = "name, content"


def file_list_view(files: list[FileSummary], *, token_after: Callable[[int], str | None], limit: int) -> FileListView:
    """Show files as a table."""
    return listing(
        lambda shown, count, token: FileListView(
            files=shown, shown=count, complete=token is None, next_page_token=token
        ),
        [_row(file) for file in files],
        lambda row: (
            f"{word(row.file_id, 300)} | {quote(row.name, 80)} | {word(row.type or '', 20) or '?'} | "
            f"{'?' if row.pages is None else row.pages} | {moment(row.created_at)}"
        ),
        noun="files",
        columns="id | name | type | pages | created",
        tool="list_files",
        token_after=token_after,
        limit=limit,
    )


def file_view(file: File, *, with_text: bool, with_url: bool, page: int, limit: int) -> FileView:
    """Show a file.

    Args:
        file: as the API gave it.
        with_text: whether its parsed text was asked for.
        with_url: whether the download URL was asked for; whoever has it can read the file for 15 minutes.
        page: which page of the text, from 1.
        limit: characters of the answer's text.
    """
    lines = file_lines(file)
    view = FileView(
        **_row(file).model_dump(),
        parent_file_id=plain(file.parent_file_id, 300) if file.parent_file_id else None,
    )
    if with_url:
        view.download_url = download_link(file.presigned_url.get_secret_value()) or None if file.presigned_url else None
        lines.append(
            f"Download (works for 15 minutes, for anyone who has it): {view.download_url}"
            if view.download_url
            else "Extend gave no usable download URL."
        )
    if with_text:
        text = tree_lines(file.contents) if file.contents else ["It has no parsed text yet: no run has parsed it."]
        shown = paginate(text, page, max(400, limit - sum(len(line) + 1 for line in lines) - len(NOTE) - 120))
        view.text_page, view.text_pages, view.content = shown.number, shown.count, "\n".join(shown.lines)
        follow = f"Page {shown.number} of {shown.count}."
        if shown.number < shown.count:
            follow += f" Next: the same call with page={shown.number + 1}."
        lines += [*shown.lines, follow]
    return view.with_text("\n".join([lines[0], NOTE, *lines[1:]]))


def file_lines(file: FileSummary) -> list[str]:
    """A file's facts, a line each."""
    pages = file.metadata.page_count
    said = [word(file.type, 20) or "type unknown", f"{pages} pages" if pages is not None else "page count unknown"]
    lines = [
        f"File {quote(file.name, 120)} ({word(file.id, 300)})",
        f"{', '.join(said)}, created {moment(file.created_at)}",
    ]
    split = file.metadata.parent_split
    if file.parent_file_id:
        part = f", pages {split.start_page}-{split.end_page}" if split else ""
        lines.append(f"Split from {word(file.parent_file_id, 300)}{part}")
    return lines


def _row(file: FileSummary) -> FileRow:
    return FileRow(
        file_id=plain(file.id, 300),
        name=plain(file.name, 120),
        type=plain(file.type, 20) or None,
        pages=file.metadata.page_count,
        created_at=file.created_at,
    )
