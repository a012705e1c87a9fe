"""What the API reference leaves open, as settings with the likeliest answer as default."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SandboxSettings:
    """How this sandbox behaves; every field but the first three stands for an unknown of the real API."""

    scenario: str = "default"
    """The data to start with: `default` (a busy account), `empty` (workflows, no runs) or `large` (10,000 runs)."""

    seed: int = 1
    """Ids, names and values of the scenario follow from the seed and the start time alone."""

    api_version: str = "2026-02-09"
    """The only `x-extend-api-version` that is served."""

    cancel_refusal_status: Literal[400, 422] = 400
    """Unknown: the HTTP status when a run cannot be cancelled. 409 is declared nowhere, so it is no choice."""

    cancel_pending_directly: bool = False
    """Unknown: whether a PENDING run becomes CANCELLED at once or passes through CANCELLING."""

    cancelling_seconds: float = 2.0
    """Unknown: how many simulated seconds a run stays CANCELLING."""

    delete_refuses_moving_runs: bool = False
    """Unknown: whether a run that is PENDING, PROCESSING or CANCELLING can be deleted."""

    validation_status: Literal[400, 422] = 400
    """Unknown: the HTTP status of a body or query that breaks a documented rule."""

    unknown_file_status: Literal[400, 404] = 404
    """Unknown: the HTTP status when a run is created from a file id that does not exist."""

    largest_upload_bytes: int = 100_000_000
    """Unknown: the largest file that can be uploaded, in bytes."""

    webhook_retry_seconds: tuple[float, ...] = (10.0, 60.0, 300.0, 1800.0, 7200.0)
    """Unknown: simulated seconds between the attempts to deliver an event; after the last one it is given up."""

    default_page_size: int = 20
    """Unknown: the number of list entries when `maxPageSize` is not given."""

    max_page_size: int = 100
    """Unknown: the largest page that is served."""

    clamp_page_size: bool = True
    """Unknown: whether a `maxPageSize` above the maximum is cut down to it or refused."""

    default_sort_by: Literal["updatedAt", "createdAt"] = "updatedAt"
    """Unknown: the order of lists when `sortBy` is not given."""

    default_sort_dir: Literal["asc", "desc"] = "desc"
    """Unknown: the direction of lists when `sortDir` is not given."""

    null_last_page_token: bool = False
    """Unknown: whether the last page carries `nextPageToken: null` or no such key."""

    file_name_case_sensitive: bool = False
    """Unknown: whether `fileNameContains` minds upper and lower case."""

    workspace_required: bool = False
    """Whether the key counts as organization-scoped, so that `x-extend-workspace-id` must be sent."""

    workspace_missing_status: Literal[400, 403] = 400
    """Unknown: the HTTP status when a required workspace header is missing."""


DEFAULT_SETTINGS = SandboxSettings()
"""The likeliest answers throughout."""
