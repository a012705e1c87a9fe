"""Print or merge the configuration block with which an MCP client starts this server."""
