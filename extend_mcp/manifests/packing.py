"""Lays out what an MCP Bundle is packed from: ``python -m extend_mcp.manifests.packing FOLDER``, in a clone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from extend_mcp.manifests.bundle import CONTENTS


def lay_out(repository: Path, folder: Path) -> None:
    """Copy the manifest and what goes with it into ``folder``, which must not exist.

    Raises:
        OSError: it exists, or the repository is not there.
    """
    folder.mkdir(parents=True)
    shutil.copy(repository / "manifests" / "bundle" / "manifest.json", folder)
    for name in CONTENTS:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
        else:
            shutil.copy(source, folder / name)


if __name__ == "__main__":
    lay_out(Path(__file__).parents[2], Path(sys.argv[1]))
