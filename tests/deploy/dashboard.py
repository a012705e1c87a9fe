"""Check a Grafana dashboard against Grafana's own models: ``python tests/deploy/dashboard.py FILE``.

The models drop what they do not know, so a field that is lost on the way through them is misspelled or misplaced.
Needs ``grafana-foundation-sdk``; .ci/validate installs it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each field that the models did not keep as it was given."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(kept, dict) or name not in kept:
                yield f"{path}.{name}"
            else:
                yield from lost(value, kept[name], f"{path}.{name}")
    elif isinstance(given, list):
        for number, (each, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(each, other, f"{path}[{number}]")
    elif given != kept:
        yield path


def main() -> None:
    """Print the paths of unknown fields and fail if there are any."""
    plugins.register_default_plugins()
    given = json.loads(Path(sys.argv[1]).read_text())
    kept = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
    if unknown := list(lost(given, kept)):
        sys.exit("fields that Grafana does not know:\n" + "\n".join(unknown))


if __name__ == "__main__":
    main()
