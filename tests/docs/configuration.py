"""The tables of docs/configuration.md, from the settings themselves.

python -m tests.docs.configuration        writes them into the page
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from extend_mcp.http.settings import HttpSettings
from extend_mcp.settings import EnvironmentSettings, Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
_SIGNS: dict[type[Any], tuple[str, str]] = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


def settings_table(kind: type[EnvironmentSettings]) -> list[str]:
    """A row a setting."""
    return [
        f"| `{field.validation_alias}` | {field.description} | {_default(field)} | {_rule(field)} |"
        for field in kind.model_fields.values()
    ]


def _default(field: FieldInfo) -> str:
    default = field.default
    if default in (None, (), ""):
        return "-"
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _rule(field: FieldInfo) -> str:
    if SecretStr in getattr(field.annotation, "__args__", (field.annotation,)):
        return "secret"
    bounds = [
        f"{sign} {getattr(each, name):,}"
        for each in field.metadata
        for of, (name, sign) in _SIGNS.items()
        if isinstance(each, of)
    ]
    return ", ".join(bounds) or "-"


def written(page: str) -> str:
    """The page with both tables as they are now."""
    for heading, kind in (("Everywhere", Settings), ("Serving over HTTP", HttpSettings)):
        table = "\n".join(["| Variable | Meaning | Default | Bounds |", "|---|---|---|---|", *settings_table(kind)])
        page = re.sub(
            rf"(## {heading}\n.*?\n)\| Variable .*?(\n\n|\n?\Z)",
            lambda found, table=table: f"{found[1]}{table}{found[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
