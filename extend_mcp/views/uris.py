"""The URIs of this server's resources, and how long one may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

RUN = "extend://workflow-runs/{run_id}"
STEP = "extend://workflow-runs/{run_id}/steps/{step}"
WORKFLOW = "extend://workflows/{workflow_id}"
BATCH = "extend://batches/{batch_id}"
ACCOUNT = "extend://account"

RESOURCE_CHARS = 60_000
"""Most characters of one resource: a client attaches it on purpose, so it may be longer than an answer."""


def run_uri(run_id: str) -> str:
    """Return the URI of a run."""
    return RUN.format(run_id=quote(run_id, safe=""))


def step_uri(run_id: str, step: str) -> str:
    """Return the URI of a step's whole result; the step by its id, number or name."""
    return STEP.format(run_id=quote(run_id, safe=""), step=quote(step, safe=""))


def batch_uri(batch_id: str) -> str:
    """Return the URI of a batch."""
    return BATCH.format(batch_id=quote(batch_id, safe=""))


def workflow_uri(workflow_id: str) -> str:
    """Return the URI of a workflow's draft."""
    return WORKFLOW.format(workflow_id=quote(workflow_id, safe=""))


@dataclass(frozen=True)
class Named:
    """The object of a URI: a ``run`` (or one of its steps), a ``workflow``, a ``batch`` or the ``account``."""

    kind: Literal["run", "workflow", "batch", "account"]
    id: str = ""


_PATTERNS: tuple[tuple[Literal["run", "workflow", "batch"], re.Pattern[str]], ...] = (
    ("run", re.compile(r"extend://workflow-runs/([^/?#]{1,700})(?:/steps/[^/?#]{1,700})?")),
    ("workflow", re.compile(r"extend://workflows/([^/?#]{1,700})")),
    ("batch", re.compile(r"extend://batches/([^/?#]{1,700})")),
)


def named_by(uri: str) -> Named | None:
    """Return the object that one of our URIs names; None for any other URI."""
    if uri == ACCOUNT:
        return Named("account")
    for kind, pattern in _PATTERNS:
        if found := pattern.fullmatch(uri):
            return Named(kind, unquote(found[1]))
    return None
