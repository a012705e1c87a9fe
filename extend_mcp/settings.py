"""Every setting of the server, read once at start from the environment and the command line.

``EXTEND_*`` variables describe the account and carry the names Extend's own clients use;
``EXTEND_MCP_*`` variables are this server's. :func:`load_settings` turns whatever is wrong into one
readable :class:`SettingsError` that never repeats a value, since a value may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from extend_mcp.accounts import Account
from extend_mcp.api.config import REGION_BASE_URLS, ClientConfig

Region = Literal["us", "us2", "eu"]
Confirmation = Literal["ask", "person", "token", "trusted"]
Toolset = Literal["runs", "workflows", "workflow-authoring", "files", "webhooks"]

_REFERENCE = re.compile(r"\$\{[^{}]*\}")

DEFAULT_TOOLSETS: tuple[Toolset, ...] = ("runs", "workflows")


REMOVED_SETTINGS = (
    "EXTEND_MCP_BODY_KILOBYTES",
    "EXTEND_MCP_BODY_SECONDS",
    "EXTEND_MCP_DRAIN_SECONDS",
    "EXTEND_MCP_MAX_SESSIONS",
    "EXTEND_MCP_METRICS",
    "EXTEND_MCP_REQUESTS_AT_ONCE",
    "EXTEND_MCP_SESSION_IDLE_SECONDS",
    "EXTEND_MCP_SHUTDOWN_SECONDS",
    "EXTEND_MCP_SUBSCRIPTIONS",
)
"""Variables that earlier versions read. A start with one of them says that it is ignored."""


class SettingsError(Exception):
    """The configuration cannot be used; the text names each variable and its rule, never its value."""


class EnvironmentSettings(BaseSettings):
    """Base of settings: immutable, and silent about values in errors.

    The environment and an env file set a field by its variable (``EXTEND_...``) only; code sets it by name.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, env_file_encoding="utf-8-sig"
    )

    def __init__(self, *, _env_file: Path | None = None, **given: Any) -> None:
        # With pydantic's populate_by_name, an environment's API_KEY would be read as EXTEND_API_KEY.
        fields = type(self).model_fields
        unknown = given.keys() - fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        super().__init__(
            _env_file=_env_file, **{str(fields[name].validation_alias): value for name, value in given.items()}
        )

    @model_validator(mode="before")
    @classmethod
    def _unfilled(cls, values: Any) -> Any:
        """Take a reference such as ``${EXTEND_REGION}``, which a client did not fill in, for a setting not given."""
        return {name: value for name, value in values.items() if not _is_reference(value)}


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and bool(_REFERENCE.fullmatch(value.strip()))


SettingsT = TypeVar("SettingsT", bound=EnvironmentSettings)


class Settings(EnvironmentSettings):
    """What the operator chose, whatever the transport. Serving over HTTP has more: see `http.settings`."""

    api_key: SecretStr | None = Field(
        None, validation_alias="EXTEND_API_KEY", description="Extend API key. Without it every call says so."
    )
    region: Region = Field("us", validation_alias="EXTEND_REGION", description="us, us2 or eu.")
    base_url: AnyHttpUrl | None = Field(
        None, validation_alias="EXTEND_BASE_URL", description="Explicit API address; wins over the region."
    )
    workspace_id: str | None = Field(
        None, validation_alias="EXTEND_WORKSPACE_ID", description="Needed with organization-scoped keys."
    )

    sandbox: bool = Field(
        False, validation_alias="EXTEND_MCP_SANDBOX", description="Use the embedded sandbox, not Extend."
    )
    read_only: bool = Field(
        False, validation_alias="EXTEND_MCP_READ_ONLY", description="Leave out every tool that writes."
    )
    toolsets: Annotated[tuple[Toolset, ...], NoDecode] = Field(
        DEFAULT_TOOLSETS,
        min_length=1,
        validation_alias="EXTEND_MCP_TOOLSETS",
        description="Comma-separated toolsets to offer: runs, workflows, workflow-authoring, files, webhooks; or all.",
    )
    confirmation: Confirmation = Field(
        "ask",
        validation_alias="EXTEND_MCP_CONFIRMATION",
        description="Who confirms a write. ask: a person (by a token where the client cannot ask one); "
        "person: a person only, so a client that cannot ask is refused; token: always by a token; trusted: nobody.",
    )
    confirmation_seconds: float = Field(
        300.0,
        gt=0,
        le=3600,
        validation_alias="EXTEND_MCP_CONFIRMATION_SECONDS",
        description="How long a confirmation stays good, in seconds.",
    )
    state_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_STATE_KEYS",
        description="Comma-separated secrets of at least 32 characters that seal confirmations; "
        "share them between replicas. Default over stdio: derived from the API key; over HTTP: random.",
    )
    follow_seconds: float = Field(
        12.0,
        ge=0,
        le=60,
        validation_alias="EXTEND_MCP_FOLLOW_SECONDS",
        description="How long a cancel is followed until the run is CANCELLED, in seconds.",
    )
    answer_chars: int = Field(
        8000,
        ge=2000,
        le=100_000,
        validation_alias="EXTEND_MCP_ANSWER_CHARS",
        description="Upper bound of one answer's text, in characters.",
    )
    walk_pages: int = Field(
        10,
        ge=1,
        le=100,
        validation_alias="EXTEND_MCP_WALK_PAGES",
        description="How many API pages one call may read for a filter that the API lacks.",
    )
    file_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        validation_alias="EXTEND_MCP_FILE_ROOTS",
        description="Folders that upload_file may read from, separated as in PATH; stdio only. Default: none.",
    )
    upload_megabytes: int = Field(
        50, ge=1, le=1000, validation_alias="EXTEND_MCP_UPLOAD_MEGABYTES", description="Largest upload, in MB."
    )
    connect_timeout: float = Field(
        5.0, gt=0, le=60, validation_alias="EXTEND_MCP_CONNECT_TIMEOUT", description="Seconds to connect."
    )
    read_timeout: float = Field(
        30.0, gt=0, le=300, validation_alias="EXTEND_MCP_READ_TIMEOUT", description="Seconds between bytes."
    )
    total_timeout: float = Field(
        60.0,
        gt=0,
        le=600,
        validation_alias="EXTEND_MCP_TOTAL_TIMEOUT",
        description="Seconds for one API call, retries included.",
    )
    requests_per_second: int = Field(
        10,
        ge=1,
        le=1000,
        validation_alias="EXTEND_MCP_REQUESTS_PER_SECOND",
        description="Most API requests a second, for reads, starts and other writes each; 10 is the smallest plan's.",
    )
    summary_runs: int = Field(
        10_000,
        ge=100,
        le=1_000_000,
        validation_alias="EXTEND_MCP_SUMMARY_RUNS",
        description="How many runs one summary reads at most.",
    )
    detail_runs: int = Field(
        300,
        ge=1,
        le=10_000,
        validation_alias="EXTEND_MCP_DETAIL_RUNS",
        description="How many runs one call reads one by one at most, where a list does not tell enough.",
    )
    bulk_runs: int = Field(
        200,
        ge=1,
        le=1000,
        validation_alias="EXTEND_MCP_BULK_RUNS",
        description="How many runs one call may cancel or run again.",
    )
    audit: str = Field(
        "off",
        min_length=1,
        validation_alias="EXTEND_MCP_AUDIT",
        description="A JSON line for each call that can write: off, stderr, or a file to add to.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", validation_alias="EXTEND_MCP_LOG_LEVEL", description="What goes to stderr."
    )

    log_format: Literal["text", "json"] = Field(
        "text", validation_alias="EXTEND_MCP_LOG_FORMAT", description="text for people, json for machines."
    )

    @field_validator("api_key", mode="before")
    @classmethod
    def _unset_key(cls, value: Any) -> Any:
        """Treat a blank key as none, and blanks around one as none of it."""
        return value.strip() or None if isinstance(value, str) else value

    @field_validator("toolsets", "state_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("toolsets", mode="before")
    @classmethod
    def _all_toolsets(cls, value: Any) -> Any:
        return get_args(Toolset) if value in ("all", ("all",)) else value

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return tuple(part for part in value.split(os.pathsep) if part.strip()) if isinstance(value, str) else value

    @field_validator("state_keys")
    @classmethod
    def _long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value().encode()) < 32 for key in value):
            msg = "each key must have at least 32 characters"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _fit_for_a_client(self) -> Settings:
        # Found at start rather than by the first call.
        self.client_config()
        return self

    @property
    def api_base_url(self) -> str:
        """The API address in force: ``EXTEND_BASE_URL`` if given, else the region's."""
        return str(self.base_url).rstrip("/") if self.base_url else REGION_BASE_URLS[self.region]

    @property
    def account(self) -> Account:
        """The account that the operator configured."""
        return Account(SecretStr("sandbox") if self.sandbox and not self.api_key else self.api_key, self.workspace_id)

    @property
    def secrets(self) -> list[str]:
        """Every secret among these settings, for keeping them out of logs."""
        return [secret.get_secret_value() for secret in (self.api_key, *self.state_keys) if secret is not None]

    def client_config(self, account: Account | None = None) -> ClientConfig:
        """What an account's API client needs to know, and nothing more.

        Args:
            account: whose client; by default the configured account's.
        """
        chosen = account or self.account
        return ClientConfig(
            api_key=chosen.api_key,
            base_url="http://sandbox.invalid" if self.sandbox else self.api_base_url,
            workspace_id=chosen.workspace_id,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            total_timeout=self.total_timeout,
            requests_per_second=None if self.sandbox else self.requests_per_second,
        )


def load_settings(*, env_file: Path | None = None, **given: Any) -> Settings:
    """Read the :class:`Settings`; see :func:`load`."""
    return load(Settings, env_file=env_file, **given)


def load(kind: type[SettingsT], *, env_file: Path | None = None, **given: Any) -> SettingsT:
    """Read settings: command-line values win over the environment, which wins over ``env_file``.

    Args:
        kind: which settings.
        env_file: a file of ``NAME=value`` lines, read only when named.
        given: values from the command line by field name; ``None`` means not given.

    Raises:
        SettingsError: one or more values do not fit; the text names them all.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if env_file is not None:
        _check_encoding(env_file)
    try:
        return kind(_env_file=env_file, **chosen)
    except ValidationError as error:
        lines = [f"{_variable(kind, problem['loc'])}{_rule(problem['msg'])}" for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _check_encoding(env_file: Path) -> None:
    try:
        text = env_file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text; save it as UTF-8"
        raise SettingsError(f"--env-file: {env_file} cannot be read: {why}") from None
    if "\0" in text:
        # UTF-16 without a mark at its start is valid UTF-8, and would set nothing.
        raise SettingsError(f"--env-file: {env_file} cannot be read: it is not UTF-8 text; save it as UTF-8")


def foreign_settings(env_file: Path | None = None) -> list[str]:
    """Return the variables of Extend's own MCP server that the environment or ``env_file`` sets."""
    return _set_variables(("EXTEND_ENVIRONMENT",), env_file)


def removed_settings(env_file: Path | None = None) -> list[str]:
    """Return the removed variables that the environment or ``env_file`` still sets."""
    return _set_variables(REMOVED_SETTINGS, env_file)


def _set_variables(names: Sequence[str], env_file: Path | None) -> list[str]:
    text = env_file.read_text(encoding="utf-8", errors="replace") if env_file else ""
    in_file = set(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", text, re.MULTILINE))
    return [name for name in names if name in os.environ or name in in_file]


def _variable(kind: type[EnvironmentSettings], location: tuple[int | str, ...]) -> str:
    # A rule about several settings names them itself.
    if not location:
        return ""
    field = kind.model_fields.get(str(location[0]))
    return f"{field.validation_alias if field else location[0]}: "


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")
