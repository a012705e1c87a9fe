"""The settings of serving over HTTP: where, to whom, within which bounds, and together with which other replicas."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from extend_mcp.settings import EnvironmentSettings

Auth = Literal["none", "passthrough", "token", "oauth"]

WITHOUT_AUTHENTICATION: Final = "anyone who can connect may act with this server's key"
"""What an operator must say, word for word, to serve a public address without authentication."""


class HttpSettings(EnvironmentSettings):
    """What the operator chose for ``--transport http`` and ``sse``."""

    # An issuer is compared letter for letter: it must not gain a slash.
    model_config = SettingsConfigDict(url_preserve_empty_path=True)

    host: str = Field("127.0.0.1", min_length=1, validation_alias="EXTEND_MCP_HOST", description="Address to serve.")
    port: int = Field(8000, ge=0, le=65535, validation_alias="EXTEND_MCP_PORT", description="Port; 0 takes a free one.")
    auth: Auth = Field(
        "none",
        validation_alias="EXTEND_MCP_AUTH",
        description="Who may call: none (loopback only), passthrough (callers bring their Extend key), "
        "token (tokens of a file), oauth (access tokens of an authorization server).",
    )
    without_authentication: str = Field(
        "",
        validation_alias="EXTEND_MCP_WITHOUT_AUTHENTICATION",
        description=f'To serve a public address with `none`, say: "{WITHOUT_AUTHENTICATION}".',
    )
    key_header: str = Field(
        "Authorization",
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$",
        validation_alias="EXTEND_MCP_KEY_HEADER",
        description="passthrough: the header that carries the caller's Extend key.",
    )
    tokens_file: Path | None = Field(
        None, validation_alias="EXTEND_MCP_TOKENS_FILE", description="token: the JSON file of hashed tokens."
    )
    public_url: AnyHttpUrl | None = Field(
        None,
        validation_alias="EXTEND_MCP_PUBLIC_URL",
        description="This server's /mcp address as clients see it; oauth: the audience of its tokens.",
    )
    oauth_issuer: AnyHttpUrl | None = Field(
        None, validation_alias="EXTEND_MCP_OAUTH_ISSUER", description="oauth: the authorization server."
    )
    oauth_jwks_url: AnyHttpUrl | None = Field(
        None,
        validation_alias="EXTEND_MCP_OAUTH_JWKS_URL",
        description="oauth: where its keys are. Default: as its metadata says.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_ALLOWED_HOSTS",
        description="Comma-separated Host headers to accept besides loopback and the public URL's; "
        "`name:*` for any port.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_ALLOWED_ORIGINS",
        description="Comma-separated Origins of browser clients, such as https://chat.example.com. Default: loopback.",
    )
    body_kilobytes: int = Field(
        4096, ge=16, le=1_000_000, validation_alias="EXTEND_MCP_BODY_KILOBYTES", description="Largest request, in KB."
    )
    body_seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        validation_alias="EXTEND_MCP_BODY_SECONDS",
        description="Seconds a request may take to come.",
    )
    requests_at_once: int = Field(
        1000,
        ge=1,
        le=100_000,
        validation_alias="EXTEND_MCP_REQUESTS_AT_ONCE",
        description="Most MCP requests at once, open streams included; more are answered 503.",
    )
    stateless: bool = Field(
        False,
        validation_alias="EXTEND_MCP_STATELESS",
        description="Keep no sessions for clients of 2025-11-25 and before: any replica can answer; "
        "they confirm by token and cannot subscribe.",
    )
    max_sessions: int = Field(
        1000, ge=1, le=100_000, validation_alias="EXTEND_MCP_MAX_SESSIONS", description="Most sessions at once."
    )
    session_idle_seconds: float = Field(
        1800.0,
        ge=1,
        le=86_400,
        validation_alias="EXTEND_MCP_SESSION_IDLE_SECONDS",
        description="Seconds after which an unused session ends.",
    )
    subscriptions: int = Field(
        1000,
        ge=1,
        le=100_000,
        validation_alias="EXTEND_MCP_SUBSCRIPTIONS",
        description="Most open subscriptions at once; one caller may hold a tenth of them.",
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=300,
        validation_alias="EXTEND_MCP_DRAIN_SECONDS",
        description="Seconds after SIGTERM in which /readyz says 503 and requests are still taken.",
    )
    shutdown_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        validation_alias="EXTEND_MCP_SHUTDOWN_SECONDS",
        description="Longest wait for calls in flight when the server ends.",
    )
    metrics: bool = Field(
        True, validation_alias="EXTEND_MCP_METRICS", description="Serve Prometheus metrics under /metrics."
    )
    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_WEBHOOK_SECRETS",
        description="Comma-separated signing secrets of webhook endpoints; "
        "switches the receiver on, under /webhooks/extend.",
    )
    webhook_payload_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_WEBHOOK_PAYLOAD_HOSTS",
        description="Comma-separated hosts from which payloads sent as a URL may be fetched. Default: none.",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias="EXTEND_MCP_REDIS_URL",
        description="Redis that all replicas share: events, rate budget, bulk plans.",
    )

    @field_validator("allowed_hosts", "allowed_origins", "webhook_secrets", "webhook_payload_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> HttpSettings:
        told = self.without_authentication.strip().rstrip(".").lower() == WITHOUT_AUTHENTICATION.lower()
        if self.auth == "none" and not is_loopback(self.host) and not told:
            msg = (
                f"EXTEND_MCP_HOST is no loopback address and EXTEND_MCP_AUTH is none: choose passthrough, token or "
                f'oauth, or set EXTEND_MCP_WITHOUT_AUTHENTICATION to "{WITHOUT_AUTHENTICATION}"'
            )
            raise ValueError(msg)
        if self.auth == "token" and self.tokens_file is None:
            raise ValueError("EXTEND_MCP_AUTH=token needs EXTEND_MCP_TOKENS_FILE")
        if self.auth == "oauth" and (self.oauth_issuer is None or self.public_url is None):
            raise ValueError("EXTEND_MCP_AUTH=oauth needs EXTEND_MCP_OAUTH_ISSUER and EXTEND_MCP_PUBLIC_URL")
        return self

    @property
    def secrets(self) -> list[str]:
        """Every secret among these settings, for keeping them out of logs."""
        return [secret.get_secret_value() for secret in (self.redis_url, *self.webhook_secrets) if secret is not None]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name that is not localhost counts as public."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
