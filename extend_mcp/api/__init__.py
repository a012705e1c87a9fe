"""Extend's REST API (version 2026-02-09) as typed Python, which knows nothing of MCP.

Import from its modules: `client` has one method per endpoint, `requests` and `models` are what it sends and returns,
`errors` what it raises, `config` what it needs. `base` makes one call, which `transport` sends.
"""
