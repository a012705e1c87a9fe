from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from extend_mcp.accounts import Caller
from extend_mcp.api.transport import RefusedAnswerError
from extend_mcp.http.auth.oauth import OAuth, download_keys, metadata_urls, read_key
from tests.http.keys import (
    ACCOUNT,
    AUDIENCE,
    KEYS,
    P256,
    RSA,
    RSA_LATER,
    START,
    WEAK_RSA,
    HandClock,
    Issuer,
    claims,
    metadata_and_keys,
    public,
    refused,
    sign,
    with_bearer,
)


async def test_a_new_key_is_found_when_a_token_names_it(oauth: OAuth, issuer: Issuer, clock: HandClock) -> None:
    assert await oauth(with_bearer(sign(claims(issuer.url))))
    later = sign(claims(issuer.url), RSA_LATER, kid="k2")
    issuer.shows(*KEYS, public(RSA_LATER, "k2"))
    await refused(oauth, later, "does not show")
    clock.seconds = 9.9
    await refused(oauth, later, "does not show")
    clock.seconds = 10
    assert await oauth(with_bearer(later))
    assert await oauth(with_bearer(sign(claims(issuer.url))))
    assert issuer.times() == 2


async def test_made_up_key_ids_cannot_hammer_the_issuer(oauth: OAuth, issuer: Issuer, clock: HandClock) -> None:
    for number in range(40):
        await refused(oauth, sign(claims(issuer.url), kid=f"junk{number}"), "does not show")
        clock.seconds += 1
    assert issuer.times() == 4
    assert len(issuer.asked) == 8


async def test_a_key_taken_back_stops_counting_at_the_next_fetch(
    oauth: OAuth, issuer: Issuer, clock: HandClock
) -> None:
    token = sign(claims(issuer.url, exp=START + 5000))
    assert await oauth(with_bearer(token))
    issuer.shows(public(RSA_LATER, "k2"))
    clock.seconds = 599
    assert await oauth(with_bearer(token))
    clock.seconds = 600
    await refused(oauth, token, "does not show")


async def test_the_issuer_taking_all_keys_back_is_believed(oauth: OAuth, issuer: Issuer, clock: HandClock) -> None:
    token = sign(claims(issuer.url, exp=START + 5000))
    assert await oauth(with_bearer(token))
    issuer.shows()
    clock.seconds = 600
    await refused(oauth, token, "does not show")


@pytest.mark.parametrize("status", [500, 301])
async def test_while_the_issuer_is_down_its_keys_count_for_an_hour(
    oauth: OAuth, issuer: Issuer, clock: HandClock, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    token = sign(claims(issuer.url, exp=START + 9000))
    assert await oauth(with_bearer(token))
    issuer.answer(f"/{issuer.url.rsplit('/', 1)[1]}/jwks", {"keys": KEYS}, status, location=issuer.jwks_url)
    for clock.seconds in (600, 605, 3599):
        assert await oauth(with_bearer(token))
    assert issuer.times() == 3
    assert f"an answer is {status}" in caplog.text
    clock.seconds = 3600
    await refused(oauth, token, "does not show")
    issuer.shows(*KEYS)
    clock.seconds = 3610
    assert await oauth(with_bearer(token))


async def test_nobody_is_let_in_while_no_keys_were_ever_had(issuer: Issuer, clock: HandClock) -> None:
    issuer.answers.clear()
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    await refused(oauth, sign(claims(issuer.url)), "does not show")
    issuer.shows(*KEYS)
    await refused(oauth, sign(claims(issuer.url)), "does not show")
    clock.seconds = 10
    assert await oauth(with_bearer(sign(claims(issuer.url))))


async def test_an_issuer_that_cannot_be_reached_is_no_crash(
    clock: HandClock, caplog: pytest.LogCaptureFixture, issuer: Issuer
) -> None:
    closed = "http://127.0.0.1:1"
    await refused(OAuth(closed, AUDIENCE, default=ACCOUNT, clock=clock), sign(claims(closed)), "does not show")
    assert "ConnectError" in caplog.text


async def test_a_token_without_a_key_id_is_tried_with_the_keys_that_fit(issuer: Issuer, clock: HandClock) -> None:
    issuer.shows(public(RSA_LATER, "k2"), public(P256), public(RSA))
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims(issuer.url), kid=None)))
    assert await oauth(with_bearer(sign(claims(issuer.url), P256, "ES256", kid=None)))
    other = public(RSA_LATER, "k2")
    issuer.shows(other)
    wrong = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    await refused(wrong, sign(claims(issuer.url), kid=None), "signature is wrong")


ODD: list[Any] = [
    {"kty": "FUTURE", "kid": "k1", "x": "AAAA"},
    {"kty": "RSA", "kid": "k1"},
    {"kty": "RSA", "kid": "k1", "n": 5, "e": "AQAB"},
    {"kty": "RSA", "kid": "k1", "n": "AAAA", "e": "!!"},
    {"kty": "EC", "crv": "P-256", "kid": "k1", "x": "AAAA", "y": "AAAA"},
    {"kty": "EC", "crv": "secp256k1", "kid": "k1", "x": "AAAA", "y": "AAAA"},
    {"kty": ["RSA"], "kid": "k1"},
    {"kty": "OKP", "crv": "X25519", "kid": "k1", "x": "AAAA"},
    {"kty": "oct", "kid": "k1", "k": "c2VjcmV0"},
    {**public(RSA, "k1"), "use": "enc"},
    {**public(RSA, "k1"), "alg": "RSA-OAEP"},
    {**public(RSA, "k1"), "alg": "HS256"},
    {**public(RSA, "k1"), "alg": 5},
    RSAAlgorithm.to_jwk(RSA, as_dict=True),
    ECAlgorithm.to_jwk(P256, as_dict=True),
    public(WEAK_RSA, "k1"),
    {},
    [],
    None,
    "k1",
]


# Names without the random keys: parallel workers must agree on them.
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_no_key_to_check_signatures_with_is_left_out(odd: Any) -> None:
    assert read_key(odd) == []


async def test_odd_keys_do_not_cost_the_others(issuer: Issuer, clock: HandClock) -> None:
    issuer.shows(*ODD, public(RSA, "k1", use="sig", alg="RS256"))
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims(issuer.url))))


def test_metadata_is_looked_for_where_the_specification_says() -> None:
    assert metadata_urls("https://id.test/tenant/", "") == [
        "https://id.test/.well-known/oauth-authorization-server/tenant",
        "https://id.test/.well-known/openid-configuration/tenant",
        "https://id.test/tenant/.well-known/openid-configuration",
    ]
    assert metadata_urls("https://id.test/", "") == [
        "https://id.test/.well-known/oauth-authorization-server",
        "https://id.test/.well-known/openid-configuration",
    ]


async def test_metadata_in_the_way_of_openid_is_good(issuer: Issuer, clock: HandClock) -> None:
    tenant = issuer.url.rsplit("/", 1)[1]
    metadata = issuer.answers.pop(f"/.well-known/oauth-authorization-server/{tenant}")
    issuer.answers[f"/{tenant}/.well-known/openid-configuration"] = metadata
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims(issuer.url))))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"issuer": "https://canary.test", "jwks_uri": "{jwks}"}, "of another issuer"),
        ({"issuer": "{url}/", "jwks_uri": "{jwks}"}, "of another issuer"),
        ({"jwks_uri": "{jwks}"}, "of another issuer"),
        ({"issuer": "{url}"}, "names no keys"),
        ({"issuer": "{url}", "jwks_uri": ["canary"]}, "names no keys"),
        ({"issuer": "{url}", "jwks_uri": "http://canary.test/jwks"}, "not https"),
        ({"issuer": "{url}", "jwks_uri": "file:///etc/canary"}, "not https"),
        (["canary"], "no JSON object"),
        (b"canary", "ValueError|JSONDecodeError"),
        (b"canary" * 200_000, "larger than"),
    ],
)
async def test_metadata_that_does_not_fit_is_not_followed(
    issuer: Issuer, clock: HandClock, caplog: pytest.LogCaptureFixture, metadata: Any, message: str
) -> None:
    if isinstance(metadata, dict):
        places = {"{url}": issuer.url, "{url}/": f"{issuer.url}/", "{jwks}": issuer.jwks_url}
        metadata = {name: places.get(str(value), value) for name, value in metadata.items()}
    issuer.answer(f"/.well-known/oauth-authorization-server/{issuer.url.rsplit('/', 1)[1]}", metadata)
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    await refused(oauth, sign(claims(issuer.url)), "does not show")
    assert issuer.times() == 0
    assert any(each in caplog.text for each in message.split("|"))
    assert "canary" not in caplog.text


async def test_a_redirect_is_not_followed(issuer: Issuer) -> None:
    issuer.answer("/away", {}, 302, location=issuer.jwks_url)
    with pytest.raises(RefusedAnswerError, match="302"):
        await download_keys(issuer.url.rsplit("/", 1)[0] + "/away")
    assert issuer.times() == 0


async def test_a_body_may_be_of_the_limit_and_no_larger(issuer: Issuer) -> None:
    issuer.answer("/full", b" " * 1_000_000)
    issuer.answer("/over", b" " * 1_000_001)
    root = issuer.url.rsplit("/", 1)[0]
    assert len(await download_keys(f"{root}/full")) == 1_000_000
    with pytest.raises(RefusedAnswerError, match="larger than"):
        await download_keys(f"{root}/over")


class HeldFetch:
    """A fetch that waits until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.calls = 0

    async def __call__(self, url: str) -> bytes:
        self.calls += 1
        await self.opened.wait()
        return metadata_and_keys("https://id.test")


def held_oauth(fetch: Callable[[str], Awaitable[bytes]], clock: HandClock) -> OAuth:
    return OAuth("https://id.test", AUDIENCE, default=ACCOUNT, fetch=fetch, clock=clock)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_callers_at_the_same_time_share_one_fetch(clock: HandClock) -> None:
    fetch = HeldFetch()
    oauth = held_oauth(fetch, clock)
    callers: list[Caller] = []

    async def call() -> None:
        callers.append(await oauth(with_bearer(sign(claims("https://id.test")))))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)
        await until(lambda: fetch.calls > 0)
        fetch.opened.set()
    assert (len(callers), fetch.calls) == (20, 2), "the metadata and the keys"


async def test_one_who_hangs_up_does_not_cost_the_others_the_answer(clock: HandClock) -> None:
    fetch = HeldFetch()
    oauth = held_oauth(fetch, clock)
    callers: list[Caller] = []

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            callers.append(await oauth(with_bearer(sign(claims("https://id.test")))))

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(call, first)
        await until(lambda: fetch.calls > 0)
        group.start_soon(call, second)
        first.cancel()
        fetch.opened.set()
    assert fetch.calls == 2
    assert len(callers) >= 1
    assert not second.cancelled_caught


async def test_known_keys_serve_while_they_are_fetched_again(clock: HandClock) -> None:
    fetch = HeldFetch()
    oauth = held_oauth(fetch, clock)
    fetch.opened.set()
    token = sign(claims("https://id.test", exp=START + 5000))
    assert await oauth(with_bearer(token))
    fetch.opened = anyio.Event()
    clock.seconds = 600
    async with anyio.create_task_group() as group:
        group.start_soon(oauth, with_bearer(token))
        await until(lambda: fetch.calls == 3)
        with anyio.fail_after(5):
            assert await oauth(with_bearer(token))
        fetch.opened.set()


async def test_a_fetch_that_takes_too_long_ends(caplog: pytest.LogCaptureFixture) -> None:
    fetch = HeldFetch()
    oauth = OAuth("https://id.test", AUDIENCE, default=ACCOUNT, fetch=fetch, fetch_seconds=0)
    with anyio.fail_after(5):
        assert not await oauth.keys("k1", "RS256")
    assert "TimeoutError" in caplog.text
