"""The settings of serving over HTTP, and the limits that no operator tunes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import AnyHttpUrl, ConfigDict, SecretStr, TypeAdapter, field_validator, model_validator

from extend_mcp.settings import EnvironmentSettings, variable
from extend_mcp.urls import is_loopback

_AUTH = re.compile(r"none|passthrough(-header)?|token:.+|oauth:https?://[\w.:\[\]-]+(/\S*)?")
# An issuer is compared letter for letter: it must not gain a slash.
_AS_GIVEN = ConfigDict(url_preserve_empty_path=True)


@dataclass(frozen=True)
class HttpLimits:
    """Limits of one HTTP server; docs/deploy.md says what happens beyond each. Tests give others.

    A delivery is one of a webhook; it is held until its end, unsigned. One caller may have a quarter of the requests
    and of the sessions, and a tenth of the subscriptions. After SIGTERM requests are taken for ``drain_seconds`` more,
    while /readyz says 503, and calls in flight may then take ``shutdown_seconds``.
    """

    body_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 20.0
    delivery_bytes: int = 1024 * 1024
    delivery_seconds: float = 5.0
    deliveries_bytes: int = 16 * 1024 * 1024
    header_seconds: float = 10.0
    connections: int = 2500
    requests: int = 1000
    sessions: int = 1000
    session_idle_seconds: float = 1800.0
    subscriptions: int = 1000
    drain_seconds: float = 5.0
    shutdown_seconds: float = 60.0


def share(most: int) -> int:
    """Return the part of a limit on requests or sessions that one caller may have."""
    return max(most // 4, 1)


class HttpSettings(EnvironmentSettings):
    """Hold the settings of ``--transport http`` and ``sse``."""

    model_config = _AS_GIVEN

    host: str = variable("127.0.0.1", "Address to listen on.", min_length=1)
    port: int = variable(8000, "Port to listen on; 0 picks a free one.", ge=0, le=65535)
    auth: str = variable(
        "none",
        "How callers authenticate. none: not at all (loopback only); passthrough: with their Extend key; "
        "passthrough-header: with it in X-Extend-Api-Key, where a proxy uses Authorization; token:FILE: with a token "
        "whose hash is in this JSON file; oauth:ISSUER: with an access token of the authorization server with this "
        "issuer URL.",
    )
    without_authentication: bool = variable(
        False, "Allow EXTEND_MCP_AUTH=none on a public address. Anyone who can connect uses this server's key."
    )
    public_url: AnyHttpUrl | None = variable(
        None, "This server's /mcp URL as clients see it. For oauth also the audience of access tokens."
    )
    allowed_hosts: tuple[str, ...] = variable(
        (),
        "Comma-separated Host headers to accept in addition to loopback and the public URL's; `name:*` "
        "accepts any port.",
    )
    allowed_origins: tuple[str, ...] = variable(
        (),
        "Comma-separated Origin headers of browser clients, such as https://chat.example.com. Default: loopback only.",
    )
    stateless: bool = variable(
        False,
        "Keep no sessions for clients of protocol 2025-11-25 and older. Any replica can then answer them, but "
        "they confirm by token and cannot subscribe.",
    )
    webhook_secrets: tuple[SecretStr, ...] = variable(
        (),
        "Comma-separated signing secrets of your webhook endpoints. Setting it turns on the receiver at "
        "/webhooks/extend.",
    )
    webhook_payload_hosts: tuple[str, ...] = variable(
        (), "Comma-separated hosts from which webhook payloads sent as a URL may be fetched. Default: none."
    )
    redis_url: SecretStr | None = variable(
        None, "URL of the Redis that replicas share for events, the rate limit and bulk plans."
    )

    @field_validator("auth")
    @classmethod
    def _known(cls, value: str) -> str:
        if not _AUTH.fullmatch(value):
            raise ValueError("must be none, passthrough, passthrough-header, token:FILE or oauth:ISSUER")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> HttpSettings:
        if self.auth == "none" and not is_loopback(self.host) and not self.without_authentication:
            raise ValueError(
                "EXTEND_MCP_HOST is not a loopback address and EXTEND_MCP_AUTH is none. Set EXTEND_MCP_AUTH to "
                "passthrough, token:FILE or oauth:ISSUER. To let anyone who can connect act with this server's key, "
                "set EXTEND_MCP_WITHOUT_AUTHENTICATION to true"
            )
        if self.oauth_issuer and self.public_url is None:
            raise ValueError("EXTEND_MCP_AUTH=oauth:ISSUER needs EXTEND_MCP_PUBLIC_URL")
        return self

    @property
    def oauth_issuer(self) -> AnyHttpUrl | None:
        """Return the issuer of ``oauth:ISSUER``."""
        kind, _, issuer = self.auth.partition(":")
        return TypeAdapter(AnyHttpUrl, config=_AS_GIVEN).validate_python(issuer) if kind == "oauth" else None

    @property
    def limits(self) -> HttpLimits:
        """Return the limits to serve with. No load balancer has to notice the end of a server on loopback."""
        return HttpLimits(drain_seconds=0.0) if is_loopback(self.host) else HttpLimits()

    @property
    def secrets(self) -> list[str]:
        """Return every secret among these settings, for keeping them out of logs."""
        return [secret.get_secret_value() for secret in (self.redis_url, *self.webhook_secrets) if secret is not None]
