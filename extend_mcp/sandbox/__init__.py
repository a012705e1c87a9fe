"""Extend's workflow-run API on this machine: no account, no network, a clock that can be moved.

It is an independent reading of the API reference and shares no code with the client in `extend_mcp.api`,
so that one misreading cannot confirm itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extend_mcp.sandbox.clock import SandboxClock
    from extend_mcp.sandbox.sandbox import Sandbox
    from extend_mcp.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxClock", "SandboxSettings"]

_HOMES = {"Sandbox": "sandbox", "SandboxClock": "clock", "SandboxSettings": "settings"}


def __getattr__(name: str) -> object:
    """Import an exported class when it is first used: the web framework costs time a CLI may not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
