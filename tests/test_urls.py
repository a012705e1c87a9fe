from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.urls import normalize_url


@pytest.mark.parametrize(
    ("given_url", "sent"),
    [
        ("https://hooks.example.com/a?b=c", "https://hooks.example.com/a?b=c"),
        ("HTTPS://Hooks.Example.com", "https://hooks.example.com/"),
        ("https://hооks.example.com/x", "https://xn--hks-seda.example.com/x"),  # noqa: RUF001 - Cyrillic
        ("https://example.com/ä", "https://example.com/%C3%A4"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
    ],
)
def test_a_url_is_normalized(given_url: str, sent: str) -> None:
    assert normalize_url(given_url) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        r"https://evil.test\@hooks.extend.ai/x",
        "https://hooks.example.com\n/x",
        "https://hooks.exa\u200bmple.com/x",
        "https://hooks.example.com/a b",
        "ftp://example.com/x",
        "example.com",
        "https://",
        "",
    ],
)
def test_a_url_that_programs_read_differently_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must"):
        normalize_url(wrong)


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_host_of_an_accepted_url_is_the_same_for_another_parser(before: str, after: str) -> None:
    try:
        url = normalize_url(f"https://{before}hooks.example{after}")
    except ValueError:
        return
    assert url.isascii()
    assert normalize_url(url) == url
    assert (urlsplit(url).hostname or "") in url.split("://", 1)[1].split("/", 1)[0].lower()
