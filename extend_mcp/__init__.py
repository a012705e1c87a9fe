"""A Model Context Protocol server that operates Extend document workflows."""

__version__ = "0.1.0"
