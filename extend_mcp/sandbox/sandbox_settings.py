"""Decide what the API reference leaves open. Each default is the likeliest answer."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SandboxSettings:
    """The behavior of a sandbox. Fields marked "Unknown" decide what the reference leaves open."""

    scenario: str = "default"
    """The data to start with: `default` (a busy account), `empty` (workflows, no runs), `large` (10,000 runs),
    `huge` (50,000 runs) or `incident` (the 9,000 runs of a bad night)."""

    seed: int = 1
    """IDs, names and values depend only on the seed and the start time."""

    api_version: str = "2026-02-09"
    """The only `x-extend-api-version` that is served."""

    cancel_refusal_status: Literal[400, 422] = 400
    """Unknown: the HTTP status when a run cannot be cancelled. The reference declares no 409."""

    cancel_pending_directly: bool = False
    """Unknown: whether a PENDING run is CANCELLED at once or CANCELLING first."""

    cancelling_seconds: float = 2.0
    """Unknown: how many simulated seconds a run stays CANCELLING."""

    delete_refuses_moving_runs: bool = False
    """Unknown: whether a run that is PENDING, PROCESSING or CANCELLING can be deleted."""

    validation_status: Literal[400, 422] = 400
    """Unknown: the HTTP status of a body or query that breaks a documented rule."""

    unknown_file_status: Literal[400, 404] = 404
    """Unknown: the HTTP status when a run is created from a file ID that does not exist."""

    largest_upload_bytes: int = 100_000_000
    """Unknown: the largest file that can be uploaded, in bytes."""

    stores_text: bool = True
    """True if a parsed file has `contents`. Extend stores none for files parsed with a parser newer than 2.x."""

    failed_steps_have_results: bool = True
    """Unknown: whether the result of a failed step holds its failed child run. The lists of child runs always do."""

    webhook_retry_seconds: tuple[float, ...] = (10.0, 60.0, 300.0, 1800.0, 7200.0)
    """Unknown: simulated seconds between attempts to deliver an event. After the last one the sandbox gives up."""

    default_page_size: int = 10
    """The page size of a list request without `maxPageSize`."""

    max_page_size: int = 1000
    """The largest page size."""

    clamp_page_size: bool = True
    """Unknown: whether a `maxPageSize` above the maximum is reduced or refused."""

    default_sort_by: Literal["updatedAt", "createdAt"] = "updatedAt"
    """The order of lists without `sortBy`. Documented for workflow runs."""

    default_sort_dir: Literal["asc", "desc"] = "desc"
    """The direction of lists without `sortDir`. Documented for workflow runs."""

    null_last_page_token: bool = False
    """Unknown: whether the last page has `nextPageToken: null` or no such key."""

    file_name_case_sensitive: bool = False
    """Unknown: whether `fileNameContains` is case-sensitive."""

    workspace_required: bool = False
    """Treat the key as organization-scoped: requests must send `x-extend-workspace-id`."""

    workspace_missing_status: Literal[400, 403] = 400
    """Unknown: the HTTP status when a required workspace header is missing."""


DEFAULT_SETTINGS = SandboxSettings()
