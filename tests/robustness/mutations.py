"""Changes of a JSON document at random places: what an API might answer some day, or a broken one now."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

_NUMBERS: list[Any] = [0, -1, 2**31, -(2**63), 2**63, 10**40, 1e308, -1e-308, 0.1, True, False]
_TEXTS: list[Any] = ["", " ", "\x00", "\ud800", "9" * 400, "NEW_STATUS", "«»| ](<img>"]
_TIMES: list[Any] = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", "2026-02-30T00:00:00Z"]
_OTHERS: list[Any] = [None, [], {}, [[]], [None], {"": None}, {"id": {}}]

EDGES: st.SearchStrategy[Any] = st.sampled_from([*_NUMBERS, *_TEXTS, *_TIMES, *_OTHERS])
"""Values at the edges of their types, and of other types than any field expects."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        place: which of a document's places, counted through and round again.
        kind: what happens there.
        value: what is put there.
        depth: how many lists are put around it.
    """

    place: int
    kind: Literal["replace", "remove", "add", "null"]
    value: Any
    depth: int

    def apply(self, document: dict[str, Any]) -> None:
        """Change ``document`` in place."""
        places = list(_places(document))
        if not places:
            return
        holder, key = places[self.place % len(places)]
        if self.kind == "remove" and isinstance(holder, dict):
            del holder[key]
        elif self.kind == "add" and isinstance(holder, dict):
            holder[f"added{self.place % 7}"] = self._deep()
        elif self.kind == "null":
            holder[key] = None
        else:
            holder[key] = self._deep()

    def _deep(self) -> Any:
        value = copy.deepcopy(self.value)
        for _ in range(self.depth):
            value = [value]
        return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Everything in a document but its ids."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        holder = pending.pop()
        items = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        for key, item in items:
            if key != "id":
                found.append((holder, key))
            if isinstance(item, (dict, list)):
                pending.append(item)
    return found


MUTATIONS: st.SearchStrategy[list[Mutation]] = st.lists(
    st.builds(
        Mutation,
        st.integers(0, 100_000),
        st.sampled_from(["replace", "replace", "remove", "add", "null"]),
        VALUES,
        st.sampled_from([0, 0, 0, 1, 60]),
    ),
    min_size=1,
    max_size=12,
)
"""Some changes of one document."""


def mutated(document: dict[str, Any], mutations: list[Mutation]) -> dict[str, Any]:
    """A copy of ``document`` with all changes made to it."""
    changed = copy.deepcopy(document)
    for mutation in mutations:
        mutation.apply(changed)
    return changed
