"""The id of a request: the client's if it is harmless, else our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.telemetry.request_id import accept_request_id


@pytest.mark.parametrize("given_id", ["a", "A-1_b.c", "0" * 64])
def test_a_harmless_id_is_kept(given_id: str) -> None:
    assert accept_request_id(given_id) == given_id


@pytest.mark.parametrize("given_id", [None, "", "a" * 65, "a\n", "a b", "ä", "²", "a\r\nINFO forged"])
def test_anything_else_gets_a_new_id(given_id: str | None) -> None:
    assert accept_request_id(given_id) != given_id


@given(st.text(max_size=80))
def test_what_is_accepted_is_short_and_plain(text: str) -> None:
    accepted = accept_request_id(text)
    assert 1 <= len(accepted) <= 64
    assert accepted.isascii()
    assert not set(accepted) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_new_ids_differ() -> None:
    assert len({accept_request_id(None) for _ in range(1000)}) == 1000
