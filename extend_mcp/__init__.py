"""A Model Context Protocol server that operates Extend document workflows."""

__version__ = "0.1.0"

REGISTRY_NAME = "io.github.extend-mcp/extend-mcp"
"""The server's name in the MCP Registry and on its card. The README repeats it for PyPI."""
