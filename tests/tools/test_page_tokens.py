from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.tools.page_tokens import Place, pack, unpack

PLAIN = st.text("ABCDEFabcdef0123456789_=+/:~-", min_size=1, max_size=60)


@given(st.none() | st.text(max_size=60) | PLAIN, st.integers(0, 100))
def test_a_place_comes_back_as_it_was(token: str | None, skip: int) -> None:
    place = Place(t=token or None, s=skip)
    packed = pack(place)
    assert unpack(Place, packed) == place
    # One word, whatever the API's token is.
    assert packed.isascii()
    assert packed.isprintable()
    assert " " not in packed


@given(PLAIN)
def test_a_plain_token_of_the_api_stands_in_it_as_it_is(token: str) -> None:
    assert pack(Place(t=token)).endswith(f".{token}")
    # One that is no plain word is packed whole.
    assert "." not in pack(Place(t=f"{token} "))


@pytest.mark.parametrize("token", ["", "e30.", "e30.a b", "e30.«x»", "eyJ0IjoiYSJ9.b", "!", "e30.x.y z"])
def test_what_is_not_made_here_is_refused(token: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says it in its own words
        unpack(Place, token)
