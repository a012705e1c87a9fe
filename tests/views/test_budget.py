from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.views.budget import fit, paginate

LINES = st.lists(st.text(alphabet="abc |", max_size=300), max_size=40)


@given(LINES, st.integers(min_value=80, max_value=1000))
def test_pages_hold_everything_once_and_fit(lines: list[str], limit: int) -> None:
    first = paginate(lines, 1, limit)
    seen: list[str] = []
    for number in range(1, first.count + 1):
        page = paginate(lines, number, limit)
        assert sum(len(line) + 1 for line in page.lines) <= limit
        seen += page.lines
    pieces = iter(seen)
    for line in lines:
        whole = next(pieces)
        while len(whole) < len(line):
            whole += next(pieces).removeprefix("| ")
        assert whole == line
    assert next(pieces, None) is None


def test_a_page_past_the_end_is_the_last() -> None:
    assert paginate(["a" * 70, "b" * 70], 99, 80).lines == ["b" * 70]
    assert paginate([], 1, 80).count == 1


@given(LINES, st.integers(min_value=40, max_value=2000))
def test_fit_says_how_many_lines_went(lines: list[str], limit: int) -> None:
    shown, kept = fit(lines, limit, lambda gone: f"{gone} more")
    assert sum(len(line) + 1 for line in shown) <= limit
    assert shown[:kept] == lines[:kept]
    assert shown[kept:] == ([] if kept == len(lines) else [f"{len(lines) - kept} more"])
