"""The URIs of this server's resources, and how long one may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote

RUN = "extend://workflow-runs/{run_id}"
STEP = "extend://workflow-runs/{run_id}/steps/{step}"
WORKFLOW = "extend://workflows/{workflow_id}"
BATCH = "extend://batches/{batch_id}"
ACCOUNT = "extend://account"

RESOURCE_CHARS = 60_000
"""Most characters of one resource: a client attaches it on purpose, so it may be longer than an answer."""

_PART = "[^/?#]{1,700}"
_NAMED = re.compile(
    rf"extend://(?:workflow-runs/(?P<run>{_PART})(?:/steps/{_PART})?|workflows/(?P<workflow>{_PART})"
    rf"|batches/(?P<batch>{_PART})|(?P<account>account))"
)


def _writer(template: str) -> Callable[..., str]:
    """Return a function that writes the URI of an object; a step is named by its id, number or name."""
    return lambda *ids: re.sub(r"{\w+}", "{}", template).format(*(quote(each, safe="") for each in ids))


run_uri, step_uri, batch_uri, workflow_uri = map(_writer, (RUN, STEP, BATCH, WORKFLOW))


class Named(NamedTuple):
    """The object of a URI: a ``run`` (or one of its steps), a ``workflow``, a ``batch`` or the ``account``."""

    kind: str
    id: str


def named_by(uri: str) -> Named | None:
    """Return the object that one of our URIs names; None for any other URI."""
    found = _NAMED.fullmatch(uri)
    return Named(found.lastgroup, unquote(found[found.lastgroup])) if found and found.lastgroup else None
