"""Check that, whatever the API answers, no tool, resource or prompt fails inside, and no answer passes its budget."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from extend_mcp.views.uris import RESOURCE_CHARS
from tests.calls import Needs, make_objects
from tests.harness import Box, Person, text_of
from tests.hosting import Host
from tests.robustness.hostile_texts import Rewrite, rewriting
from tests.robustness.mutations import MUTATIONS, Mutation, mutated
from tests.robustness.test_hostile_texts import PROMPTS, changing, reading

pytestmark = pytest.mark.thorough

BUDGETS = st.sampled_from([2000, 8000])


def mutating(mutations: list[Mutation]) -> Rewrite:
    """Every answer of the API with the same changes, each where they fall in it."""

    def rewrite(request: httpx.Request, document: Any) -> Any:
        return mutated(document, mutations)

    return rewrite


class Called:
    """Calls tools and holds each answer to what every answer must be."""

    def __init__(self, client: Client, limit: int) -> None:
        self._client = client
        self._limit = limit

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        # The client checks the facts against the tool's own schema.
        result = await self._client.call_tool(tool, arguments)
        text = text_of(result)
        assert "failed inside extend-mcp" not in text, (tool, arguments)
        assert len(text) <= self._limit, (tool, arguments, len(text))
        assert all(line.isprintable() for line in text.split("\n")), tool
        return result.structured_content or {}


def in_a_sandbox(host: Host, test: Callable[[Box], Coroutine[Any, Any, None]]) -> Coroutine[Any, Any, None]:
    """Run one example in its own sandbox."""

    async def run() -> None:
        with host.room("empty") as running:
            await test(Box(running.base_url, running.sandbox))

    return run()


# An example is a tour through all tools: making a failing one smaller would take minutes.
FEW = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@FEW
@given(MUTATIONS, BUDGETS)
async def test_no_reading_tool_fails_on_what_the_api_answers(host: Host, mutations: list[Mutation], limit: int) -> None:
    async def test(box: Box) -> None:
        objects = make_objects(box)
        async with rewriting(box, mutating(mutations), answer_chars=limit) as client:
            await reading(Called(client, limit), objects)

    await in_a_sandbox(host, test)


@FEW
@given(MUTATIONS)
async def test_no_writing_tool_fails_on_what_the_api_answers(host: Host, mutations: list[Mutation]) -> None:
    async def test(box: Box) -> None:
        objects = make_objects(box)
        async with rewriting(box, mutating(mutations), person=Person()) as client:
            await changing(Called(client, 8000), objects)

    await in_a_sandbox(host, test)


@FEW
@given(MUTATIONS)
async def test_no_resource_and_no_prompt_fails_on_what_the_api_answers(host: Host, mutations: list[Mutation]) -> None:
    async def test(box: Box) -> None:
        objects = make_objects(box)
        async with rewriting(box, mutating(mutations)) as client:
            for name, arguments in PROMPTS:
                assert (await client.get_prompt(name, arguments(objects))).messages
            for uri in (
                f"extend://workflow-runs/{objects[Needs.DONE_RUN]}",
                f"extend://workflows/{objects[Needs.WORKFLOW]}",
            ):
                try:
                    contents = (await client.read_resource(uri)).contents
                except MCPError as error:
                    # An invalid answer is reported as such, in our own words.
                    assert uri in str(error)  # noqa: PT017
                    continue
                assert all(len(getattr(part, "text", "")) <= RESOURCE_CHARS for part in contents)

    await in_a_sandbox(host, test)


def test_a_mutation_changes_what_it_says() -> None:
    document = {"a": [1, {"b": 2}], "c": "x"}
    assert mutated(document, [Mutation(0, "remove", None, 0)]) == {"c": "x"}
    assert mutated(document, [Mutation(1, "null", None, 0)]) == {"a": [1, {"b": 2}], "c": None}
    assert mutated(document, [Mutation(0, "replace", 5, 2)])["a"] == [[5]]
    assert document == {"a": [1, {"b": 2}], "c": "x"}


@pytest.mark.parametrize("kind", ["replace", "remove", "add", "null"])
def test_any_mutation_of_nothing_is_nothing(kind: Any) -> None:
    assert mutated({}, [Mutation(3, kind, 1, 0)]) == {}
