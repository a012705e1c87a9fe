from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.tools.seal import Seal, SealKeys

NOW = datetime(2026, 2, 10, tzinfo=timezone.utc)
KEYS = SealKeys(["k" * 32])
CLAIMS = {"action": "cancel_workflow_run", "target": "workflow_run_1", "state": "PENDING"}
SEAL = Seal(KEYS, audience="account", lifetime=300)
TOKEN = SEAL.close(CLAIMS, principal="ana", now=NOW)


def test_a_token_opens_for_whom_and_as_long_as_it_was_made() -> None:
    assert SEAL.open(TOKEN, principal="ana", now=NOW) == CLAIMS
    assert SEAL.open(f" {TOKEN}\n", principal="ana", now=NOW + timedelta(seconds=299)) == CLAIMS
    assert SEAL.open(TOKEN, principal="ana", now=NOW + timedelta(seconds=300)) is None
    assert SEAL.open(TOKEN, principal="bob", now=NOW) is None


def test_a_token_opens_where_key_and_audience_are_the_same() -> None:
    rotated = SealKeys(["n" * 32, "k" * 32])
    assert Seal(rotated, audience="account", lifetime=300).open(TOKEN, principal="ana", now=NOW) == CLAIMS
    assert Seal(KEYS, audience="other", lifetime=300).open(TOKEN, principal="ana", now=NOW) is None
    assert Seal(SealKeys(), audience="account", lifetime=300).open(TOKEN, principal="ana", now=NOW) is None


def test_nothing_of_the_claims_can_be_read_from_a_token() -> None:
    assert "cancel" not in TOKEN
    assert "workflow" not in TOKEN


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_token_altered_anywhere_is_refused(position: int, char: str) -> None:
    altered = TOKEN[:position] + char + TOKEN[position + 1 :]
    expected = CLAIMS if altered.strip() == TOKEN else None
    assert SEAL.open(altered, principal="ana", now=NOW) == expected


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert SEAL.open(text, principal="ana", now=NOW) is None
