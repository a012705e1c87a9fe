from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.actions.confirmation_tokens import ConfirmationTokens, Purpose, SealingKeys

NOW = datetime(2026, 2, 10, tzinfo=timezone.utc)
KEYS = SealingKeys(["k" * 32])
CLAIMS = {"action": "cancel_workflow_run", "target": "workflow_run_1", "state": "PENDING"}
TOKENS = ConfirmationTokens(KEYS, audience="account", lifetime=300)
TOKEN = TOKENS.issue(CLAIMS, principal="ana", now=NOW)


def test_a_token_opens_for_whom_and_as_long_as_it_was_made() -> None:
    assert TOKENS.verify(TOKEN, principal="ana", now=NOW) == CLAIMS
    assert TOKENS.verify(f" {TOKEN}\n", principal="ana", now=NOW + timedelta(seconds=299)) == CLAIMS
    assert TOKENS.verify(TOKEN, principal="ana", now=NOW + timedelta(seconds=300)) is None
    assert TOKENS.verify(TOKEN, principal="bob", now=NOW) is None


def test_a_token_opens_where_key_and_audience_are_the_same() -> None:
    rotated = SealingKeys(["n" * 32, "k" * 32])
    assert (
        ConfirmationTokens(rotated, audience="account", lifetime=300).verify(TOKEN, principal="ana", now=NOW) == CLAIMS
    )
    assert ConfirmationTokens(KEYS, audience="other", lifetime=300).verify(TOKEN, principal="ana", now=NOW) is None
    assert (
        ConfirmationTokens(SealingKeys(), audience="account", lifetime=300).verify(TOKEN, principal="ana", now=NOW)
        is None
    )


def test_nothing_of_the_claims_can_be_read_from_a_token() -> None:
    assert "cancel" not in TOKEN
    assert "workflow" not in TOKEN


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_token_altered_anywhere_is_refused(position: int, char: str) -> None:
    altered = TOKEN[:position] + char + TOKEN[position + 1 :]
    expected = CLAIMS if altered.strip() == TOKEN else None
    assert TOKENS.verify(altered, principal="ana", now=NOW) == expected


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert TOKENS.verify(text, principal="ana", now=NOW) is None


def test_each_process_of_an_account_derives_the_same_key() -> None:
    same = SealingKeys.of_account("sk_1", "https://api.extend.ai")
    assert (
        ConfirmationTokens(same, audience="a", lifetime=9).verify(
            ConfirmationTokens(SealingKeys.of_account("sk_1", "https://api.extend.ai"), audience="a", lifetime=9).issue(
                CLAIMS, principal="ana", now=NOW
            ),
            principal="ana",
            now=NOW,
        )
        == CLAIMS
    )
    for other in (
        SealingKeys.of_account("sk_2", "https://api.extend.ai"),
        SealingKeys.of_account("sk_1", "https://eu"),
    ):
        tokens = ConfirmationTokens(other, audience="a", lifetime=9)
        given = ConfirmationTokens(same, audience="a", lifetime=9).issue(CLAIMS, principal="ana", now=NOW)
        assert tokens.verify(given, principal="ana", now=NOW) is None


def test_the_problem_of_a_token_is_named() -> None:
    later = NOW + timedelta(seconds=300)
    assert TOKENS.problem(TOKEN, principal="ana", now=NOW) is None
    assert "expired" in (TOKENS.problem(TOKEN, principal="ana", now=later) or "")
    assert "another caller" in (TOKENS.problem(TOKEN, principal="bob", now=NOW) or "")
    elsewhere = ConfirmationTokens(SealingKeys(), audience="account", lifetime=300)
    assert "another key" in (elsewhere.problem(TOKEN, principal="ana", now=NOW) or "")


@pytest.mark.parametrize("purpose", ["request state", "stored plan"])
def test_what_was_sealed_for_another_purpose_is_no_token(purpose: Purpose) -> None:
    envelope = {"v": 3, "exp": NOW.timestamp() + 99, "for": TOKENS._digest("ana"), "claims": CLAIMS}
    for content in (envelope, CLAIMS, ["key", "plan", {}], 7):
        sealed = KEYS.codec(purpose).seal(json.dumps(content).encode())
        assert TOKENS.verify(sealed, principal="ana", now=NOW) is None
        assert TOKENS.problem(sealed, principal="ana", now=NOW)


def test_a_name_is_of_the_text_and_of_the_first_key() -> None:
    names = {SealingKeys([key * 32]).name(text) for key in "ab" for text in ("x", "y")}
    assert len(names) == 4
    assert SealingKeys(["a" * 32, "b" * 32]).name("x") in names
    assert {len(name) for name in names} == {32}


def test_it_is_said_why_a_token_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    late = NOW + timedelta(seconds=300)
    monkeypatch.setattr("extend_mcp.actions.confirmation_tokens._VERSION", 99)
    of_another_version = TOKENS.issue(CLAIMS, principal="ana", now=NOW)
    monkeypatch.undo()
    problems = [
        TOKENS.problem(token, principal=principal, now=now)
        for token, principal, now in (
            (TOKEN, "ana", NOW),
            (of_another_version, "ana", NOW),
            (TOKEN, "bob", late),
            (TOKEN, "ana", late),
        )
    ]
    assert problems == [
        None,
        "another version of this server issued it",
        "it was issued to another caller, or for another Extend account",
        "it has expired: a token counts for 300 seconds",
    ]
