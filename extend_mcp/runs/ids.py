"""Read the ids that people and models paste: tidy them, or say what they are instead.

Source: Extend API reference, ID prefixes. Ids are opaque and up to 255 characters; a prefix may change
without a version bump, so an unknown prefix is accepted when the rest looks like an id.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

_OPAQUE = re.compile(r"[A-Za-z0-9_-]{1,255}")
_UNKNOWN_PREFIX = re.compile(r"[a-z]{2,24}_[A-Za-z0-9_-]{16,}")

# Longest first: "workflow_" also begins the ids of runs, versions and step runs.
_KINDS = (
    ("workflow_step_run_", "a step run; give its run's id as run_id and this one as step"),
    ("workflow_version_", "a workflow version; find its runs with list_runs(workflow=...)"),
    ("workflow_run_", "a workflow run"),
    ("workflow_ wf_", "a workflow; find its runs with list_runs(workflow=...)"),
    ("step_", "a workflow step; give the run's id as run_id and the step's name as step"),
    ("batch_", "a batch; find its runs with list_runs(batch=...)"),
    ("bpar_", "a parse batch, not a workflow's"),
    ("bpr_", "a processor batch, not a workflow's"),
    ("file_", "a file; find its runs with list_runs(file_name_contains=...)"),
    ("exr_", "an extract run inside a step; give the workflow run's id"),
    ("clr_", "a classify run inside a step; give the workflow run's id"),
    ("splr_", "a split run inside a step; give the workflow run's id"),
    ("pr_", "a parse run inside a step; give the workflow run's id"),
    ("edr_", "an edit run, which is not part of a workflow"),
    ("edt_", "an edit template"),
    ("vr_", "a verify run, which is not part of a workflow"),
    ("vs_", "a verify signal"),
    ("sgr_", "a form detection run, which is not part of a workflow"),
    ("dpr_", "a processor run of an earlier API version; give the workflow run's id"),
    ("dp_", "a processor of an earlier API version"),
    ("esr_", "an evaluation set run"),
    ("evi_", "an evaluation item"),
    ("ev_ evs_", "an evaluation set"),
    ("exv_ extv_", "an extractor version"),
    ("clv_ clsv_", "a classifier version"),
    ("spv_ splv_", "a splitter version"),
    ("ex_", "an extractor"),
    ("cl_ cls_", "a classifier"),
    ("sp_ spl_", "a splitter"),
    ("whes_ whs_", "a webhook subscription; see list_webhook_subscriptions(subscription_id=...)"),
    ("wh_", "a webhook endpoint; see list_webhook_endpoints(endpoint_id=...)"),
    ("wss_", "a webhook's signing secret: do not pass it on"),
    ("event_ evt_", "a webhook event"),
    ("ws_", "a workspace"),
    ("req_", "a request id, for support"),
)


def parse_run_id(text: str) -> str:
    """Extract a workflow run id from pasted text: from white space, quotes or a dashboard URL.

    Raises:
        ValueError: it is something else; the text says what, and what to use it for.
    """
    candidate = _tidy(text)
    kind = _kind(candidate)
    if kind == "a workflow run":
        if _OPAQUE.fullmatch(candidate) and len(candidate) > len("workflow_run_"):
            return candidate
        raise ValueError("is not a whole workflow run id: letters, digits, _ and - follow workflow_run_")
    if kind:
        raise ValueError(f"is not a workflow run id (workflow_run_...) but {kind}")
    if _UNKNOWN_PREFIX.fullmatch(candidate):
        return candidate
    raise ValueError("must be a workflow run id (workflow_run_...) or its dashboard URL; list_runs shows ids")


def parse_batch_id(text: str) -> str:
    """Extract a workflow batch id from pasted text.

    Raises:
        ValueError: it is something else; the text says what.
    """
    candidate = _tidy(text)
    if not candidate.startswith("batch_") and (kind := _kind(candidate)):
        raise ValueError(f"is not a batch id (batch_...) but {kind}")
    if candidate.startswith("batch_") and _OPAQUE.fullmatch(candidate):
        return candidate
    raise ValueError("must be a batch id (batch_...)")


def is_workflow_id(text: str) -> bool:
    """Return true if ``text`` looks like a workflow's id rather than its name."""
    is_id = re.fullmatch(r"(workflow|wf)_[A-Za-z0-9_-]{3,}", text)
    return bool(is_id) and str(_kind(text)).startswith("a workflow;")


def _kind(candidate: str) -> str | None:
    return next((kind for prefixes, kind in _KINDS if candidate.startswith(tuple(prefixes.split()))), None)


def _tidy(text: str) -> str:
    candidate = text.strip().strip("\"'`<>").strip()
    if "://" not in candidate:
        return candidate
    segments = [unquote(part) for part in urlsplit(candidate).path.split("/") if part]
    # A run's page may have sub-pages after the id; the first run id in the path is the run's.
    runs = [part for part in segments if part.startswith("workflow_run_")]
    return runs[0] if runs else [candidate, *segments][-1]
