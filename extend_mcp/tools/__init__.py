"""The MCP tools, one module per toolset: each validates, guards, calls the API and shows a view."""
