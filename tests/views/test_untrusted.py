from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.views.untrusted import clean, cut, quote, quote_lines

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}


@pytest.mark.parametrize(
    ("hostile", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]8;;https://evil.test\x07link\x1b]8;;\x07b", "alinkb"),
        ("pay\u200bload\u2060", "payload"),
        ("\u202etxt.exe\u202c", "txt.exe"),
        ("tag\U000e0041\U000e0042s", "tags"),
        ("vs\ufe0f\U000e0101!", "vs!"),
        ("two\r\nlines\x00", "two lines"),
        ("![x](https://evil.test/?q=1)", "! [x] (https://evil.test/?q=1)"),
        ("\ud800lone", "lone"),
        ("Überweisung №5 — 東京", "Überweisung №5 — 東京"),
    ],
)
def test_what_cannot_be_seen_or_would_load_is_gone(hostile: str, seen: str) -> None:
    assert clean(hostile) == seen


@given(st.text())
def test_no_invisible_character_survives(text: str) -> None:
    assert not any(unicodedata.category(char) in HIDDEN for char in clean(text))
    kept = clean(text, keep_lines=True)
    assert not any(unicodedata.category(char) in HIDDEN and char != "\n" for char in kept)
    assert "](" not in kept


@given(st.text(alphabet=st.sampled_from("«»《》ab \n"), max_size=200))
def test_quoted_text_cannot_end_its_own_quotation(text: str) -> None:
    marked = quote(text, 500)
    assert (marked[0], marked[-1]) == ("«", "»")
    assert "«" not in marked[1:-1]
    assert "»" not in marked[1:-1]


@given(st.text())
def test_every_line_of_a_long_text_carries_its_mark(text: str) -> None:
    lines = quote_lines(text)
    assert all(line.startswith("|") and "\n" not in line for line in lines)


def test_a_short_cut_is_an_ellipsis() -> None:
    assert cut("Applicant is named on every document", 20) == "Applicant is named …"
    assert len(cut("x" * 100, 60)) == 60


@given(st.text(min_size=150), st.integers(min_value=61, max_value=200))
def test_a_cut_says_how_much_is_gone(text: str, limit: int) -> None:
    shorter = cut(text, limit)
    assert len(shorter) <= max(limit + 8, len(text) if len(text) <= limit else 0)
    if len(text) > limit:
        kept, said = shorter.rsplit("…(+", 1)
        assert len(kept) + int(said.split(" ")[0]) == len(text)
