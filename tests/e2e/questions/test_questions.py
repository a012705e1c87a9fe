"""Each question of the table is answered in at most three calls and 2,000 tokens, by a real server process."""

from __future__ import annotations

import pytest
from mcp.client.client import Client

from tests.e2e.questions.table import QUESTIONS, Facts, Question
from tests.e2e.test_eras import child
from tests.harness import Box, facts_of, text_of
from tests.hosting import Host

MOST_CALLS = 3
MOST_TOKENS = 2000


def tokens(text: str) -> int:
    """Tokens of o200k; where its tables cannot be had, more than there are likely to be."""
    try:
        from rs_bpe.bpe import openai
    except ImportError:
        return int(len(text) / 2.2)
    count: int = openai.o200k_base().count(text)
    return count


async def answer(client: Client, box: Box, question: Question) -> tuple[str, int]:
    """The answers' text, and how many tokens a model reads for them."""
    before: list[Facts] = []
    texts = []
    for tool, make in question.calls:
        result = await client.call_tool(tool, make(box, before))
        before.append(facts_of(result))
        texts.append(text_of(result))
    return "\n".join(texts), tokens("\n".join(texts))


def test_there_are_at_least_twenty() -> None:
    assert len({question.asked for question in QUESTIONS}) >= 20
    assert all(1 <= len(question.calls) <= MOST_CALLS for question in QUESTIONS)


@pytest.mark.parametrize("scenario", ["default", "large"])
async def test_every_question_is_answered(host: Host, scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["| Question | Calls | Tokens |", "|---|---|---|"]
    missing: list[str] = []
    settings = {"EXTEND_MCP_REQUESTS_PER_SECOND": "1000"}
    with host.room(scenario) as running:
        box = Box(running.base_url, running.sandbox)
        async with Client(child(box, limits={"detail_runs": 1000}, **settings)) as client:
            for question in QUESTIONS:
                if question.scenario != scenario:
                    continue
                text, spent = await answer(client, box, question)
                rows.append(f"| {question.asked} | {', '.join(tool for tool, _ in question.calls)} | {spent:,} |")
                missing += [f"{question.asked}: {part}\n{text}" for part in question.expects(box) if part not in text]
                missing += [f"{question.asked}: {spent} tokens"] if spent > MOST_TOKENS else []
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    assert not missing, "\n\n".join(missing)
