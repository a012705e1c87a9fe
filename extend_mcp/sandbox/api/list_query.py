"""Filter, sort and page lists. Rules: Extend API reference, Pagination and List Workflow Runs."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.store import RunRecord
from extend_mcp.sandbox.engine.validation import ApiError, InvalidFieldError, JsonObject
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

T = TypeVar("T")

SortKey = tuple[datetime, str]


@dataclass(frozen=True)
class ListQuery:
    """A list request that has been checked. A cursor is valid only for the `fingerprint` of filters and order."""

    sort_by: str
    descending: bool
    page_size: int
    token: str | None
    fingerprint: str


def read_list_query(
    query: Mapping[str, str], filters: Sequence[str], settings: SandboxSettings, *, scope: str
) -> ListQuery:
    """Check the sorting and paging values of a query.

    Raises:
        ApiError: a value is outside what the API documents.
    """
    sort_by = _choice(query, "sortBy", ("updatedAt", "createdAt"), settings) or settings.default_sort_by
    sort_dir = _choice(query, "sortDir", ("asc", "desc"), settings) or settings.default_sort_dir
    parts = [scope, sort_by, sort_dir, *(f"{name}={query.get(name)}" for name in filters)]
    return ListQuery(
        sort_by=sort_by,
        descending=sort_dir == "desc",
        page_size=_page_size(query.get("maxPageSize"), settings),
        token=query.get("nextPageToken"),
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24],
    )


RUN_FILTERS = ("status", "workflowId", "batchId", "fileNameContains")


def filter_runs(runs: Iterable[RunRecord], query: Mapping[str, str], settings: SandboxSettings) -> list[RunRecord]:
    """Return the runs that match every filter of the query.

    Raises:
        ApiError: `status` is not a documented run status.
    """
    status = _choice(query, "status", wire.RUN_STATUSES, settings)
    workflow_id, batch_id = query.get("workflowId"), query.get("batchId")
    part = query.get("fileNameContains")
    return [
        record
        for record in runs
        if (status is None or record.status == status)
        and (workflow_id is None or _workflow_id(record.brief) == workflow_id)
        and (batch_id is None or record.brief.get("batchId") == batch_id)
        and (part is None or _has_file_named(record.brief, part, settings.file_name_case_sensitive))
    ]


def page_of(
    items: Iterable[T], key: Callable[[T], SortKey], query: ListQuery, settings: SandboxSettings
) -> tuple[list[T], str | None]:
    """Return one page of the items and the token of the next page.

    The cursor holds the last item's sort key, not an offset, so new or deleted items do not shift later pages.

    Raises:
        ApiError: the token was not issued for this list, these filters and this order.
    """
    if query.token is not None:
        after = _read_token(query.token, query.fingerprint, settings)
        items = [item for item in items if (key(item) < after if query.descending else key(item) > after)]
    ordered = sorted(items, key=key, reverse=query.descending)
    page = ordered[: query.page_size]
    more = len(ordered) > len(page)
    return page, _make_token(key(page[-1]), query.fingerprint, settings) if more else None


def list_body(data: list[JsonObject], token: str | None, settings: SandboxSettings) -> JsonObject:
    """Build the body of a list response."""
    body: JsonObject = {"object": "list", "data": data}
    if token is not None or settings.null_last_page_token:
        body["nextPageToken"] = token
    return body


def _choice(query: Mapping[str, str], name: str, options: Sequence[str], settings: SandboxSettings) -> str | None:
    value = query.get(name)
    if value is not None and value not in options:
        raise InvalidFieldError(
            settings.validation_status, f"Invalid option: expected one of {'|'.join(options)}", name
        )
    return value


def _page_size(value: str | None, settings: SandboxSettings) -> int:
    if value is None:
        return settings.default_page_size
    # int() also accepts " 5", "+5" and "1_0". Nine digits exceed any page size.
    size = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if size < 1:
        raise InvalidFieldError(settings.validation_status, "Expected a positive integer", "maxPageSize")
    if size > settings.max_page_size and not settings.clamp_page_size:
        raise InvalidFieldError(settings.validation_status, f"Expected at most {settings.max_page_size}", "maxPageSize")
    return min(size, settings.max_page_size)


def _workflow_id(run: JsonObject) -> object:
    workflow = run.get("workflow")
    return workflow.get("id") if isinstance(workflow, dict) else None


def _has_file_named(run: JsonObject, part: str, case_sensitive: bool) -> bool:
    files = run.get("files")
    names = [file.get("name") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    texts = [name for name in names if isinstance(name, str)]
    if case_sensitive:
        return any(part in name for name in texts)
    return any(part.casefold() in name.casefold() for name in texts)


def _make_token(key: SortKey, fingerprint: str, settings: SandboxSettings) -> str:
    raw_key = json.dumps([key[0].isoformat(), key[1]]).encode()
    # Standard base64 and a colon, so that a client fails if it forgets to URL-encode the token.
    return _sign(raw_key, fingerprint, settings)


def _read_token(token: str, fingerprint: str, settings: SandboxSettings) -> SortKey:
    try:
        raw_key = base64.b64decode(token.rpartition(":")[0], validate=True)
    except (binascii.Error, ValueError):
        raw_key = b""
    # Compare the whole token, because several base64 texts decode to the same bytes.
    if not raw_key or _sign(raw_key, fingerprint, settings) != token:
        raise InvalidFieldError(
            settings.validation_status,
            "Invalid page token: use the token of the previous page with the same filters and order",
            "nextPageToken",
        )
    moment, item_id = json.loads(raw_key)
    return datetime.fromisoformat(moment), item_id


def _sign(key: bytes, fingerprint: str, settings: SandboxSettings) -> str:
    """Return base64 of a sort key, a colon, and base64 of a digest that ties it to one list."""
    digest = hashlib.sha256(b"%d:%b:%b" % (settings.seed, fingerprint.encode(), key)).digest()
    return f"{base64.b64encode(key).decode()}:{base64.b64encode(digest[:16]).decode()}"


def single_values(pairs: Iterable[tuple[str, str]], settings: SandboxSettings) -> dict[str, str]:
    """Return query pairs as a mapping.

    Raises:
        ApiError: a parameter is repeated. The API documents none as repeatable.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise ApiError(settings.validation_status, f"Expected a single value; Path: {name}")
        values[name] = value
    return values
