from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from extend_mcp.http.auth.base import UnidentifiedError
from extend_mcp.http.auth.oauth import OAuth
from extend_mcp.settings import SettingsError
from extend_mcp.urls import is_secure
from tests.http.keys import (
    ACCOUNT,
    AUDIENCE,
    ED25519,
    KEYS,
    P256,
    P384,
    P521,
    RSA,
    START,
    HandClock,
    Issuer,
    Issuers,
    claims,
    metadata_and_keys,
    public,
    refused,
    sign,
    with_bearer,
)


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
        await principal(issuer.url, client_id="", azp=""),
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
        ({"exp": str(START + 600)}, "exp is malformed"),
        ({"exp": True}, "exp is malformed"),
        ({"exp": float("nan")}, "exp is malformed"),
        ({"exp": float("inf")}, "exp is malformed"),
        ({"exp": LARGE}, "exp is malformed"),
        ({"nbf": START + 31}, "not count yet"),
        ({"iat": START + 31}, "not count yet"),
        ({"nbf": [START]}, "nbf is malformed"),
        ({"sub": None, "client_id": None}, "neither subject nor client"),
        ({"sub": "", "client_id": ""}, "neither subject nor client"),
        ({"sub": 5}, "malformed"),
        ({"client_id": ["canary"]}, "client_id is malformed"),
        ({"sub": "canary\nFORGED LINE"}, "sub is malformed"),
        ({"sub": "canary\ud800"}, "sub is malformed"),
        ({"scope": 5}, "scope is malformed"),
        ({"scope": ["runs:read", 5]}, "scope is malformed"),
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
    await refused(oauth, token, "algorithm is not accepted" if named == "HS256" else "signature is wrong")


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
    return metadata_and_keys("https://id.test")


FIXED = OAuth("https://id.test", AUDIENCE, default=ACCOUNT, fetch=shown_here, clock=HandClock())
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


@pytest.mark.parametrize(
    "url",
    ["https://id.test", "https://id.test:8443/a", "http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:8/x"],
)
def test_addresses_that_are_secure(url: str) -> None:
    assert is_secure(url)
    assert OAuth(url, AUDIENCE, default=ACCOUNT)


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
    with pytest.raises(SettingsError) as problem:
        OAuth(url, AUDIENCE, default=ACCOUNT)
    assert "canary" not in str(problem.value)


def test_an_issuer_with_a_query_is_refused() -> None:
    with pytest.raises(SettingsError, match="issuer"):
        OAuth("https://id.test/?a=1", AUDIENCE, default=ACCOUNT)
