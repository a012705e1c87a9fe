"""Redaction: a secret that is planted never survives, the rest does, and no line takes long."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from extend_mcp.telemetry.redaction import MOST_SECRETS, Redactor, is_secret_name

# No brackets: with these a secret could arise from what is put in its place.
PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="[]")
SECRETS = st.text(PRINTABLE, min_size=8, max_size=60).filter(lambda text: text not in "[redacted]")
AROUND = st.text(st.characters(exclude_characters="[]"), max_size=40)
TOKENS = st.text("abcXYZ019_-", min_size=8, max_size=40)

FORMS: dict[str, Callable[[str], str]] = {
    "unchanged": str,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON in JSON": lambda secret: json.dumps(json.dumps(secret))[3:-3],
    "by repr": lambda secret: repr(secret)[1:-1],
}


@pytest.mark.parametrize("form", FORMS)
@given(secret=SECRETS, before=AROUND, after=AROUND)
@example(secret='pa"ss\\wo+rd/1%', before="\\", after="\\")
@example(secret="two words & more", before="", after="")
@example(secret="sk_test_canary", before="sk_test_", after="sk_test_canary")
def test_a_known_secret_never_survives(form: str, secret: str, before: str, after: str) -> None:
    written = FORMS[form](secret)
    cleaned = Redactor([secret])(f"{before}{written}{after}")
    assert secret not in cleaned
    assert written not in cleaned


@given(st.lists(SECRETS, min_size=1, max_size=5), st.lists(AROUND, min_size=6, max_size=6))
def test_many_secrets_in_one_line_go_together(secrets: list[str], around: list[str]) -> None:
    line = "".join(text + secret for text, secret in zip(around, secrets, strict=False))
    cleaned = Redactor(secrets)(line)
    assert not [secret for secret in secrets if secret in cleaned]


def test_the_longest_secret_wins() -> None:
    redact = Redactor(["plainword", "plainword-and-more"])
    assert redact("a plainword-and-more b plainword c") == "a [redacted] b [redacted] c"


@pytest.mark.parametrize("short", ["", "   ", "running", " seven77 "])
def test_a_short_word_is_no_secret(short: str) -> None:
    assert Redactor([short])("seven77 running runs   ") == "seven77 running runs   "


def test_the_half_that_was_not_seen_for_longest_is_forgotten() -> None:
    redact = Redactor(f"keyword-{number}-end" for number in range(MOST_SECRETS))
    redact.add("keyword-0-end")
    newest = MOST_SECRETS - 1
    assert redact(f"keyword-1-end keyword-{newest}-end") == "[redacted] [redacted]"
    redact.add("keyword-new-end")
    assert redact(f"keyword-0-end keyword-{newest}-end keyword-new-end") == " ".join(["[redacted]"] * 3)
    assert redact("keyword-1-end") == "keyword-1-end"


def test_secrets_that_begin_alike_are_all_found() -> None:
    secrets = ["sameword" + "x" * number + "end" for number in range(100)]
    redact = Redactor(secrets)
    for secret in secrets:
        assert redact(f"a {secret} b sameworl") == "a [redacted] b sameworl"


def test_a_redactor_shows_no_secret() -> None:
    assert "canary" not in repr(Redactor(["canary-secret"]))


PLACES = [
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    "'authorization': 'Bearer {}'",
    "{{'authorization': b'Basic {}'}}",
    "(b'Authorization', b'Bearer {}')",
    "Authorization%3A+Bearer+{}",
    "key sk_{} here",
    "xt_{}",
    "(wss_{})",
    '{{"text": "line\\nemcp_{}"}}',
    "?q=%20sk_{}",
    "token eyJ{}.{}.sig",
    "https://files.test/a.pdf?X-Amz-Date=1&X-Amz-Signature={}&b=1",
    "https://files.test/a.pdf?Expires=1&Signature={}",
    "https://files.test/a?x-amz-security-token={}",
    "https://files.test/a?sv=1&sig={} HTTP/1.1",
    "/events?token={}",
    "/events?key={}#top",
    '{{"url": "https://a.test/b?c=d\\u0026sig={}"}}',
    '{{"password": "{}"}}',
    '{{"password": "two \\" words {}", "b": 1}}',
    '"{{\\"password\\": \\"two \\\\\\" words {}\\", \\"b\\": 1}}"',
    "{{'api_key': '{}'}}",
    "api_key=SecretStr('{}')",
    '"clientSecret":"{}"',
    "signing_secret={}",
    "EXTEND_API_KEY={}",
    "password: {}",
    "password: 'never closed {}",
    '"secrets": ["{}"]',
    '{{"secrets": {{"erp": "{}"}}, "b": 1}}',
    '{{"secrets": {{"erp": {{"user": "a}}", "list": ["{}"]}}}}}}',
    '"{{\\"secrets\\": {{\\"erp\\": \\"{}\\"}}}}"',
    "{{'secrets': {{'erp': 'it is }} {}'}}}}",
    "credentials={{'never closed': '{}'",
    "refresh_token={}&grant_type=a",
    "cookie: {}",
    "redis://:{}@redis.test:6379/0",
    "redis://user:p@{}@redis.test",
    "https://{}@extend.test/path",
]


@pytest.mark.parametrize("place", PLACES)
@given(secret=TOKENS, before=st.text("ab é.,;(\n", max_size=20), after=st.text("ab é.,;)\n", max_size=20))
def test_what_looks_like_a_secret_goes_where_it_is_one(place: str, secret: str, before: str, after: str) -> None:
    assume("redacted" not in secret)
    line = place.format(secret, secret)
    redact = Redactor()
    cleaned = redact(f"{before} {line} {after}")
    assert secret not in cleaned
    assert redact(cleaned) == cleaned, "once is enough"


@pytest.mark.parametrize(
    "line",
    [
        "GET attempt 2 met status 503; next in 1.3 s",
        "no bearer token",
        "workflow_run_BMlfq_yWM3sT-ZzvCnA3f is NEEDS_REVIEW",
        "task_runs_today risk_assessment disk_usage_percent",
        "https://api.extend.ai/workflow_runs?nextPageToken=abcdefgh&maxPageSize=20",
        "https://dashboard.extend.ai/a@b",
        'HTTP Request: POST http://127.0.0.1:8000/mcp "HTTP/1.1 200 OK"',
        "mail to someone@example.com: the password must be changed",
        "Basic validation failed; secret rooms are closed",
    ],
)
def test_an_honest_line_stays_as_it_is(line: str) -> None:
    assert Redactor(["sk_test_canary_4f1d"])(line) == line


def test_what_surrounds_a_secret_stays() -> None:
    redact = Redactor()
    assert redact('{"password": "a\\"b", "x": 1}') == '{"password": "[redacted]", "x": 1}'
    assert redact('{"x": 1, "secrets": {"erp": "a}", "b": ["c"]}, "y": 2}') == '{"x": 1, "secrets": [redacted]'
    assert redact("GET /f?sig=abc&page=2 HTTP/1.1") == "GET /f?sig=[redacted]&page=2 HTTP/1.1"
    assert redact("redis://u:p@redis.test:6379/0") == "redis://[redacted]@redis.test:6379/0"
    assert redact("password: sk_live_0123456789, x") == "password: [redacted] x"
    assert redact("key sk_live_0123456789 used") == "key sk_[redacted] used"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("password", "EXTEND_API_KEY", "clientSecret", "token", "Authorization")),
        *((name, False) for name in ("tool", "nextPageToken", "secretary", "key_count", "logger")),
    ],
)
def test_names_of_secrets_are_told_apart(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


# No log line of this server is as long.
LENGTH = 250_000


def timed(redact: Redactor, line: str) -> float:
    began = time.perf_counter()
    redact(line)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ",
        "://",
        "sk_",
        "bearer ",
        "password",
        'password:"',
        'password:\\"\\\\\\',
        "password: a.b.c",
        "sk_test_",
        "token=",
        "secret" + " " * 4,
        "\\",
        "secrets: {",
        'secrets: {"',
        "secrets: {}",
    ],
)
def test_no_line_is_slow(unit: str) -> None:
    redact = Redactor(["sk_test_canary_4f1d", *("sk_test_" + "x" * number for number in range(40))])
    plain = timed(redact, "lorem ipsum dolor sit amet. " * (LENGTH // 28))
    # Six times slower is usual. What takes the square of the length would be thousands of times slower.
    assert timed(redact, unit * (LENGTH // len(unit)) + '"') < 60 * plain
