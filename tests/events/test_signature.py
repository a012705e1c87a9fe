from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from extend_mcp.events.receiver import SIGNATURE_HEADER, TIMESTAMP_HEADER, BadSignatureError, verify
from tests.events.kit import SECRET, event, signed

BODY = event("evt_1", id="workflow_run_1")
NOW = 1_770_000_000.0
HEADERS = signed(BODY, NOW)
SECRETS = [SecretStr("wss_old"), SecretStr(SECRET)]


def check(
    body: bytes = BODY, headers: dict[str, str] = HEADERS, now: float = NOW, secrets: list[SecretStr] = SECRETS
) -> None:
    verify(body, headers, secrets, now=now)


def test_any_of_the_secrets_will_do() -> None:
    check()
    with pytest.raises(BadSignatureError):
        check(secrets=SECRETS[:1])
    with pytest.raises(BadSignatureError):
        check(secrets=[])


@pytest.mark.parametrize(("age", "good"), [(300, True), (301, False), (-60, True), (-61, False), (0, True)])
def test_it_counts_for_five_minutes_and_a_minute_ahead(age: int, good: bool) -> None:
    if good:
        check(now=NOW + age)
    else:
        with pytest.raises(BadSignatureError, match="too far from now"):
            check(now=NOW + age)


@pytest.mark.parametrize(
    "change",
    [
        {SIGNATURE_HEADER: ""},
        {SIGNATURE_HEADER: HEADERS[SIGNATURE_HEADER].upper()},
        {SIGNATURE_HEADER: "é" * 64},
        {SIGNATURE_HEADER: HEADERS[SIGNATURE_HEADER][:-1]},
        {TIMESTAMP_HEADER: ""},
        {TIMESTAMP_HEADER: "soon"},
        {TIMESTAMP_HEADER: "-5"},
        {TIMESTAMP_HEADER: "1e9"},
        {TIMESTAMP_HEADER: "٣"},
        {TIMESTAMP_HEADER: "9" * 400},
        {TIMESTAMP_HEADER: str(int(NOW) + 1)},
    ],
)
def test_a_malformed_or_changed_header_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(BadSignatureError) as refused:
        check(headers={**HEADERS, **change})
    assert SECRET not in str(refused.value)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_of_the_body_can_be_changed(at: int, by: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= by
    with pytest.raises(BadSignatureError):
        check(body=bytes(changed))


def test_extend_s_own_verifier_takes_what_we_take() -> None:
    from extend_ai.wrapper.webhooks import Webhooks

    check()
    assert Webhooks().verify(BODY, HEADERS, SECRET, max_age_seconds=10**9)
    assert not Webhooks().verify(BODY, HEADERS, "wss_other", max_age_seconds=10**9)
