from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.runs.ids import is_workflow_id, parse_batch_id, parse_run_id

RUN = "workflow_run_xKm9pNv3qWsY_jL2tR5Dh"


@pytest.mark.parametrize(
    "pasted",
    [
        RUN,
        f"  {RUN}\n",
        f'"{RUN}"',
        f"`{RUN}`",
        f"<{RUN}>",
        f"https://dashboard.extend.ai/workflows/{RUN}",
        f"https://dashboard.extend.ai/workflows/{RUN}/",
        f"https://dashboard.extend.ai/workflows/{RUN}?tab=steps#s1",
        f"https://dashboard.extend.ai/ws_1/workflows/workflow_abc/{RUN}/steps",
        f" https://dashboard.extend.ai/workflows/{RUN} ",
        f"https://dashboard.extend.ai/{RUN}/compare/workflow_run_another1",
    ],
)
def test_a_run_id_is_found_in_what_was_pasted(pasted: str) -> None:
    assert parse_run_id(pasted) == RUN


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("batch_7Ws31-F5", "list_runs(batch=...)"),
        ("workflow_BMlfq_yWM3sT-ZzvCnA3f", "list_runs(workflow=...)"),
        ("workflow_version_Zk9mNP12Qw4", "workflow version"),
        ("workflow_step_run_xK9mLPqRtN3vS8", "as step"),
        ("file_xK9mLPqRtN3vS8wF5hB2cQ", "list_runs(file_name_contains=...)"),
        ("exr_xK9mLPqRtN3vS8wF5hB2cQ", "extract run"),
        ("vr_xK9mLPqRtN3vS8wF5hB2cQ", "but a verify run"),
        ("vs_xK9mLPqRtN3vS8wF5hB2cQ", "but a verify signal"),
        ("sgr_xK9mLPqRtN3vS8wF5hB2cQ", "but a form detection run"),
        ("edt_xK9mLPqRtN3vS8wF5hB2cQ", "but an edit template"),
        ("ev_xK9mLPqRtN3vS8wF5hB2cQ", "but an evaluation set"),
        ("evi_xK9mLPqRtN3vS8wF5hB2cQ", "but an evaluation item"),
        ("esr_xK9mLPqRtN3vS8wF5hB2cQ", "but an evaluation set run"),
        ("extv_xK9mLPqRtN3vS8wF5hB2cQ", "but an extractor version"),
        ("clv_xK9mLPqRtN3vS8wF5hB2cQ", "but a classifier version"),
        ("clsv_xK9mLPqRtN3vS8wF5hB2cQ", "but a classifier version"),
        ("splv_xK9mLPqRtN3vS8wF5hB2cQ", "but a splitter version"),
        ("dp_xK9mLPqRtN3vS8wF5hB2cQ", "but a processor of an earlier API version"),
        ("dpr_xK9mLPqRtN3vS8wF5hB2cQ", "but a processor run of an earlier API version"),
        ("wh_xK9mLPqRtN3vS8wF5hB2cQ", "but a webhook endpoint"),
        ("whes_xK9mLPqRtN3vS8wF5hB2cQ", "but a webhook subscription"),
        ("event_xK9mLPqRtN3vS8wF5hB2cQ", "but a webhook event"),
        ("workflow_run_", "not a whole"),
        ("workflow_run_a b", "not a whole"),
        ("workflow_run_../../files", "not a whole"),
        ("run_123", "list_runs shows ids"),
        ("https://dashboard.extend.ai/workflows/workflow_BMlfq", "list_runs(workflow=...)"),
        ("https://dashboard.extend.ai/", "list_runs shows ids"),
        ("", "list_runs shows ids"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(wrong: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        parse_run_id(wrong)


def test_no_letter_of_an_id_is_taken_for_what_stands_around_it() -> None:
    assert parse_run_id("workflow_run_XabX") == "workflow_run_XabX"
    assert parse_batch_id("<batch_abX>") == "batch_abX"


def test_a_prefix_of_the_future_passes_when_the_rest_looks_like_an_id() -> None:
    assert parse_run_id("wfr_xK9mLPqRtN3vS8wF5hB2cQ") == "wfr_xK9mLPqRtN3vS8wF5hB2cQ"


@given(st.text(max_size=400))
def test_any_text_gives_a_safe_id_or_a_refusal(text: str) -> None:
    try:
        found = parse_run_id(text)
    except ValueError:
        return
    assert found.replace("-", "").replace("_", "").isalnum()
    assert found.isascii()
    assert len(found) <= 300


def test_batch_ids() -> None:
    assert parse_batch_id(" batch_7Ws31-F5 ") == "batch_7Ws31-F5"
    with pytest.raises(ValueError, match="but a workflow run"):
        parse_batch_id(RUN)
    with pytest.raises(ValueError, match="must be a batch id"):
        parse_batch_id("b1")


def test_a_workflow_is_told_from_its_name() -> None:
    assert is_workflow_id("workflow_BMlfq_yWM3sT-ZzvCnA3f")
    assert is_workflow_id("wf_abc123")
    assert not is_workflow_id("Invoice Processing")
    assert not is_workflow_id("workflow_run_abc")
