"""The URIs of this server's resources, and how long one may be."""

from __future__ import annotations

from urllib.parse import quote

RUN = "extend://workflow-runs/{run_id}"
STEP = "extend://workflow-runs/{run_id}/steps/{step}"
WORKFLOW = "extend://workflows/{workflow_id}"
BATCH = "extend://batches/{batch_id}"
ACCOUNT = "extend://account"

RESOURCE_CHARS = 60_000
"""Most characters of one resource: a client attaches it on purpose, so it may be longer than an answer."""


def run_uri(run_id: str) -> str:
    """The resource of a run."""
    return RUN.format(run_id=quote(run_id, safe=""))


def step_uri(run_id: str, step: str) -> str:
    """The resource of a step's whole result; the step by its id, number or name."""
    return STEP.format(run_id=quote(run_id, safe=""), step=quote(step, safe=""))


def batch_uri(batch_id: str) -> str:
    """The resource of a batch."""
    return BATCH.format(batch_id=quote(batch_id, safe=""))
