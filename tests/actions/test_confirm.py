"""Bind a yes to the facts that a person was shown, by their fingerprint."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.actions.confirm import digest

NOW = datetime(2026, 2, 10, 10, tzinfo=timezone.utc)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=4), JSON)
def test_a_digest_is_of_the_facts_and_not_of_their_order(facts: dict[str, Any], other: Any) -> None:
    found = digest(facts, 1)
    assert found == digest(dict(reversed(facts.items())), 1)
    assert (len(found), found.islower()) == (24, found != found.upper())
    assert found != digest(facts, 2) != digest([facts], 1)
    assert digest(facts, other) != digest(facts, [other])
    assert digest("\ud800") != digest("?")
