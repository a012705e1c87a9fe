"""Limits that no operator tunes: of one call, and what one caller may hold. Tests give others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Literal


@dataclass(frozen=True)
class CallLimits:
    """Limits of one call. Of runs and pages, each is the most."""

    answer_chars: int = 8000  # of the longest text of an answer; at least 2,000
    confirmation_seconds: float = 300.0
    filter_pages: int = 10  # read for a filter or a name that the API cannot look up
    # Read for one summary or plan, at 100 a request. A summary of kept runs may spend as many requests, of 1000 each.
    summary_runs: int = 10_000
    unasked_files: int = 20  # of a batch that starts without asking a person
    # Read one by one where a list lacks a fact: as many as fit a call at 10 requests a second.
    detail_runs: int = 500
    bulk_runs: int = 1000  # cancelled or rerun by one call, or read one by one for such a plan
    upload_bytes: int = 50_000_000

    @classmethod
    def at(cls, requests_per_second: int) -> CallLimits:
        """Return limits by which half a minute of requests may read runs one by one, and at least the usual number."""
        return cls(detail_runs=max(cls.detail_runs, 30 * requests_per_second))


@dataclass
class Shares:
    """Counts, by caller, of something limited, such as requests in progress.

    A caller without a name may hold any part of the ``most`` of all together.
    """

    most: float = inf
    of_one_caller: float = inf
    held: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def hold(self, caller: str) -> Iterator[Literal["", "share", "full"]]:
        """Hold one more while the block runs, or yield why the caller gets no more."""
        if caller and self.held[caller] >= self.of_one_caller:
            yield "share"
        elif self.held.total() >= self.most:
            yield "full"
        else:
            self.held[caller] += 1
            try:
                yield ""
            finally:
                self.held[caller] -= 1
                if not self.held[caller]:
                    del self.held[caller]
