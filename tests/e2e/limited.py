"""Run extend-mcp with other limits than its own.

python limited.py '{"shutdown_seconds": 1}' serve --transport http
"""

from __future__ import annotations

import json
import sys

from extend_mcp.cli import main
from extend_mcp.http.settings import HttpSettings, Limits


def limited() -> None:
    limits = Limits(**json.loads(sys.argv.pop(1)))
    HttpSettings.limits = property(lambda _: limits)  # type: ignore[method-assign, assignment]
    sys.argv[0] = "extend-mcp"
    main()


if __name__ == "__main__":
    limited()
