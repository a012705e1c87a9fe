"""How a client starts the server: as it is published, or as it is installed on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from extend_mcp.manifests.description import PACKAGE


@dataclass(frozen=True)
class Launch:
    """A command and its arguments; the settings travel as environment variables beside it."""

    command: str
    args: tuple[str, ...] = ()


PUBLISHED = Launch("uvx", (PACKAGE,))
"""Fetched from PyPI when first started: what a manifest that others read says."""
