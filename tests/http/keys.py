"""An OAuth issuer with real keys on a real socket, and a clock that is turned by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from extend_mcp.accounts import Account
from extend_mcp.http.auth.base import UnidentifiedError
from extend_mcp.http.auth.oauth import OAuth
from extend_mcp.sandbox.sandbox_server import running_app

NOW = datetime(2026, 2, 10, 12, tzinfo=timezone.utc)
AUDIENCE = "https://mcp.example.test/mcp"

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_LATER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


class HandClock:
    """Stops until it is advanced."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Issuer:
    """The running issuer's responses by path, and its requests. Each test has its own path on the server."""

    url: str
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def shows(self, *keys: dict[str, Any]) -> None:
        """Show these keys, and metadata that leads to them."""
        path = self.url.split("/", 3)[3]
        self.answer(f"/.well-known/oauth-authorization-server/{path}", {"issuer": self.url, "jwks_uri": self.jwks_url})
        self.answer(f"/{path}/jwks", {"keys": list(keys)})

    def answer(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer a path with JSON, or with bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = (status, content, headers)

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/jwks"

    def times(self, ending: str = "/jwks") -> int:
        """Return how often a path was requested."""
        return sum(path.endswith(ending) for path in self.asked)


def metadata_and_keys(issuer: str) -> bytes:
    """One answer to both questions: where the keys are, and what they are."""
    return json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/jwks", "keys": KEYS}).encode()


class Issuers:
    """Serves the issuer of the current test."""

    def __init__(self) -> None:
        self.base_url = ""
        self.present = Issuer("")
        self._count = 0

    def new(self) -> Issuer:
        self._count += 1
        self.present = Issuer(f"{self.base_url}/tenant{self._count}")
        return self.present

    async def answer(self, request: Request) -> Response:
        self.present.asked.append(request.url.path)
        status, body, headers = self.present.answers.get(request.url.path, (404, b"{}", {}))
        return Response(body, status, headers)


@contextmanager
def issuers() -> Iterator[Issuers]:
    """A server of issuers on this machine."""
    served = Issuers()
    with running_app(Starlette(routes=[Route("/{path:path}", served.answer)])) as served.base_url:
        yield served


def public(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The key's public half as the issuer shows it."""
    if isinstance(key, rsa.RSAPrivateKey):
        shown = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        shown = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        shown = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    # PyJWT says what the key may do; many issuers do not.
    shown.pop("key_ops", None)
    return {**shown, **({"kid": kid} if kid else {}), **more}


def claims(issuer: str, **more: Any) -> dict[str, Any]:
    """Claims of a good token; a claim given as None is left out."""
    now = int(NOW.timestamp())
    good = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "ana",
        "client_id": "chat",
        "iat": now,
        "exp": now + 600,
        "scope": "runs:read runs:cancel",
        "jti": "t-1",
    }
    return {name: value for name, value in {**good, **more}.items() if value is not None}


def sign(content: dict[str, Any], key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    """A token as the issuer makes it."""
    given = {"kid": "k1", "typ": "at+jwt", **header}
    return jwt.encode(
        content, key, algorithm, headers={name: value for name, value in given.items() if value is not None}
    )


def with_bearer(token: str) -> Headers:
    return Headers({"authorization": f"Bearer {token}"})


ACCOUNT = Account(SecretStr("sk_canary_own"), "ws_1")
START = int(NOW.timestamp())
KEYS = [
    public(RSA, "k1"),
    public(P256, "p256"),
    public(P384, "p384"),
    public(P521, "p521"),
    public(ED25519, "ed"),
]


async def refused(oauth: OAuth, token: str, why: str) -> None:
    with pytest.raises(UnidentifiedError, match=why) as problem:
        await oauth(with_bearer(token))
    error = problem.value
    assert "canary" not in str(error)
    assert not any(part and part in str(error) for part in token.split("."))
    assert error.__context__ is None
