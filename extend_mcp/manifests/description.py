"""The one description that every manifest is rendered from: the package's metadata and its table of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from extend_mcp import __version__
from extend_mcp.settings import Settings

Kind = Literal["string", "boolean"]

PACKAGE = "extend-mcp"
TITLE = "Extend workflows"
SUMMARY = "Operate Extend document workflows: find, explain, start, re-run and safely cancel workflow runs."
"""At most 100 characters: the MCP Registry takes no more."""
REPOSITORY = "https://github.com/extend-mcp/extend-mcp"
REGISTRY_NAME = "io.github.extend-mcp/extend-mcp"
"""The server's name in the MCP Registry; whoever publishes must own it there. The README carries it as a mark."""


@dataclass(frozen=True)
class Variable:
    """One setting, as a manifest tells it.

    Attributes:
        name: the environment variable.
        help: what it is for, in a sentence.
        default: what holds without it, as it would be written in the environment; ``None`` where there is none.
        secret: whether it must be kept from logs, files that are shared, and screens.
        kind: what a form should offer.
        choices: the only values there are, if they are few.
    """

    name: str
    help: str
    default: str | None = None
    secret: bool = False
    kind: Kind = "string"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """What is to be known of the server.

    Attributes:
        version: of the package; every manifest carries this one.
        variables: the settings that a user may want to fill in, the key first. The others stand in the docs.
    """

    version: str
    variables: tuple[Variable, ...]
    package: str = PACKAGE
    title: str = TITLE
    summary: str = SUMMARY
    repository: str = REPOSITORY
    registry_name: str = REGISTRY_NAME

    def variable(self, name: str) -> Variable:
        """The setting of that name.

        Raises:
            KeyError: there is none.
        """
        return {each.name: each for each in self.variables}[name]

    def replacing(self, variable: Variable) -> Description:
        """The same with one setting told differently."""
        changed = tuple(variable if each.name == variable.name else each for each in self.variables)
        return dataclasses.replace(self, variables=changed)


OFFERED = (
    "api_key",
    "region",
    "workspace_id",
    "sandbox",
    "read_only",
    "toolsets",
    "confirmation",
)
"""The settings that manifests offer: what decides whether the server works at all, and what it may do."""


def describe(offered: Iterable[str] = OFFERED) -> Description:
    """Read the description off the package and its settings."""
    return Description(__version__, tuple(_variable(Settings.model_fields[name]) for name in offered))


def _variable(field: FieldInfo) -> Variable:
    assert isinstance(field.validation_alias, str)
    kinds = (field.annotation, *get_args(field.annotation))
    choices = tuple(each for each in get_args(field.annotation) if isinstance(each, str))
    return Variable(
        name=field.validation_alias,
        help=field.description or "",
        default=_written(field.default),
        secret=SecretStr in kinds,
        kind="boolean" if bool in kinds else "string",
        choices=choices,
    )


def _written(default: object) -> str | None:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default) or None
    return None if default is None else str(default)
