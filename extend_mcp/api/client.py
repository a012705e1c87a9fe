"""The operations of Extend's workflow API, one method each."""

from extend_mcp.api.file_calls import FileCalls
from extend_mcp.api.run_calls import RunCalls
from extend_mcp.api.session import API_VERSION
from extend_mcp.api.webhook_calls import WebhookCalls
from extend_mcp.api.workflow_calls import WorkflowCalls

__all__ = ["API_VERSION", "ExtendClient"]


class ExtendClient(RunCalls, WorkflowCalls, FileCalls, WebhookCalls):
    """Calls Extend's API. One client per key; safe to share between tasks of one event loop.

    Every method raises an `ExtendError` (see `errors` for the kinds) and no error of httpx. Reads are repeated
    when they fail in passing; a write is sent exactly once: after an error with effect "unknown", look before
    repeating it. An id that cannot be part of a path is an InvalidRequestError, and nothing is sent.
    Construction: see `Session`.
    """
