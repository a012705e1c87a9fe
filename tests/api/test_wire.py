"""Bytes and texts from outside: whatever comes in, the result is safe to handle."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.api.errors import error_from_response
from extend_mcp.api.wire import _decode_leniently, clean_text, decode_json, parse_retry_after, text_from_html

NOW = datetime(2026, 2, 10, 10, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"half": "a\ud800b", "whole": "\ud83d\ude00"}', {"half": "a\ufffdb", "whole": "😀"}),
        (rb'[{"\udc00": "\ud800"}]', [{"\ufffd": "\ufffd"}]),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
    ],
    ids=["half a pair", "in a key", "byte order mark", "not UTF-8"],
)
def test_a_bad_character_does_not_cost_the_document(body: bytes, value: Any) -> None:
    assert decode_json(body) == value
    json.dumps(decode_json(body), ensure_ascii=False).encode()


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b"[-Infinity]", b"[" * 100_000, b"1" * 5_000])
def test_what_is_not_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_json(body)


_SOUP = st.text('[]{}",:0123456789.eE-+\\ud8dcfNaInrtsl \n').map(str.encode)


_WRITTEN = st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode)


@given(st.binary() | _SOUP | _WRITTEN)
def test_the_fast_parser_reads_what_the_careful_one_does(body: bytes) -> None:
    def outcome(parse: Callable[[bytes], Any]) -> str:
        try:
            return repr(parse(body))
        except ValueError:
            return "ValueError"

    assert outcome(decode_json) == outcome(_decode_leniently)


@given(st.text(st.characters()), st.integers(2, 40))
def test_cleaned_text_is_one_short_visible_line(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in cleaned)


def test_the_words_of_a_text_survive_its_cleaning() -> None:
    assert clean_text("one\r\n\ttwo\x1b[31m\u202e thr\u200bee") == "one two[31m three"
    assert clean_text("abcdef", 4) == "abc…"


def test_a_page_of_markup_is_reduced_to_its_words() -> None:
    page = "<html><head><title>t</title><style>b{}</style></head><body><script>x<1</script><!-- c -->a &amp; b</body>"
    assert text_from_html(page).split() == ["a", "&", "b"]


def test_the_words_are_found_behind_any_amount_of_layout() -> None:
    page = b"<html><body>" + b"<div>\n        </div>" * 800 + b"<h1>the real reason</h1></body></html>"
    assert error_from_response("GET", 502, {}, page).message == "the real reason"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("Tue, 10 Feb 2026 10:00:20 GMT", 20.0),
        ("Tue, 10 Feb 2026 10:00:20 -0000", 20.0),
        ("Tue, 10 Feb 2026 09:00:00 GMT", 0.0),
        ("Tue, 10 Feb 99999 10:00:00 GMT", None),
        ("", None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_retry_after_is_seconds_or_nothing(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


def test_starting_up_does_not_load_the_network() -> None:
    code = (
        "import sys; from extend_mcp.api import config, errors, models, requests;"
        "print(*sorted({'anyio', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
