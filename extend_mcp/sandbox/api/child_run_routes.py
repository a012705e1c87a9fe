"""Serve the runs inside workflow runs, read-only. Source: Extend's SDK, extract, classify, split and parse runs.

All of them are children of workflow runs here: the sandbox starts no others.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.routing import BaseRoute

from extend_mcp.sandbox.api import list_query
from extend_mcp.sandbox.api.routing import Call, Operation, route
from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.sandbox_account import SandboxAccount
from extend_mcp.sandbox.engine.store import RunRecord
from extend_mcp.sandbox.engine.validation import ApiError, BodyReader, JsonObject

_STATUSES = ("PENDING", "PROCESSING", "PROCESSED", "FAILED", "CANCELLED")
_PARSE_SOURCES = (
    "API",
    "STUDIO",
    "WORKFLOW_RUN",
    "ADMIN",
    "BATCH_PARSER_RUN",
    "EDIT_RUN",
    "DOCUMENT_PROCESSOR_RUN",
)
_SOURCES = (
    "ADMIN",
    "BATCH_PROCESSOR_RUN",
    "PLAYGROUND",
    "WORKFLOW_CONFIGURATION",
    "WORKFLOW_RUN",
    "STUDIO",
    "API",
)
_FULL_ONLY = frozenset({"output", "outputUrl", "initialOutput", "reviewedOutput", "edits", "config"})
"""Fields that lists leave out."""

_URL_LIFE = timedelta(minutes=15)
_PROCESSORS = {"extract_run": "extractor", "classify_run": "classifier", "split_run": "splitter"}


@dataclass(frozen=True)
class _Child:
    run: JsonObject
    created_at: datetime
    updated_at: datetime

    def summary(self) -> JsonObject:
        summary = {key: value for key, value in self.run.items() if key not in _FULL_ONLY}
        if isinstance(summary.get("usage"), dict):
            summary["usage"] = {key: value for key, value in summary["usage"].items() if key != "breakdown"}
        times = {"createdAt": wire.timestamp(self.created_at), "updatedAt": wire.timestamp(self.updated_at)}
        return summary | times


def child_run_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the routes under `/parse_runs`, `/extract_runs`, `/classify_runs` and `/split_runs`."""
    routes: list[BaseRoute] = []
    for kind in ("parse_run", *_PROCESSORS):
        routes.append(route(account, "GET", f"/{kind}s", _list_operation(kind)))
        routes.append(route(account, "GET", f"/{kind}s/{{id}}", _get_operation(kind)))
    return routes


def _list_operation(kind: str) -> Operation:
    processor = _PROCESSORS.get(kind)
    filters = (
        "status",
        "batchId",
        "source",
        "sourceId",
        "fileNameContains",
        *([f"{processor}Id"] if processor else []),
    )

    def list_runs(account: SandboxAccount, call: Call) -> JsonObject:
        settings, query = account.settings, call.query
        paging = query
        if not processor:
            # Parse runs cannot be sorted. Clients disagree on the name of their page size.
            paging = {key: query[key] for key in query if key not in ("sortBy", "sortDir")}
            if "limit" in query:
                paging.setdefault("maxPageSize", query["limit"])
        wanted = list_query.read_list_query(paging, filters, settings, scope=f"{kind}s")
        page, token = list_query.page_of(
            _matching(account, kind, query),
            lambda child: (child.created_at if wanted.sort_by == "createdAt" else child.updated_at, child.run["id"]),
            wanted,
            settings,
        )
        return list_query.list_body([child.summary() for child in page], token, settings)

    return list_runs


def _get_operation(kind: str) -> Operation:
    def get_run(account: SandboxAccount, call: Call) -> JsonObject:
        wanted = call.path["id"]
        for record in account.store:
            # Making every run to look into it would take long.
            if record.make is None or record.own_ids in wanted:
                for child in _children(record, kind):
                    if child.run["id"] == wanted:
                        return _delivered(account, call, child.run)
        raise ApiError(404, f"{kind.replace('_', ' ').capitalize()} not found")

    return get_run


def _delivered(account: SandboxAccount, call: Call, run: JsonObject) -> JsonObject:
    """Return a run with its output, or for `responseType=url` of a parse run with a URL that serves it."""
    reader = BodyReader(account.settings.validation_status)
    kind = reader.read_one_of(call.query.get("responseType", "json"), ("json", "url"), "responseType")
    if kind == "json" or run["object"] != "parse_run" or "output" not in run:
        return run
    account.outbox.payloads[run["id"]] = json.dumps(run["output"]).encode()
    url = account.links.make(f"/payloads/{run['id']}", account.engine.now, _URL_LIFE)
    return {key: value for key, value in run.items() if key != "output"} | {"outputUrl": url}


def _matching(account: SandboxAccount, kind: str, query: dict[str, str]) -> list[_Child]:
    reader = BodyReader(account.settings.validation_status)
    for name, options in (("status", _STATUSES), ("source", _PARSE_SOURCES if kind == "parse_run" else _SOURCES)):
        if name in query:
            reader.read_one_of(query[name], options, name)
    if query.get("source", "WORKFLOW_RUN") != "WORKFLOW_RUN" or "batchId" in query:
        return []
    source = query.get("sourceId")
    parent = account.store.runs.get(source) if source is not None else None
    records = list(account.store) if source is None else [parent] if parent else []
    if query.get("status") == "FAILED":
        # A run that is made later has a failed run inside only if it failed.
        records = [record for record in records if record.make is None or record.status == "FAILED"]
    processor, part = _PROCESSORS.get(kind, ""), query.get("fileNameContains", "").casefold()
    return [
        child
        for record in records
        for child in _children(record, kind)
        if query.get("status") in (None, child.run.get("status"))
        and query.get(f"{processor}Id") in (None, (child.run.get(processor) or {}).get("id"))
        and part in str((child.run.get("file") or {}).get("name", "")).casefold()
    ]


def _children(record: RunRecord, kind: str) -> Iterator[_Child]:
    steps = record.run.get("stepRuns")
    for step in steps if isinstance(steps, list) else []:
        for run in wire.child_runs(step.get("result") if isinstance(step, dict) else None):
            if run.get("object") == kind:
                yield _Child(run, *_times(run, record))


def _times(run: JsonObject, record: RunRecord) -> tuple[datetime, datetime]:
    """Return when a run was created and updated. A parse run does not say so: its workflow run began with it."""
    created = wire.read_timestamp(run.get("createdAt")) or wire.read_timestamp(record.run.get("startTime"))
    created = created or record.created_at
    took = timedelta(milliseconds=(run.get("metrics") or {}).get("processingTimeMs") or 0)
    return created, wire.read_timestamp(run.get("updatedAt")) or created + took
