"""How a client starts the server: as it is published, or as it is installed on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from extend_mcp.manifests.description import PACKAGE


@dataclass(frozen=True)
class Launch:
    """A command and its arguments; the settings travel as environment variables beside it."""

    command: str
    args: tuple[str, ...] = ()

    def with_flags(self, *, sandbox: bool = False, read_only: bool = False, toolsets: str | None = None) -> Launch:
        """The same with flags of ``extend-mcp serve``."""
        flags = ["--sandbox"] * sandbox + ["--read-only"] * read_only + (["--toolsets", toolsets] if toolsets else [])
        return replace(self, args=(*self.args, *flags))


PUBLISHED = Launch("uvx", (PACKAGE,))
"""Fetched from PyPI when first started: what a manifest that others read says."""


def this_machine(
    python: str = sys.executable, prefix: str = sys.prefix, environment: Mapping[str, str] = os.environ
) -> Launch:
    """What starts the server that is running now, whatever folder a client starts it from.

    Args:
        python: the interpreter that runs.
        prefix: the environment it runs in.
        environment: where pipx and the search path are found.

    Returns:
        ``uvx`` where uv made the environment for one run, since that is gone tomorrow; pipx's command where it exposes
        one; else the script beside the interpreter; else the interpreter itself.
    """
    home = Path(prefix)
    if "archive-v0" in home.parts or ("uv" in home.parts and {"cache", ".cache"} & set(home.parts)):
        return PUBLISHED
    found = shutil.which(PACKAGE, path=environment.get("PATH"))
    if "pipx" in home.parts and found and Path(found).resolve().is_relative_to(home.resolve()):
        return Launch(found)
    for name in (PACKAGE, f"{PACKAGE}.exe"):
        script = Path(python).parent / name
        if script.is_file():
            return Launch(str(script.absolute()))
    return Launch(python, ("-m", "extend_mcp"))
