"""Uploading, reading, listing and deleting files."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio.to_thread
from mcp_types import InputRequiredResult
from pydantic import Field, SecretStr

from extend_mcp.actions.execute import execute
from extend_mcp.actions.files import DeleteFile, UploadFile
from extend_mcp.callers import Ctx, caller_context
from extend_mcp.refusal import CallRefusedError
from extend_mcp.tools.args import ConfirmationToken, FileId, PageNumber, PageSize, PageToken, SortDir
from extend_mcp.tools.local_file import check_content, decode_content, read_local
from extend_mcp.tools.pagination import read_page
from extend_mcp.tools.toolsets import CREATES, DESTRUCTIVE, FILES, READ_ONLY
from extend_mcp.views.actions import ActionView
from extend_mcp.views.files import FileListView, FileView, file_view
from extend_mcp.views.tables import list_view


@FILES.tool(title="Upload a file", annotations=CREATES)
async def upload_file(
    ctx: Ctx,
    path: Annotated[str, Field(min_length=1, max_length=4096, description="Under an allowed folder")] | None = None,
    text: Annotated[str, Field(min_length=1)] | None = None,
    content_base64: Annotated[str, Field(min_length=1)] | None = None,
    name: Annotated[str, Field(min_length=1, max_length=255, examples=["invoice.pdf"])] | None = None,
    convert_to_pdf: bool | None = None,
    password: Annotated[str, Field(max_length=255, description="Opens a protected file; never shown")] | None = None,
) -> ActionView | InputRequiredResult:
    """Upload a file from exactly one of path, text or content_base64, and return its id for run_workflow.
    A file that has a URL needs no upload.
    """
    app = caller_context(ctx)
    if sum(each is not None for each in (path, text, content_base64)) != 1:
        raise CallRefusedError("Give exactly one of path, text and content_base64.")
    most = app.limits.upload_bytes
    if path is not None:
        if not app.local_files:
            raise CallRefusedError("path: this server is shared and reads no local files. Give text or content_base64.")
        found, content = await anyio.to_thread.run_sync(read_local, path, app.settings.file_roots, most)
        name = name or found
    elif text is not None:
        name, content = name or "text.txt", text.encode("utf-8", "replace")
    else:
        assert content_base64 is not None
        if name is None:
            raise CallRefusedError("name: is needed with content_base64; Extend takes the type from its extension.")
        content = decode_content(content_base64)
    media_type = check_content(name, content, most)

    async def on_progress(sent: int, total: int) -> None:
        await ctx.report_progress(sent, total, f"{sent:,} of {total:,} bytes sent")

    secret = SecretStr(password) if password else None
    upload = partial(app.api.upload_file, name, content, content_type=media_type, on_progress=on_progress)
    return await execute(ctx, UploadFile(app, partial(upload, convert_to_pdf=convert_to_pdf, password=secret)))


@FILES.tool(title="Show a file", annotations=READ_ONLY)
async def get_file(
    file_id: FileId,
    ctx: Ctx,
    text: Annotated[bool, Field(description="Add the parsed text, in pages")] = False,
    download_url: Annotated[bool, Field(description="Add a URL that anyone can read it with for 15 min")] = False,
    page: PageNumber = 1,
) -> FileView:
    """Show a file's name, type and pages; on request its parsed text or a download URL for the user."""
    app = caller_context(ctx)
    file = await app.api.get_file(file_id, raw_text=True if text else None)
    limit = app.limits.answer_chars
    show = partial(file_view, file, with_text=text, with_url=download_url, page=page, limit=limit)
    # A parsed text can have millions of characters, and others wait while it is cleaned here.
    return await anyio.to_thread.run_sync(show) if text else show()


@FILES.tool(title="List files", annotations=READ_ONLY)
async def list_files(
    ctx: Ctx,
    name_contains: Annotated[str, Field(min_length=1, max_length=255, examples=["invoice"])] | None = None,
    sort_dir: SortDir = "desc",
    page_size: Annotated[PageSize, Field(description="Files per page")] = 20,
    page_token: PageToken | None = None,
) -> FileListView:
    """List files by name, newest first. For the runs of a file use list_runs(file_name_contains)."""
    app = caller_context(ctx)
    given = {"name_contains": name_contains, "sort_dir": sort_dir, "page_size": page_size}
    items, token_after = await read_page(list_files, app.api.list_files, page_token, **given)
    return list_view(FileListView, items, token_after=token_after, limit=app.limits.answer_chars)


@FILES.tool(title="Delete a file", annotations=DESTRUCTIVE)
async def delete_file(
    file_id: FileId, ctx: Ctx, confirmation_token: ConfirmationToken | None = None
) -> ActionView | InputRequiredResult:
    """Delete a file for good: runs can no longer be started from it. A person confirms first."""
    return await execute(ctx, DeleteFile(caller_context(ctx), target=file_id), confirmation_token)
