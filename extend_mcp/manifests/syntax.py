"""Documents as text, in the three syntaxes that clients read."""

from __future__ import annotations

import json
from typing import Any

from extend_mcp.manifests.clients import Syntax


def written(document: dict[str, Any], syntax: Syntax) -> str:
    """A document as a file's text."""
    if syntax == "toml":
        # Only whoever writes TOML waits for it.
        import tomlkit

        return tomlkit.dumps(document)
    if syntax == "yaml":
        return "\n".join(_yaml(document, "")) + "\n"
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(value: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:", *_yaml(item, indent + "  ")]
        elif isinstance(item, list) and item and all(isinstance(each, dict) for each in item):
            lines.append(f"{indent}{key}:")
            for each in item:
                first, *rest = _yaml(each, indent + "    ")
                lines += [f"{indent}  - {first.strip()}", *rest]
        else:
            # JSON is YAML, so every string is quoted and none is taken for a number or a date.
            lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}")
    return lines
