"""Build the API's JSON objects. Field names, nulls and prefixes: Extend API reference, Objects."""

from datetime import datetime, timezone

from extend_mcp.sandbox.engine.run_plan import PlannedStep, StepMoment
from extend_mcp.sandbox.engine.validation import JsonObject

DASHBOARD = "https://dashboard.extend.ai"

RUN_STATUSES = (
    "PENDING",
    "PROCESSING",
    "NEEDS_REVIEW",
    "REJECTED",
    "PROCESSED",
    "FAILED",
    "CANCELLED",
    "CANCELLING",
)
TERMINAL_STATUSES = frozenset({"PROCESSED", "FAILED", "REJECTED", "CANCELLED"})
CANCELLABLE_STATUSES = frozenset({"PENDING", "PROCESSING"})
UNFINISHED_STEP_STATUSES = frozenset({"PENDING", "WAITING", "PROCESSING"})

CHILD_RUN_KEYS = ("parseRun", "classifyRun", "splitRun", "extractRun")

_EXTENSIONS = {
    "PDF": "pdf",
    "CSV": "csv",
    "TXT": "txt md rtf eml",
    "DOCX": "doc docx dotx odt wpd",
    "EXCEL": "xls xlsx xltm xltx ods",
    "XML": "xml",
    "HTML": "html",
    "IMG": "png jpg jpeg tiff tif svg heic heif bmp gif webp psd pcx",
}
_FILE_TYPES = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()}

_SUMMARY_FIELDS = (
    "object",
    "id",
    "status",
    "workflow",
    "workflowVersion",
    "dashboardUrl",
    "reviewedByUser",
    "reviewedAt",
    "initialRunAt",
    "startTime",
    "endTime",
    "batchId",
    "rejectionNote",
    "files",
    "usage",
)


def timestamp(moment: datetime) -> str:
    """Format a time as the API does: RFC 3339, UTC, milliseconds, `Z`."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def read_timestamp(value: object) -> datetime | None:
    """Parse an RFC 3339 time. Return None for anything else, including a time without an offset."""
    if not isinstance(value, str):
        return None
    try:
        # Python 3.10 cannot parse the "Z" that the API sends.
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def workflow_summary(workflow_id: str, name: str, created: datetime, updated: datetime) -> JsonObject:
    """Build a WorkflowSummary."""
    return {
        "object": "workflow",
        "id": workflow_id,
        "name": name,
        "createdAt": timestamp(created),
        "updatedAt": timestamp(updated),
    }


def version_summary(version_id: str, version: str, name: str | None, created: datetime) -> JsonObject:
    """Build a WorkflowVersionSummary. `version` is a number as text, or `draft`."""
    summary = {
        "object": "workflow_version",
        "id": version_id,
        "version": version,
        "createdAt": timestamp(created),
    }
    return summary | ({"name": name} if name else {})


def file_summary(
    file_id: str, name: str, pages: int | None, created: datetime, parent: JsonObject | None = None
) -> JsonObject:
    """Build a FileSummary. `parent` is `{"fileId": ..., "split": ParentSplit}` for a split-off part."""
    metadata: JsonObject = {} if pages is None else {"pageCount": pages}
    summary: JsonObject = {"object": "file", "id": file_id, "name": name, "metadata": metadata}
    file_type = _FILE_TYPES.get(name.rpartition(".")[2].lower())
    if file_type:
        summary["type"] = file_type
    if parent:
        summary["parentFileId"] = parent["fileId"]
        metadata["parentSplit"] = parent["split"]
        summary["type"] = "PDF"
    return summary | {"createdAt": timestamp(created), "updatedAt": timestamp(created)}


def workflow_run(
    run_id: str,
    workflow: JsonObject,
    version: JsonObject,
    files: list[JsonObject],
    metadata: JsonObject,
    batch_id: str | None,
    created: datetime,
) -> JsonObject:
    """Build a new WorkflowRun: PENDING, no steps, no usage."""
    return {
        "object": "workflow_run",
        "id": run_id,
        "workflow": workflow,
        "workflowVersion": version,
        "dashboardUrl": f"{DASHBOARD}/workflows/{run_id}",
        "status": "PENDING",
        "metadata": metadata,
        "batchId": batch_id,
        "files": files,
        "failureReason": None,
        "failureMessage": None,
        "initialRunAt": timestamp(created),
        "reviewed": False,
        "reviewedByUser": None,
        "reviewedAt": None,
        "rejectionNote": None,
        "startTime": None,
        "endTime": None,
        "stepRuns": [],
        "usage": None,
    }


def run_summary(run: JsonObject, created: datetime, updated: datetime) -> JsonObject:
    """Build the WorkflowRunSummary of a run, without steps, metadata and failure texts."""
    summary = {field: run[field] for field in _SUMMARY_FIELDS if field in run}
    usage = summary.get("usage")
    if isinstance(usage, dict):
        summary["usage"] = {key: value for key, value in usage.items() if key != "breakdown"}
    return summary | {"createdAt": timestamp(created), "updatedAt": timestamp(updated)}


def step_run(step_run_id: str, run_id: str, step: PlannedStep) -> JsonObject:
    """Build a PENDING StepRun. It has its type in both places where clients look."""
    return {
        "object": "workflow_step_run",
        "id": step_run_id,
        "workflowRunId": run_id,
        "stepType": step.step_type,
        "status": "PENDING",
        "files": list(step.files),
        "step": {
            "object": "workflow_step",
            "id": step.step_id,
            "name": step.name,
            "type": step.step_type,
        },
        "result": None,
    }


def child_run(kind: str, prefix: str, product: str, credits_per_page: int, moment: StepMoment) -> JsonObject:
    """Build the common part of parse, extract, classify and split runs.

    A failed child run costs nothing and has no output.
    """
    run: JsonObject = {"object": kind, "id": moment.ids(prefix), "file": moment.file, "metadata": {}}
    if moment.failure:
        run["status"] = "FAILED"
        run["failureReason"] = moment.failure.child_reason or moment.failure.reason
        run["failureMessage"] = moment.failure.child_message or moment.failure.message
        return run
    pages = moment.file["metadata"].get("pageCount") or 1
    cost = pages * credits_per_page
    charge = {"product": product, "unit": "page", "quantity": pages, "credits": cost}
    entry = {"object": kind, "id": run["id"], "credits": cost, "charges": [charge]}
    run["status"] = "PROCESSED"
    run["usage"] = {"credits": cost, "totalCredits": cost, "breakdown": [entry]}
    return run


def processor_run(kind: str, prefix: str, product: str, credits_per_page: int, moment: StepMoment) -> JsonObject:
    """Build the common part of extract, classify and split runs."""
    run = child_run(kind, prefix, product, credits_per_page, moment)
    return run | {
        "reviewed": False,
        "edited": False,
        "parseRunId": moment.parse_run_id,
        "dashboardUrl": f"{DASHBOARD}/runs/{run['id']}",
        "createdAt": timestamp(moment.started_at),
        "updatedAt": timestamp(moment.ended_at),
    }


def child_runs(result: object) -> list[JsonObject]:
    """Return the child runs inside a step result, whatever its shape."""
    if not isinstance(result, dict):
        return []
    return [result[key] for key in CHILD_RUN_KEYS if isinstance(result.get(key), dict)]


def add_usage(run: JsonObject, result: JsonObject | None) -> None:
    """Add the usage of a finished step to the run. A run's credits are the sum of its children's."""
    entries = [entry for child in child_runs(result) for entry in (child.get("usage") or {}).get("breakdown", [])]
    if not entries:
        return
    usage = run.get("usage")
    before = usage.get("breakdown", []) if isinstance(usage, dict) else []
    breakdown = [*before, *entries]
    total = sum(entry["credits"] for entry in breakdown)
    run["usage"] = {"credits": total, "totalCredits": total, "breakdown": breakdown}
