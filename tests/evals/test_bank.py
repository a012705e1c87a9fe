"""The bank is what docs/evals.md says, and its questions can be answered from a shell."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from evals.account import Account
from evals.questions import BANK
from evals.session import Session
from evals.wrong import WRONG


def test_the_bank_holds_every_kind_of_question() -> None:
    kinds = Counter(question.kind for question in BANK.values())
    scenarios = Counter(question.scenario for question in BANK.values())
    assert len(BANK) >= 40
    assert kinds["unknown"] >= 10
    assert {"action", "hostile", "failure", "figures"} < kinds.keys()
    assert {"default", "large", "incident"} <= scenarios.keys()
    assert all(1 <= len(question.script) <= 2 for question in BANK.values())
    assert len({question.asked for question in BANK.values()}) == len(BANK)
    # Fifteen or more of the questions after a bad night.
    assert scenarios["incident"] >= 15
    page = (Path(__file__).parents[2] / "docs" / "evals.md").read_text()
    assert {kind: int(number) for kind, number in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)} == kinds


def test_the_wrong_answers_are_of_different_kinds() -> None:
    assert len({wrong.what for wrong in WRONG}) == len(WRONG) >= 20
    assert {wrong.fault.partition(":")[0] for wrong in WRONG} == {
        "certain",
        "claims",
        "consent",
        "cost",
        "empty",
        "made up",
        "missing",
        "not done",
        "unsafe",
        "unwanted",
        "wrong",
    }


async def test_a_session_from_a_shell(tmp_path: Path) -> None:
    question, action = BANK["waiting-longest"], BANK["stop-lease-yes"]
    try:
        listed = await Session(tmp_path).call(question, "list_runs", {"status": "NEEDS_REVIEW", "sort_dir": "asc"})
        assert "northwind-2202-review.pdf" in listed
        assert "review_queue" in {tool.name for tool in await Session(tmp_path).tools(question)}
        room = Session(tmp_path).room(question)
        account = Account(room.sandbox)
        run = account.run("fleet-lease").id
        account.close()
        assert "cancelled" in await Session(tmp_path).call(action, "cancel_workflow_run", {"run_id": run})
        # What one question changed, others do not see.
        assert Session(tmp_path).room(action) == room != Session(tmp_path).room(question)
        verdicts = Session(tmp_path).grade(
            {question.name: "northwind-2202-review.pdf", action.name: "It is CANCELLED now.", "running-now": "Nothing."}
        )
    finally:
        Session(tmp_path).end()
    assert [verdict.faults for verdict in verdicts[:2]] == [[], []]
    assert "missing: fleet-lease-agreement.pdf" in verdicts[2].faults
    assert len(verdicts[0].attempt.calls) == 1
    assert verdicts[1].attempt.changes == [f"POST /workflow_runs/{run}/cancel"]
    assert not room.is_open()
    assert [file.suffix for file in tmp_path.iterdir()].count(".json") == 0
