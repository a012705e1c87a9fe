from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from extend_mcp.callers import Account, Caller
from extend_mcp.clock import SystemClock
from extend_mcp.http.identity import UnidentifiedError
from extend_mcp.http.jwks import KeySet, KeysUnavailableError, download, is_secure, metadata_urls, read_key
from extend_mcp.http.oauth import OAuth
from extend_mcp.settings import SettingsError
from tests.http.keys import (
    AUDIENCE,
    ED25519,
    NOW,
    P256,
    P384,
    P521,
    RSA,
    RSA_LATER,
    WEAK_RSA,
    HandClock,
    Issuer,
    Issuers,
    claims,
    issuers,
    public,
    sign,
    with_bearer,
)

ACCOUNT = Account(SecretStr("sk_canary_own"), "ws_1")
START = int(NOW.timestamp())
KEYS = [
    public(RSA, "k1"),
    public(P256, "p256"),
    public(P384, "p384"),
    public(P521, "p521"),
    public(ED25519, "ed"),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Issuers]:
    with issuers() as served:
        yield served


@pytest.fixture
def issuer(served: Issuers, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """An issuer that shows :data:`KEYS`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    issuer = served.new()
    issuer.shows(*KEYS)
    return issuer


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def oauth(issuer: Issuer, clock: HandClock) -> OAuth:
    return OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)


async def refused(oauth: OAuth, token: str, why: str) -> None:
    with pytest.raises(UnidentifiedError, match=why) as problem:
        await oauth(with_bearer(token))
    error = problem.value
    assert "canary" not in str(error)
    assert not any(part and part in str(error) for part in token.split("."))
    assert error.__context__ is None


def segment(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


async def test_a_good_token_is_its_subject_and_client_with_its_scopes(oauth: OAuth, issuer: Issuer) -> None:
    caller = await oauth(with_bearer(sign(claims(issuer.url))))
    assert (caller.issuer, caller.client_id, caller.subject) == (issuer.url, "chat", "ana")
    assert set(caller.scopes or ()) == {"runs:read", "runs:cancel"}
    assert caller.expires_at == START + 600
    assert caller.account == ACCOUNT
    assert "canary" not in repr(caller) + repr(oauth)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        *[(RSA, algorithm, "k1") for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
        (P256, "ES256", "p256"),
        (P384, "ES384", "p384"),
        (P521, "ES512", "p521"),
        (ED25519, "EdDSA", "ed"),
    ],
)
async def test_asymmetric_signatures_are_good(oauth: OAuth, issuer: Issuer, key: Any, algorithm: str, kid: str) -> None:
    assert await oauth(with_bearer(sign(claims(issuer.url), key, algorithm, kid=kid)))


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
async def test_types_of_access_tokens_are_good(oauth: OAuth, issuer: Issuer, kind: str | None) -> None:
    assert await oauth(with_bearer(sign(claims(issuer.url), typ=kind)))


async def test_callers_are_told_apart_by_issuer_client_and_subject(issuer: Issuer, served: Issuers) -> None:
    async def principal(url: str, **more: Any) -> str:
        oauth = OAuth(url, AUDIENCE, default=ACCOUNT, fetch=shown, clock=HandClock())
        return (await oauth(with_bearer(sign(claims(url, **more))))).principal

    async def shown(url: str) -> bytes:
        at = url.replace("/.well-known/oauth-authorization-server", "")
        return json.dumps({"issuer": at, "jwks_uri": at, "keys": KEYS}).encode()

    same = {await principal(issuer.url, jti=jti, scope=jti) for jti in ("1", "2")}
    others = {
        await principal(issuer.url, sub="bob"),
        await principal(issuer.url, client_id="other"),
        await principal(issuer.url, sub=None),
        await principal(issuer.url, client_id=None),
        await principal(f"{issuer.url}x"),
    }
    assert (len(same), len(others), len(same & others)) == (1, 5, 0)
    assert all(each.startswith("oauth:") and "ana" not in each for each in same | others)


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({"scope": " runs:read  files:read "}, {"runs:read", "files:read"}),
        ({"scope": None, "scp": ["runs:read"]}, {"runs:read"}),
        ({"scope": None, "scp": "runs:read runs:write"}, {"runs:read", "runs:write"}),
        ({"scope": ""}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_scopes_are_read_in_the_forms_that_issuers_use(
    oauth: OAuth, issuer: Issuer, more: dict[str, Any], scopes: set[str]
) -> None:
    caller = await oauth(with_bearer(sign(claims(issuer.url, **more))))
    assert caller.scopes is not None
    assert set(caller.scopes) == scopes


async def test_the_client_may_be_named_by_azp(oauth: OAuth, issuer: Issuer) -> None:
    caller = await oauth(with_bearer(sign(claims(issuer.url, client_id=None, azp="portal", sub=None))))
    assert (caller.client_id, caller.subject) == ("portal", None)


@pytest.mark.parametrize("audience", [AUDIENCE, AUDIENCE + "/", ["https://other.test", AUDIENCE]])
async def test_a_token_for_this_server_among_others_is_good(oauth: OAuth, issuer: Issuer, audience: Any) -> None:
    assert await oauth(with_bearer(sign(claims(issuer.url, aud=audience))))
    slashed = OAuth(issuer.url, AUDIENCE + "/", default=ACCOUNT, clock=HandClock())
    assert await slashed(with_bearer(sign(claims(issuer.url, aud=audience))))


LARGE = 10**400


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"aud": "https://other.test/mcp"}, "another audience"),
        ({"aud": AUDIENCE + "/more"}, "another audience"),
        ({"aud": AUDIENCE.upper()}, "another audience"),
        ({"aud": "chat", "nonce": "n"}, "another audience"),
        ({"aud": [AUDIENCE, 5]}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": None}, "lacks the claim aud"),
        ({"iss": "https://canary.test"}, "another issuer"),
        ({"iss": None}, "lacks the claim iss"),
        ({"exp": None}, "lacks the claim exp"),
        ({"exp": START}, "has expired"),
        ({"exp": START - 1}, "has expired"),
        ({"exp": str(START + 600)}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("nan")}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"exp": LARGE}, "exp is no time"),
        ({"nbf": START + 31}, r"not count yet \(nbf\)"),
        ({"iat": START + 31}, r"not count yet \(iat\)"),
        ({"nbf": [START]}, "nbf is no time"),
        ({"sub": None, "client_id": None}, "neither subject nor client"),
        ({"sub": "", "client_id": ""}, "neither subject nor client"),
        ({"sub": 5}, "malformed"),
        ({"client_id": ["canary"]}, "client_id is malformed"),
        ({"sub": "canary\nFORGED LINE"}, "sub is malformed"),
        ({"sub": "canary\ud800"}, "sub is malformed"),
        ({"scope": 5}, "scopes are malformed"),
        ({"scope": ["runs:read", 5]}, "scopes are malformed"),
    ],
)
async def test_a_token_for_another_place_or_time_is_refused(
    oauth: OAuth, issuer: Issuer, more: dict[str, Any], why: str
) -> None:
    await refused(oauth, sign(claims(issuer.url, **more)), why)


async def test_times_have_a_leeway_at_the_beginning_only(oauth: OAuth, issuer: Issuer, clock: HandClock) -> None:
    token = sign(claims(issuer.url, nbf=START + 30, iat=START + 30, exp=START + 60))
    assert await oauth(with_bearer(token))
    clock.seconds = 59.9
    assert await oauth(with_bearer(token))
    clock.seconds = 60
    await refused(oauth, token, "has expired")


@pytest.mark.parametrize("kind", ["id_token", "logout+jwt", "dpop+jwt", "", 5])
async def test_other_types_of_token_are_refused(oauth: OAuth, issuer: Issuer, kind: Any) -> None:
    content = claims(issuer.url)
    header = segment({"alg": "RS256", "kid": "k1", "typ": kind})
    await refused(oauth, f"{header}.{segment(content)}.AAAA", "type is not")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "ES256K", 5, None, ["RS256"]])
async def test_other_algorithms_are_refused_before_the_issuer_is_asked(
    oauth: OAuth, issuer: Issuer, algorithm: Any
) -> None:
    head = segment({"alg": algorithm, "kid": "k1", "typ": "JWT"})
    for signature in ("AAAA", ""):
        await refused(oauth, f"{head}.{segment(claims(issuer.url))}.{signature}", "algorithm|no signed JWT")
    assert issuer.asked == []


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
@pytest.mark.parametrize("named", ["HS256", "RS256"])
async def test_the_public_key_is_not_taken_for_a_shared_secret(
    oauth: OAuth, issuer: Issuer, form: PublicFormat, named: str
) -> None:
    secret = RSA.public_key().public_bytes(Encoding.PEM, form)
    body = f"{segment({'alg': named, 'kid': 'k1', 'typ': 'JWT'})}.{segment(claims(issuer.url))}"
    mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    token = f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    await refused(oauth, token, "algorithm is none" if named == "HS256" else "signature is wrong")


async def test_a_key_is_not_used_with_an_algorithm_that_does_not_fit_it(oauth: OAuth, issuer: Issuer) -> None:
    content = claims(issuer.url)
    await refused(oauth, sign(content, P256, "ES256", kid="k1"), "does not show")
    issuer.shows(public(RSA, "k1", alg="PS256"))
    narrow = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=HandClock())
    await refused(narrow, sign(content), "does not show")
    assert await narrow(with_bearer(sign(content, RSA, "PS256")))


async def test_a_tampered_payload_is_refused(oauth: OAuth, issuer: Issuer) -> None:
    head, _, signature = sign(claims(issuer.url)).split(".")
    await refused(oauth, f"{head}.{segment(claims(issuer.url, sub='admin'))}.{signature}", "signature is wrong")


@pytest.mark.parametrize(
    "token",
    [
        "canary",
        "canary.canary",
        "a.b.c",
        "e30.e30.e30",
        "W10.e30.AAAA",
        "e30.e30.e30.e30.e30",
        "a" * 17_000,
        segment({"alg": "RS256", "kid": 5}) + ".e30.AAAA",
        segment({"alg": "RS256", "crit": ["canary"], "canary": 1}) + ".e30.AAAA",
        base64.urlsafe_b64encode(b'{"alg":' + b"[" * 9000).decode().rstrip("=") + ".e30.AAAA",
    ],
)
async def test_what_is_no_token_is_refused(oauth: OAuth, token: str) -> None:
    await refused(oauth, token, "no signed JWT|algorithm")


@pytest.mark.parametrize("content", [b"canary", b"[]", b'"canary"', b"[" * 9000])
async def test_signed_content_that_is_no_claims_is_refused(oauth: OAuth, content: bytes) -> None:
    from jwt import PyJWS

    token = PyJWS().encode(content, RSA, "RS256", headers={"kid": "k1"})
    await refused(oauth, token, "content is malformed")


async def shown_here(url: str) -> bytes:
    return json.dumps({"keys": KEYS}).encode()


FIXED = OAuth(
    "https://id.test", AUDIENCE, jwks_url="https://id.test/k", default=ACCOUNT, fetch=shown_here, clock=HandClock()
)
GOOD = sign(claims("https://id.test"))
GOOD_EC = sign(claims("https://id.test"), P256, "ES256", kid="p256")
CHARS = st.characters(min_codepoint=33, max_codepoint=255)


async def test_the_tokens_to_be_altered_are_good() -> None:
    assert await FIXED(with_bearer(GOOD))
    assert await FIXED(with_bearer(GOOD_EC))


@given(st.sampled_from([GOOD, GOOD_EC]), st.integers(0), CHARS)
async def test_a_token_with_any_character_altered_is_refused(token: str, place: int, char: str) -> None:
    place %= len(token)
    if token[place] == char:
        return
    with pytest.raises(UnidentifiedError):
        await FIXED(with_bearer(token[:place] + char + token[place + 1 :]))


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
    assert read_key(odd) is None


async def test_odd_keys_do_not_cost_the_others(issuer: Issuer, clock: HandClock) -> None:
    issuer.shows(*ODD, public(RSA, "k1", use="sig", alg="RS256"))
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims(issuer.url))))


def test_metadata_is_looked_for_where_the_specification_says() -> None:
    assert metadata_urls("https://id.test/tenant/") == [
        "https://id.test/.well-known/oauth-authorization-server/tenant",
        "https://id.test/.well-known/openid-configuration/tenant",
        "https://id.test/tenant/.well-known/openid-configuration",
    ]
    assert metadata_urls("https://id.test/") == [
        "https://id.test/.well-known/oauth-authorization-server",
        "https://id.test/.well-known/openid-configuration",
    ]


async def test_metadata_in_the_way_of_openid_is_good(issuer: Issuer, clock: HandClock) -> None:
    tenant = issuer.url.rsplit("/", 1)[1]
    metadata = issuer.answers.pop(f"/.well-known/oauth-authorization-server/{tenant}")
    issuer.answers[f"/{tenant}/.well-known/openid-configuration"] = metadata
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims(issuer.url))))


async def test_a_given_address_of_keys_needs_no_metadata(issuer: Issuer, clock: HandClock) -> None:
    oauth = OAuth("https://id.test", AUDIENCE, jwks_url=issuer.jwks_url, default=ACCOUNT, clock=clock)
    assert await oauth(with_bearer(sign(claims("https://id.test"))))
    assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    ("metadata", "told"),
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
    issuer: Issuer, clock: HandClock, caplog: pytest.LogCaptureFixture, metadata: Any, told: str
) -> None:
    if isinstance(metadata, dict):
        places = {"{url}": issuer.url, "{url}/": f"{issuer.url}/", "{jwks}": issuer.jwks_url}
        metadata = {name: places.get(str(value), value) for name, value in metadata.items()}
    issuer.answer(f"/.well-known/oauth-authorization-server/{issuer.url.rsplit('/', 1)[1]}", metadata)
    oauth = OAuth(issuer.url, AUDIENCE, default=ACCOUNT, clock=clock)
    await refused(oauth, sign(claims(issuer.url)), "does not show")
    assert issuer.times() == 0
    assert any(each in caplog.text for each in told.split("|"))
    assert "canary" not in caplog.text


async def test_a_redirect_is_not_followed(issuer: Issuer) -> None:
    issuer.answer("/away", {}, 302, location=issuer.jwks_url)
    with pytest.raises(KeysUnavailableError, match="302"):
        await download(issuer.url.rsplit("/", 1)[0] + "/away")
    assert issuer.times() == 0


async def test_a_body_may_be_of_the_limit_and_no_larger(issuer: Issuer) -> None:
    issuer.answer("/full", b" " * 1_000_000)
    issuer.answer("/over", b" " * 1_000_001)
    root = issuer.url.rsplit("/", 1)[0]
    assert len(await download(f"{root}/full")) == 1_000_000
    with pytest.raises(KeysUnavailableError, match="larger than"):
        await download(f"{root}/over")


class Gate:
    """A fetch that waits until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.calls = 0

    async def __call__(self, url: str) -> bytes:
        self.calls += 1
        await self.opened.wait()
        return json.dumps({"keys": KEYS}).encode()


def gated(gate: Callable[[str], Awaitable[bytes]], clock: HandClock) -> OAuth:
    return OAuth("https://id.test", AUDIENCE, jwks_url="https://id.test/k", default=ACCOUNT, fetch=gate, clock=clock)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_callers_at_the_same_time_share_one_fetch(clock: HandClock) -> None:
    gate = Gate()
    oauth = gated(gate, clock)
    callers: list[Caller] = []

    async def call() -> None:
        callers.append(await oauth(with_bearer(GOOD)))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)
        await until(lambda: gate.calls > 0)
        gate.opened.set()
    assert (len(callers), gate.calls) == (20, 1)


async def test_one_who_hangs_up_does_not_cost_the_others_the_answer(clock: HandClock) -> None:
    gate = Gate()
    oauth = gated(gate, clock)
    callers: list[Caller] = []

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            callers.append(await oauth(with_bearer(GOOD)))

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(call, first)
        await until(lambda: gate.calls > 0)
        group.start_soon(call, second)
        first.cancel()
        gate.opened.set()
    assert gate.calls == 1
    assert len(callers) >= 1
    assert not second.cancelled_caught


async def test_known_keys_serve_while_they_are_fetched_again(clock: HandClock) -> None:
    gate = Gate()
    oauth = gated(gate, clock)
    gate.opened.set()
    token = sign(claims("https://id.test", exp=START + 5000))
    assert await oauth(with_bearer(token))
    gate.opened = anyio.Event()
    clock.seconds = 600
    async with anyio.create_task_group() as group:
        group.start_soon(oauth, with_bearer(token))
        await until(lambda: gate.calls == 2)
        with anyio.fail_after(5):
            assert await oauth(with_bearer(token))
        gate.opened.set()


async def test_a_fetch_that_takes_too_long_ends(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    keys = KeySet("https://id.test", "https://id.test/k", clock=SystemClock(), fetch=gate, seconds=0)
    with anyio.fail_after(5):
        assert await keys.find("k1", "RS256") == ()
    assert "TimeoutError" in caplog.text


@pytest.mark.parametrize(
    "url",
    ["https://id.test", "https://id.test:8443/a", "http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:8/x"],
)
def test_addresses_that_are_secure(url: str) -> None:
    assert is_secure(url)
    assert OAuth(url, AUDIENCE, jwks_url=url, default=ACCOUNT)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "canary",
        "http://canary.test",
        "http://127.0.0.1.canary.test",
        "http://localhost.canary.test",
        "ftp://127.0.0.1",
        "https://",
        "https://user:canary@id.test",
        "https://id.test/#canary",
        "https://id.test:canary",
        "https://[canary",
        "https://id.test/ canary",
    ],
)
def test_addresses_that_are_not_are_refused_at_start_and_not_quoted(url: str) -> None:
    assert not is_secure(url)
    for given_issuer, given_keys in ((url, None), ("https://id.test", url)):
        with pytest.raises(SettingsError) as problem:
            OAuth(given_issuer, AUDIENCE, jwks_url=given_keys, default=ACCOUNT)
        assert "canary" not in str(problem.value)


def test_an_issuer_with_a_query_and_a_missing_audience_are_refused() -> None:
    with pytest.raises(SettingsError, match="issuer"):
        OAuth("https://id.test/?a=1", AUDIENCE, default=ACCOUNT)
    with pytest.raises(SettingsError, match="public URL"):
        OAuth("https://id.test", "", default=ACCOUNT)
