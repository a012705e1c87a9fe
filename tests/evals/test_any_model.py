"""A model of pydantic-ai answers through the same spy; .ci/evals installs pydantic-ai for this."""

from __future__ import annotations

from contextlib import closing

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from evals.any_model import AnyModel
from evals.questions import BANK
from evals.run import Rooms


def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    assert "Never answer for\nthe user" in (info.instructions or "")
    assert "cancel_workflow_run" in {tool.name for tool in info.function_tools}
    read = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    if read:
        return ModelResponse(parts=[TextPart(f"These run: {read[0].content}")])
    return ModelResponse(parts=[ToolCallPart("list_runs", {"status": "PROCESSING"})])


async def test_a_model_answers_and_is_graded() -> None:
    answering = AnyModel(FunctionModel(model))
    with closing(Rooms()) as rooms:
        right = await rooms.ask(BANK["running-now"], answering)
        wrong = await rooms.ask(BANK["review-queue"], answering)
    assert right.faults == []
    assert [call.tool for call in right.attempt.calls] == ["list_runs"]
    assert "missing: northwind-2202-review.pdf" in wrong.faults
    assert answering.usage.requests == 4
