"""Find the command that starts the server: as published, or as installed on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from extend_mcp import __version__

PACKAGE = "extend-mcp"


class Launch(NamedTuple):
    """A command, its arguments and its environment variables, secrets excepted."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = MappingProxyType({})

    def with_flags(
        self, *, sandbox: bool = False, read_only: bool = False, toolsets: str | None = None, region: str | None = None
    ) -> Launch:
        """Add flags of ``extend-mcp serve``, and the region as a variable."""
        flags = ["--sandbox"] * sandbox + ["--read-only"] * read_only + (["--toolsets", toolsets] if toolsets else [])
        env = {"EXTEND_REGION": region} if region else {}
        return Launch(self.command, (*self.args, *flags), {**self.env, **env})


def published(version: str) -> Launch:
    """Start this version from PyPI; without a version, whatever was published last would be started."""
    return Launch("uvx", (f"{PACKAGE}=={version}",))


PUBLISHED = published(__version__)


def this_machine(
    python: str = sys.executable, prefix: str = sys.prefix, environment: Mapping[str, str] = os.environ
) -> Launch:
    """Return what starts this installation from any folder.

    uv deletes the environments that it makes for one run, so ``uvx`` is named for those. pipx's own command comes next,
    then the script next to the interpreter, then the interpreter itself.
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
