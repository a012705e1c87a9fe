"""Read every setting of the server once, at start, from the environment and the command line.

``EXTEND_*`` variables describe the account and carry the names Extend's own clients use;
``EXTEND_MCP_*`` variables are this server's. :func:`load` reports every problem in one
:class:`SettingsError`, which never repeats a value, since a value may be a secret.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import click
import pydantic
from pydantic import AnyHttpUrl, BeforeValidator, SecretStr, field_validator

from extend_mcp.accounts import LABEL_PATTERN, Account
from extend_mcp.api.config import REGION_BASE_URLS, ClientConfig
from extend_mcp.urls import is_loopback

Region = Literal["us", "us2", "eu"]
ToolsetName = Literal["runs", "workflows", "workflow-authoring", "files", "webhooks", "incidents"]

_REFERENCE = re.compile(r"\$\{[^{}]*\}")

DEFAULT_TOOLSETS: tuple[ToolsetName, ...] = ("runs", "workflows")


class SettingsError(click.ClickException):
    """The configuration cannot be used; the text names each variable and its rule, never its value."""


def variable(default: Any, description: str, **rules: Any) -> Any:
    """Describe a setting. Its environment variable is named like its field."""
    return pydantic.Field(default, description=description, **rules)


def _variable_name(field: str) -> str:
    return f"EXTEND_{'' if field in ('api_key', 'region', 'base_url', 'workspace_id') else 'MCP_'}{field.upper()}"


class EnvironmentSettings(pydantic.BaseModel):
    """Base of settings: immutable, and silent about values in errors.

    :func:`load` sets a field by its variable (``EXTEND_...``) only; code sets it by name.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=False,
        alias_generator=pydantic.AliasGenerator(validation_alias=_variable_name),
    )

    @classmethod
    def variables(cls) -> set[str]:
        """Return the names of the environment variables."""
        return set(map(_variable_name, cls.model_fields))

    @field_validator("*", mode="before")
    @classmethod
    def _stripped(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Strip a text, and split it where a setting has several values."""
        if not isinstance(value, str):
            return value
        kind = cls.model_fields[str(info.field_name)].annotation
        if get_origin(kind) is not tuple:
            return value.strip() or None
        separator = os.pathsep if Path in get_args(kind) else ","
        return tuple(part.strip() for part in value.split(separator) if part.strip())


SettingsT = TypeVar("SettingsT", bound=EnvironmentSettings)


class Settings(EnvironmentSettings):
    """Hold the settings of every transport. Serving over HTTP has more: see `http.settings`."""

    api_key: SecretStr | None = variable(None, "Your Extend API key (create one in the Extend dashboard).")
    region: Annotated[Region, BeforeValidator(lambda name: name and str(name).lower())] = variable(
        "us", "Region of your account: us, us2 or eu."
    )
    base_url: AnyHttpUrl | None = variable(None, "API address, in place of the region's.")
    workspace_id: str | None = variable(None, "Workspace ID (ws_...). Required with an organization-scoped key.")
    label: str = variable(
        "",
        "Your name for the account, such as PRODUCTION: shown in every question to a person, plan, answer "
        "of a write and audit line.",
        pattern=f"{LABEL_PATTERN}|^$",
    )
    sandbox: bool = variable(False, "Use the built-in sandbox instead of Extend.")
    read_only: bool = variable(False, "Leave out every tool that writes.")
    toolsets: tuple[ToolsetName, ...] = variable(
        DEFAULT_TOOLSETS,
        "Comma-separated toolsets to offer: runs, workflows, workflow-authoring, files, webhooks, incidents, or all.",
        min_length=1,
    )
    confirmation: Literal["ask", "person", "token", "trusted"] = variable(
        "ask",
        "How a destructive action is confirmed. ask: the server asks a person, or issues a confirmation "
        "token if the client cannot ask; person: a person only, so a client that cannot ask is refused; "
        "token: always by token; trusted: not at all.",
    )
    credits_per_day: float | None = variable(
        None,
        "Most credits that one caller may start work for in a day (UTC), estimated by the usual credits a "
        "file; replicas share the sum through Redis. Default: no limit.",
        gt=0,
    )
    state_keys: tuple[SecretStr, ...] = variable(
        (),
        "Comma-separated secrets of at least 32 characters that seal confirmation tokens. "
        "Give all replicas the same ones. Default over stdio: derived from the API key; over HTTP: random.",
    )
    file_roots: tuple[Path, ...] = variable(
        (),
        "Folders that upload_file may read from and export_fields may write to, separated as in PATH. "
        "Only for stdio. Default: none.",
    )
    requests_per_second: int = variable(
        10,
        "Most API requests per second, counted separately for reads, starts and other writes. "
        "10 is the limit of Extend's smallest plan.",
        ge=1,
        le=1000,
    )
    history: str = variable(
        "memory",
        "Where the runs that summaries read are kept, so that the next question reads only what changed: "
        "memory, off, or a file.",
        min_length=1,
    )
    audit: str = variable(
        "off",
        "Audit log, one JSON line per call that can write or was denied: off, stderr, or a file to append to.",
        min_length=1,
    )
    log: str = variable(
        "WARNING",
        "Lowest level that is logged to stderr: DEBUG, INFO, WARNING or ERROR. "
        "With json: before it, such as json:INFO, each line is a JSON object.",
        pattern="^(json:)?(DEBUG|INFO|WARNING|ERROR)$",
    )

    @field_validator("base_url")
    @classmethod
    def _encrypted(cls, value: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if value is not None and value.scheme == "http" and not is_loopback(value.host or ""):
            raise ValueError("the API key would cross the network unencrypted: use https, or a loopback address")
        return value

    @field_validator("toolsets", mode="before")
    @classmethod
    def _all_toolsets(cls, value: Any) -> Any:
        return get_args(ToolsetName) if value in ("all", ("all",)) else value

    @field_validator("state_keys")
    @classmethod
    def _long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value().encode()) < 32 for key in value):
            raise ValueError("each key must have at least 32 characters")
        return value

    @pydantic.model_validator(mode="after")
    def _fit_for_a_client(self) -> Settings:
        # Reported at start rather than by the first call.
        try:
            self.client_config()
        except ValueError as error:
            name, _, rule = str(error).partition(" ")
            raise ValueError(f"{_variable_name(name)}: {rule}") from None
        return self

    @property
    def api_base_url(self) -> str:
        """Return the API address: ``EXTEND_BASE_URL`` if given, else the region's."""
        return str(self.base_url).rstrip("/") if self.base_url else REGION_BASE_URLS[self.region]

    @property
    def log_level(self) -> Literal["DEBUG", "INFO", "WARNING", "ERROR"]:
        """Return the lowest level that is logged."""
        return self.log.removeprefix("json:")  # type: ignore[return-value]

    @property
    def account(self) -> Account:
        """Return the account that the operator configured."""
        key = SecretStr("sandbox") if self.sandbox and not self.api_key else self.api_key
        return Account(key, self.workspace_id, label=self.label)

    @property
    def secrets(self) -> list[str]:
        """Return every secret among these settings, for keeping them out of logs."""
        return [secret.get_secret_value() for secret in (self.api_key, *self.state_keys) if secret is not None]

    def client_config(self, account: Account | None = None) -> ClientConfig:
        """Return the configuration of an account's API client, by default of the configured account's."""
        chosen = account or self.account
        return ClientConfig(
            api_key=chosen.api_key,
            base_url="http://sandbox.invalid" if self.sandbox else self.api_base_url,
            workspace_id=chosen.workspace_id,
        )


def load(kind: type[SettingsT], **given: Any) -> SettingsT:
    """Read settings from the environment; values ``given`` by field name that are not None win over it.

    Raises:
        SettingsError: one or more values do not fit; the text names them all.
    """
    names = kind.variables()
    values = {name.upper(): value for name, value in os.environ.items() if value and name.upper() in names}
    values |= {_variable_name(name): value for name, value in given.items() if value is not None}
    # Some clients pass a reference such as ${EXTEND_REGION} that they did not fill in.
    values = {name: value for name, value in values.items() if not _REFERENCE.fullmatch(str(value).strip())}
    try:
        return kind.model_validate(values, by_alias=True, by_name=False)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            # A rule about several settings names them itself.
            lines.append(": ".join([*map(str, problem["loc"][:1]), rule]))
        raise SettingsError("\n".join(lines)) from None
