"""Run Extend's workflow API on this machine: no account, no network, and a clock that tests can advance.

The sandbox is an independent reading of the API reference. It shares no code with the rest of `extend_mcp`,
so that one misreading cannot confirm itself.
"""

from extend_mcp.sandbox.engine.sandbox_clock import SandboxClock
from extend_mcp.sandbox.sandbox import Sandbox
from extend_mcp.sandbox.sandbox_settings import SandboxSettings

__all__ = ["Sandbox", "SandboxClock", "SandboxSettings"]
