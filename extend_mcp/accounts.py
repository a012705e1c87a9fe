"""Callers, the Extend accounts they act on, and their scopes: what keeps one caller from another's things."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

LABEL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9 ._:/()-]{0,39}$"
"""The form of an account's label."""

LOCAL: Final = "local"
"""The principal of the only caller where the transport authenticates nobody, as over stdio."""


@dataclass(frozen=True)
class Account:
    """The Extend account that a caller acts on. Its repr does not show the key.

    Attributes:
        organization: names the organization whose rate limit counts, where the operator knows it; keys of one
            organization then share a budget. Empty: each key is assumed to have its own limit.
        label: the operator's name for the account, such as PRODUCTION.
    """

    api_key: SecretStr | None
    workspace_id: str | None = None
    organization: str = ""
    label: str = field(default="", compare=False)

    @property
    def budget(self) -> str:
        """Return the name of the rate limit that this account's requests count against; holds no secret."""
        if self.organization:
            return f"organization:{self.organization}"
        return f"key:{fingerprint(self.api_key.get_secret_value() if self.api_key else '')}"

    def fingerprint(self, purpose: str, base_url: str) -> bytes:
        """Return a name for this account at one address of Extend. Nobody can make it without the API key."""
        key = self.api_key.get_secret_value() if self.api_key else ""
        place = f"extend-mcp {purpose}\n{base_url}\n{self.workspace_id or ''}"
        return hmac.digest(key.encode("utf-8", "surrogatepass"), place.encode("utf-8", "surrogatepass"), "sha256")


@dataclass(frozen=True)
class Caller:
    """One caller, as the transport identified them.

    Attributes:
        principal: names them uniquely among all callers and stays the same between calls; holds no secret. What is
            kept between calls is kept under this name.
        scopes: what they may do, such as ``runs:read``; None for everything that the operator offers.
        expires_at: Unix seconds after which the credential no longer counts; None where it does not expire.
        issuer: who vouches for the subject, where somebody does.
        subject: the person or service behind the client, where the issuer names one.
        credential: names the credential they came with, to ask later whether it still counts; holds no secret.
    """

    principal: str
    account: Account = field(repr=False)
    scopes: frozenset[str] | None = None
    expires_at: int | None = field(default=None, compare=False)
    client_id: str = ""
    issuer: str | None = None
    subject: str | None = None
    credential: str = field(default="", compare=False, repr=False)

    def has_scope(self, *scopes: str) -> bool:
        """Return whether the caller has at least one of ``scopes``."""
        return self.scopes is None or any(scope in self.scopes for scope in scopes)


def fingerprint(secret: str) -> str:
    """Return a short name for a secret of high entropy, from which it cannot be found."""
    return hashlib.sha256(f"extend-mcp\n{secret}".encode("utf-8", "surrogatepass")).hexdigest()[:20]
