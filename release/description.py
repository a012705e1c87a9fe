"""Describe the server once: its metadata and the settings that manifests offer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from extend_mcp import REGISTRY_NAME, __version__
from extend_mcp.client_config.clients import PACKAGE, Launch, Secret, published
from extend_mcp.settings import Settings

SUMMARY = "Operate Extend document workflows: find, explain, start, re-run and safely cancel workflow runs."
"""The MCP Registry accepts at most 100 characters."""
REPOSITORY = "https://github.com/extend-mcp/extend-mcp"


@dataclass(frozen=True)
class Variable:
    """One setting.

    Attributes:
        name: the environment variable.
        help: its purpose, in a sentence.
        default: its default as written in the environment; None if it has none.
        secret: whether it must be kept out of logs, shared files and screens.
        kind: the type of form field.
        choices: the allowed values, if they are few.
    """

    name: str
    help: str
    default: str | None = None
    secret: bool = False
    kind: Literal["string", "boolean"] = "string"
    choices: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the setting's id in a form."""
        return self.name.removeprefix("EXTEND_").removeprefix("MCP_").lower()

    @property
    def title(self) -> str:
        """Return the setting's label in a form."""
        return self.id.replace("_", " ").capitalize().replace("Api", "API").replace(" id", " ID")


@dataclass(frozen=True)
class Description:
    """The facts that every manifest is rendered from.

    Attributes:
        version: the package's version.
        variables: the settings that a user may want to set, the key first.
    """

    version: str
    variables: tuple[Variable, ...]
    package: str = PACKAGE
    title: str = "Extend workflows"
    summary: str = SUMMARY
    repository: str = REPOSITORY
    registry_name: str = REGISTRY_NAME

    @property
    def launch(self) -> Launch:
        """Return the command that starts this version from PyPI."""
        return published(self.version)

    @property
    def key(self) -> Secret:
        """Return the API key, the one secret, as client configurations refer to it."""
        return next(Secret(each.name, each.help) for each in self.variables if each.secret)

    def variable(self, name: str) -> Variable:
        """Return the setting with this name.

        Raises:
            KeyError: it does not exist.
        """
        return {each.name: each for each in self.variables}[name]

    def replacing(self, variable: Variable) -> Description:
        """Return a copy with another setting of that name."""
        changed = tuple(variable if each.name == variable.name else each for each in self.variables)
        return dataclasses.replace(self, variables=changed)


OFFERED = ("api_key", "region", "workspace_id", "sandbox", "read_only", "toolsets", "confirmation")
"""The settings that decide whether the server works, and what it may do."""


def describe() -> Description:
    """Read the description from the package and its settings."""
    return Description(__version__, tuple(_variable(Settings.model_fields[name]) for name in OFFERED))


def _variable(field: FieldInfo) -> Variable:
    assert isinstance(field.validation_alias, str)
    kinds = (field.annotation, *get_args(field.annotation))
    return Variable(
        name=field.validation_alias,
        help=field.description or "",
        default=_written(field.default),
        secret=SecretStr in kinds,
        kind="boolean" if bool in kinds else "string",
        choices=tuple(each for each in get_args(field.annotation) if isinstance(each, str)),
    )


def _written(default: object) -> str | None:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default) or None
    return None if default is None else str(default)
