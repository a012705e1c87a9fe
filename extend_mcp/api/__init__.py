"""Extend's REST API (version 2026-02-09) as typed Python.

This package knows HTTP and the shapes of Extend's responses, and nothing of MCP. Import from its modules:

- `client`: `ExtendClient`, one method per endpoint, and iterators over whole lists.
- `base`: sends one call and turns the response into an object or an error.
- `transport`: the deadline, retries and size limit, as httpx transports. `rate_limit` and `tracing` are two more.
- `config`: regions, credentials and limits.
- `requests`, `models`: request bodies and responses.
- `errors`: one exception type per kind of failure.
- `wire`: decodes bytes and text that come from outside.

Only `base`, `client`, `rate_limit`, `tracing` and `transport` import httpx.
"""
