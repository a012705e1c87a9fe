"""Extend's REST API (version 2026-02-09) as typed Python.

This package knows HTTP and the shapes of Extend's answers, and nothing else. Importing it costs nothing:
take what you need from its modules. Only `session`, `transport` and `certificates` import httpx or tenacity.

- `client`: `ExtendClient`, one method per operation; the methods stand in `run_calls`, `workflow_calls`,
  `file_calls` and `webhook_calls`, what they share in `session`.
- `config`, `regions`: where to call, and with which key and limits.
- `requests`, `models`: what is sent, and what comes back.
- `errors`: one exception type per kind of failure.
- `transport`: retries, the overall deadline and the size limit, as httpx transports.
- `wire`: makes bytes and texts from outside safe to handle.
"""
