"""Find the runs that a request whose answer was lost may have started, by their files."""

from __future__ import annotations

import pytest

from extend_mcp.actions.runs import _may_be_of
from extend_mcp.api.models import WorkflowRunSummary
from extend_mcp.api.requests import CreateWorkflowRun


@pytest.mark.parametrize(
    ("sent", "seen", "may_be"),
    [
        ([{"id": "file_1"}], [("file_1", "a.pdf")], True),
        ([{"id": "file_1"}], [("file_2", "a.pdf")], False),
        ([{"id": "file_1"}], [("", "a.pdf")], True),
        ([{"id": "file_1"}, {"id": "file_2"}], [("file_1", "a.pdf")], False),
        ([{"id": "file_1"}, {"id": "file_2"}], [("file_2", "b.pdf"), ("file_1", "a.pdf")], True),
        ([{"url": "https://x.example/f/a%20b.pdf?sig=1"}], [("file_1", "a b.pdf")], True),
        ([{"url": "https://x.example/f/a%20b.pdf"}], [("file_1", "f")], False),
        ([{"url": "https://x.example/a.pdf", "name": "c.pdf"}], [("file_1", "a.pdf")], False),
        ([{"url": "https://x.example/a.pdf", "name": "c.pdf"}], [("file_1", "c.pdf")], True),
        ([{"url": "https://x.example/"}], [("file_1", "a.pdf")], True),
        ([{"url": "https://x.example/a.pdf"}], [("file_1", "")], True),
        ([{"text": "total 5"}], [("file_1", "a.pdf")], True),
        ([{"text": "total 5", "name": "b.txt"}], [("file_1", "a.pdf")], False),
        ([{"id": "file_1"}], [], True),
    ],
)
def test_a_run_may_be_of_a_request_with_its_files(
    sent: list[dict[str, str]], seen: list[tuple[str, str]], may_be: bool
) -> None:
    files = {"file": sent[0]} if len(sent) == 1 else {"package": {"files": sent}}
    body = CreateWorkflowRun.model_validate({"workflow": {"id": "w1"}, **files})
    found = WorkflowRunSummary.model_validate({"id": "r", "files": [{"id": each, "name": name} for each, name in seen]})
    assert _may_be_of(found, body) is may_be
