"""Serve the operations on files and their downloads. Source: Extend API reference, Files."""

import html
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from extend_mcp.sandbox.api import list_query
from extend_mcp.sandbox.api.routing import Call, FormFile, route
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.sample_documents import page_count, readable_text
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.validation import ApiError, BodyReader, InvalidFieldError, JsonObject

_URL_LIFE = timedelta(minutes=15)
_ALWAYS_CONVERTED = frozenset({"doc", "docx", "dotx", "odt", "wpd", "ppt", "pptx"})
"""Extensions of Word and PowerPoint files, which Extend always converts to PDF."""


def file_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the routes under `/files`."""
    return [
        route(account, "POST", "/files/upload", upload_file, takes_form=True),
        route(account, "GET", "/files", list_files),
        route(account, "GET", "/files/{id}", get_file),
        route(account, "DELETE", "/files/{id}", delete_file),
    ]


def download_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the route that downloads a file. It needs no key, because its URL is signed."""

    async def download(request: Request) -> Response:
        with account.lock:
            return _download(account, request.path_params["id"], dict(request.query_params))

    return [Route("/files/{id}", download, methods=["GET"])]


def upload_file(account: SandboxAccount, call: Call) -> JsonObject:
    """Store an uploaded file."""
    settings, given = account.settings, call.form.get("file")
    if not isinstance(given, FormFile) or not given.name:
        raise InvalidFieldError(settings.validation_status, "Expected a file with a name", "file")
    if len(given.content) > settings.largest_upload_bytes:
        raise InvalidFieldError(settings.validation_status, "FILE_SIZE_TOO_LARGE", "file")
    pages = page_count(given.name, readable_text(given.name, given.content))
    file = wire.file_summary(account.ids("file_"), given.name, pages, account.engine.now)
    if _flag(account, call, "convertToPdf") or given.name.rpartition(".")[2].lower() in _ALWAYS_CONVERTED:
        file["type"] = "PDF"
    account.store.files[file["id"]] = file
    account.store.uploads[file["id"]] = given.content
    return file


def get_file(account: SandboxAccount, call: Call) -> JsonObject:
    """Return a file with its download URL and, if requested, already parsed and stored, its content."""
    file = _file(account, call.path["id"])
    wanted = {name: _flag(account, call, name) for name in ("rawText", "markdown", "html")}
    pages = _parsed_pages(account, file["id"]) if any(wanted.values()) and account.settings.stores_text else None
    body = file | {"presignedUrl": account.links.make(_link(file["id"]), account.engine.now, _URL_LIFE)}
    return body if pages is None else body | {"contents": _contents(file, pages, wanted)}


def list_files(account: SandboxAccount, call: Call) -> JsonObject:
    """List files by creation time, filtered by name, page by page."""
    settings = account.settings
    if "sortBy" in call.query:
        raise InvalidFieldError(settings.validation_status, "Files are sorted by creation only", "sortBy")
    wanted = list_query.read_list_query(call.query, ("nameContains",), settings, scope="files")
    part = call.query.get("nameContains", "").casefold()
    page, token = list_query.page_of(
        [file for file in account.store.files.values() if part in str(file.get("name", "")).casefold()],
        lambda file: (wire.read_timestamp(file.get("createdAt")) or account.started_at, str(file["id"])),
        wanted,
        settings,
    )
    return list_query.list_body(page, token, settings)


def delete_file(account: SandboxAccount, call: Call) -> JsonObject:
    """Delete a file. Runs still mention it."""
    file = _file(account, call.path["id"])
    account.store.delete_file(file["id"])
    return {"id": file["id"]}


def _file(account: SandboxAccount, file_id: str) -> JsonObject:
    file = account.store.files.get(file_id)
    if file is None:
        raise ApiError(404, "File not found")
    return file


def _flag(account: SandboxAccount, call: Call, name: str) -> bool:
    value = call.query.get(name, "false")
    reader = BodyReader(account.settings.validation_status)
    return reader.read_one_of(value.lower(), ("true", "false"), name) == "true"


def _parsed_pages(account: SandboxAccount, file_id: str) -> list[str] | None:
    """Return the pages of a file as the newest run parsed them, or None if no run did."""
    for record in reversed(list(account.store)):
        if record.make and all(file["id"] != file_id for file in record.brief["files"]):
            continue
        steps = record.run.get("stepRuns")
        for step in steps if isinstance(steps, list) else []:
            for child in wire.child_runs(step.get("result") if isinstance(step, dict) else None):
                output, file = child.get("output"), child.get("file")
                if isinstance(output, dict) and isinstance(file, dict) and file.get("id") == file_id:
                    chunks = output.get("chunks")
                    if isinstance(chunks, list):
                        return [str(chunk.get("content", "")) for chunk in chunks if isinstance(chunk, dict)]
    return None


def _contents(file: JsonObject, pages: list[str], wanted: dict[str, bool]) -> JsonObject:
    contents: JsonObject = {"pages": []}
    kind = file.get("type")
    if kind == "EXCEL":
        sheets = [{"sheetName": f"Sheet{number}"} for number in range(1, len(pages) + 1)]
        raw = [{"rawText": text} if wanted["rawText"] else {} for text in pages]
        contents["sheets"] = [sheet | text for sheet, text in zip(sheets, raw, strict=True)]
    elif wanted["rawText"]:
        contents["rawText"] = "\n\n".join(pages)
    if kind in ("PDF", "IMG"):
        contents["pages"] = [
            {"pageNumber": number, "pageHeight": 792.0, "pageWidth": 612.0}
            | ({"markdown": text} if wanted["markdown"] else {})
            for number, text in enumerate(pages, start=1)
        ]
    if kind == "DOCX":
        contents["pages"] = [
            {"pageNumber": number} | ({"html": f"<pre>{html.escape(text)}</pre>"} if wanted["html"] else {})
            for number, text in enumerate(pages, start=1)
        ]
    return contents


def _link(file_id: str) -> str:
    return f"/files/{file_id}"


def _download(account: SandboxAccount, file_id: str, given: dict[str, str]) -> Response:
    account.links.check(_link(file_id), given, account.catch_up())
    file = _file(account, file_id)
    content = account.store.uploads.get(file_id)
    if content is None:
        # A file given by URL has no bytes here, so serve its parsed text.
        content = "\n\n".join(_parsed_pages(account, file_id) or [str(file.get("name"))]).encode()
    return Response(content, media_type="application/octet-stream")
