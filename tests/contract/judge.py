"""Extend's own Python SDK as judge of the sandbox, over a socket.

Its methods are lenient (nearly anything passes), so every raw answer also goes through the strict form of its
models: ``model_validate`` raises on missing or mistyped fields.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import httpx

from extend_mcp.sandbox.sandbox_server import RunningSandbox

with warnings.catch_warnings():
    # The SDK's own modules warn on import; that is not ours to fail on.
    warnings.simplefilter("ignore")
    import extend_ai
    from extend_ai import Extend
    from extend_ai import types as webhook_types
    from extend_ai.wrapper.errors import WebhookSignatureVerificationError

__all__ = ["Judge", "WebhookSignatureVerificationError", "extend_ai", "webhook_types"]


class Judge:
    """The SDK, and the raw answer of the last call it made."""

    def __init__(self, running: RunningSandbox) -> None:
        self.raw: Any = None
        self._http = httpx.Client(event_hooks={"response": [self._keep]}, trust_env=False, verify=False)
        self.sandbox = running.sandbox
        self.base_url = running.base_url
        self.sdk = Extend(token="sk_contract", base_url=running.base_url, httpx_client=self._http)

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        self.raw = response.json()

    def run(self, call: Callable[[], Any]) -> Any:
        """Make a call that answers with a run, judge the raw answer strictly, and return what the SDK made of it."""
        found = call()
        extend_ai.WorkflowRun.model_validate(self.raw)
        assert len(found.step_runs) == len(self.raw["stepRuns"])
        # The SDK loses a step run whose type it does not know: it becomes None.
        assert None not in found.step_runs
        return found

    def strictly(self, model: Any, call: Callable[[], Any]) -> Any:
        """Make a call, judge the raw answer strictly by a model, and return what the SDK made of it."""
        found = call()
        model.model_validate(self.raw)
        return found

    def every(self, model: Any, list_page: Callable[..., Any]) -> list[Any]:  # type: ignore[valid-type]
        """Read any list to its end, each entry judged strictly, and return the raw entries.

        The first three pages have two entries, so that short lists have several pages too. The others have fifty.
        """
        seen: list[Any] = []  # type: ignore[valid-type]
        token: str | None = None
        while True:
            size = 2 if len(seen) < 6 else 50
            page = list_page(max_page_size=size, **({"next_page_token": token} if token else {}))
            assert self.raw["object"] == "list"
            assert len(self.raw["data"]) == len(page.data) <= size
            for entry in self.raw["data"]:
                model.model_validate(entry)
            seen += self.raw["data"]
            token = page.next_page_token
            if token is None:
                return seen

    def list(self, **query: Any) -> list[Any]:
        """Read a list to its end, page by page."""
        seen: list[Any] = []
        token: str | None = None
        while True:
            page = self.sdk.workflow_runs.list(**query, **({"next_page_token": token} if token else {}))
            extend_ai.WorkflowRunsListResponse.model_validate(self.raw)
            for summary in self.raw["data"]:
                extend_ai.WorkflowRunSummary.model_validate(summary)
                assert not {"metadata", "stepRuns", "failureReason", "reviewed"} & set(summary)
            seen += page.data
            token = page.next_page_token
            if token is None:
                return seen

    def close(self) -> None:
        self._http.close()
