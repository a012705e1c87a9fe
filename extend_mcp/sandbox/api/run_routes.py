"""Serve the operations on workflow runs. Paths and responses: Extend API reference, Workflow runs."""

import json
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.routing import BaseRoute

from extend_mcp.sandbox.api import list_query
from extend_mcp.sandbox.api.routing import Call, route
from extend_mcp.sandbox.engine.run_engine import NotPossibleError
from extend_mcp.sandbox.engine.sandbox_account import GivenFile, RunRequest, SandboxAccount
from extend_mcp.sandbox.engine.store import Store, Workflow
from extend_mcp.sandbox.engine.validation import ApiError, BodyReader, InvalidFieldError, JsonObject
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

_METADATA_LIMIT = 10 * 1024
_USAGE_TAGS = "extend:usage_tags"
_MAX_INPUTS = 1000


def run_routes(account: SandboxAccount) -> list[BaseRoute]:
    """Build the routes under `/workflow_runs`."""
    # A fixed path must come before a route with an ID in the same place.
    return [
        route(account, "GET", "/workflow_runs", list_workflow_runs),
        route(account, "POST", "/workflow_runs", create_workflow_run),
        route(account, "POST", "/workflow_runs/batch", create_workflow_run_batch),
        route(account, "GET", "/workflow_runs/{id}", get_workflow_run),
        route(account, "POST", "/workflow_runs/{id}", update_workflow_run),
        route(account, "DELETE", "/workflow_runs/{id}", delete_workflow_run),
        route(account, "POST", "/workflow_runs/{id}/cancel", cancel_workflow_run),
    ]


def list_workflow_runs(account: SandboxAccount, call: Call) -> JsonObject:
    """List summaries of runs, filtered, sorted, page by page."""
    settings = account.settings
    wanted = list_query.read_list_query(call.query, list_query.RUN_FILTERS, settings, scope="workflow_runs")
    runs = list_query.filter_runs(account.store, call.query, settings)
    page, token = list_query.page_of(
        runs,
        lambda record: record.sort_key(wanted.sort_by),
        wanted,
        settings,
    )
    return list_query.list_body([record.summary() for record in page], token, settings)


def create_workflow_run(account: SandboxAccount, call: Call) -> JsonObject:
    """Start a run and return it, PENDING."""
    return account.create_run(RunRequestReader(account.store, account.settings).read(call.body)).run


def create_workflow_run_batch(account: SandboxAccount, call: Call) -> JsonObject:
    """Start a run for each input, all in one batch, and return the batch ID."""
    requests = RunRequestReader(account.store, account.settings).read_batch(call.body)
    batch_id = account.ids("batch_")
    for request in requests:
        account.create_run(request, batch_id=batch_id)
    return {"batchId": batch_id}


def get_workflow_run(account: SandboxAccount, call: Call) -> JsonObject:
    """Return one run with its step runs."""
    run = account.record(call.path["id"]).run
    if account.settings.failed_steps_have_results:
        return run
    steps = [step | {"result": None} if step["status"] == "FAILED" else step for step in run["stepRuns"]]
    return run | {"stepRuns": steps}


def update_workflow_run(account: SandboxAccount, call: Call) -> JsonObject:
    """Rename a run or merge new metadata into it. New keys win."""
    reader = RunRequestReader(account.store, account.settings)
    change = reader.read_update(call.body)
    record = account.record(call.path["id"])
    record.keep()
    present = record.run.get("metadata")
    merged = (present if isinstance(present, dict) else {}) | change.metadata
    reader.check_metadata(merged)
    record.run["metadata"] = merged
    # No response shows a run's name (Extend API reference, WorkflowRun), so the run itself does not hold it.
    record.name = change.name or record.name
    record.updated_at = account.engine.now
    return record.run


def delete_workflow_run(account: SandboxAccount, call: Call) -> JsonObject:
    """Delete a run."""
    record = account.record(call.path["id"])
    if account.settings.delete_refuses_moving_runs and record.status in ("PENDING", "PROCESSING", "CANCELLING"):
        raise ApiError(
            account.settings.validation_status, f"Workflow run {record.id} is {record.status}; end it first."
        )
    account.store.delete_run(record)
    return {"id": record.id}


def cancel_workflow_run(account: SandboxAccount, call: Call) -> JsonObject:
    """Start to cancel a run. Clients send no body or an empty object."""
    if call.body is not None and not isinstance(call.body, dict):
        raise ApiError(account.settings.validation_status, "Expected an object; Path: body")
    record = account.record(call.path["id"])
    try:
        account.engine.cancel(record)
    except NotPossibleError as refusal:
        raise ApiError(account.settings.cancel_refusal_status, str(refusal)) from refusal
    return record.run


@dataclass(frozen=True)
class RunUpdate:
    """A change to a run's name or metadata that has been checked."""

    name: str | None
    metadata: JsonObject


class RunRequestReader(BodyReader):
    """Check the bodies of create and update requests. Workflows and files must exist in the store."""

    def __init__(self, store: Store, settings: SandboxSettings) -> None:
        super().__init__(settings.validation_status)
        self._store = store
        self._settings = settings

    def read(self, body: object) -> RunRequest:
        """Check the body of a create request.

        Raises:
            ApiError: the body breaks a rule, or names a workflow or file that does not exist.
        """
        body = self.read_object(body, "body")
        workflow, version = self._workflow(self.read_object(body.get("workflow"), "workflow"))
        metadata = self._metadata(body.get("metadata"), "metadata")
        self._secrets(body.get("secrets"), "secrets")
        self._priority(body.get("priority"))
        file, package = body.get("file"), body.get("package")
        if (file is None) == (package is None):
            self.refuse("Exactly one of file and package must be given", "file")
        outputs = self._outputs(body.get("outputs"), with_package=package is not None)
        files = self._package(package) if file is None else (self._file(file, "file", text_allowed=True),)
        return RunRequest(workflow, version, files, metadata, outputs)

    def read_batch(self, body: object) -> list[RunRequest]:
        """Check the body of a batch and return one request per input. One bad input refuses the whole batch.

        Raises:
            ApiError: the body breaks a rule, or names a workflow or file that does not exist.
        """
        body = self.read_object(body, "body")
        workflow, version = self._workflow(self.read_object(body.get("workflow"), "workflow"))
        self._priority(body.get("priority"))
        inputs = self.read_array(body.get("inputs"), "inputs")
        if not 1 <= len(inputs) <= _MAX_INPUTS:
            self.refuse(f"Expected 1 to {_MAX_INPUTS} inputs", "inputs")
        requests = []
        for index, item in enumerate(inputs):
            path = f"inputs.{index}"
            entry = self.read_object(item, path)
            file = self._file(entry.get("file"), f"{path}.file", text_allowed=True)
            self._secrets(entry.get("secrets"), f"{path}.secrets")
            metadata = self._metadata(entry.get("metadata"), f"{path}.metadata")
            requests.append(RunRequest(workflow, version, (file,), metadata))
        return requests

    def read_update(self, body: object) -> RunUpdate:
        """Check the body of an update.

        Raises:
            ApiError: the body breaks a rule.
        """
        body = self.read_object(body, "body")
        name = None if body.get("name") is None else self.read_text(body["name"], "name")
        return RunUpdate(name, self._metadata(body.get("metadata"), "metadata"))

    def check_metadata(self, metadata: JsonObject) -> None:
        """Check the complete metadata of a run.

        Raises:
            ApiError: it is too large.
        """
        self._metadata(metadata, "metadata")

    def _secrets(self, secrets: object, path: str) -> None:
        if secrets is not None:
            self.read_object(secrets, path)

    def _priority(self, priority: object) -> None:
        if priority is not None and (type(priority) is not int or not 1 <= priority <= 100):
            self.refuse("Expected an integer from 1 to 100", "priority")

    def _workflow(self, reference: JsonObject) -> tuple[Workflow, JsonObject]:
        workflow = self._store.workflows.get(self.read_text(reference.get("id"), "workflow.id"))
        if workflow is None:
            raise ApiError(404, "Workflow not found")
        name = reference.get("version")
        version = workflow.version(None if name is None else self.read_text(name, "workflow.version"))
        if version is None:
            self.refuse("Unknown workflow version", "workflow.version")
        return workflow, version

    def _metadata(self, metadata: object, path: str) -> JsonObject:
        if metadata is None:
            return {}
        metadata = self.read_object(metadata, path)
        text = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
        if len(text.encode("utf-8", "surrogatepass")) > _METADATA_LIMIT:
            self.refuse("Metadata must not exceed 10 KB", path)
        tags = metadata.get(_USAGE_TAGS)
        if tags is None:
            return metadata
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            self.refuse("Expected an array of strings", f"{path}.{_USAGE_TAGS}")
        return metadata | {_USAGE_TAGS: [re.sub(r"[^A-Za-z0-9_-]", "", tag) for tag in tags]}

    def _outputs(self, outputs: object, *, with_package: bool) -> dict[str, JsonObject]:
        if outputs is None:
            return {}
        if with_package:
            self.refuse("Outputs cannot be combined with a package", "outputs")
        found = {}
        for index, item in enumerate(self.read_array(outputs, "outputs")):
            override = self.read_object(item, f"outputs.{index}")
            processor = self.read_text(override.get("processorId"), f"outputs.{index}.processorId")
            found[processor] = self.read_object(override.get("output"), f"outputs.{index}.output")
        return found

    def _package(self, package: object) -> tuple[GivenFile, ...]:
        items = self.read_array(self.read_object(package, "package").get("files"), "package.files")
        if not 2 <= len(items) <= 50:
            self.refuse("Expected 2 to 50 files", "package.files")
        files = tuple(
            self._file(item, f"package.files.{index}", text_allowed=False) for index, item in enumerate(items)
        )
        sources = [item.get("id") or item.get("url") for item in items]
        if len(set(sources)) < len(sources):
            self.refuse("The same file is given twice", "package.files")
        return files

    def _file(self, given: object, path: str, *, text_allowed: bool) -> GivenFile:
        given = self.read_object(given, path)
        kinds = [kind for kind in ("url", "id", "text") if given.get(kind) is not None]
        if len(kinds) != 1 or (kinds == ["text"] and not text_allowed):
            self.refuse(f"Expected one of url, id{', text' if text_allowed else ''}", path)
        name = None if given.get("name") is None else self.read_text(given["name"], f"{path}.name")
        if kinds == ["id"]:
            file = self._store.files.get(self.read_text(given["id"], f"{path}.id"))
            if file is None:
                raise InvalidFieldError(self._settings.unknown_file_status, "File not found", f"{path}.id")
            return GivenFile(str(file.get("name", "file")), known=file)
        if kinds == ["text"]:
            return GivenFile(name or "input.txt", text=self.read_text(given["text"], f"{path}.text"))
        url = self._url(given["url"], f"{path}.url")
        if given.get("settings") is not None:
            password = self.read_object(given["settings"], f"{path}.settings").get("password")
            if password is not None:
                self.read_text(password, f"{path}.settings.password")
        return GivenFile(name or unquote(url.rpartition("/")[2]) or "document.pdf")

    def _url(self, value: object, path: str) -> str:
        text = self.read_text(value, path)
        try:
            parts = urlsplit(text)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            self.refuse("Invalid URL", path)
        return parts.path
