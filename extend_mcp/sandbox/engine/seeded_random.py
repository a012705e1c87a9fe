"""Reproducible choices and ids: the same key gives the same values on every Python version."""

import hashlib
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_ALPHANUMERIC = string.ascii_letters + string.digits
_INNER = _ALPHANUMERIC + "_-"
_PLACES_PER_ROLL = 32
"""A roll has 256 bits and a place takes six; enough are left over for the last place to be even."""


class SeededRandom:
    """A stream of choices that follows from its key alone."""

    def __init__(self, *key: object) -> None:
        # A file name from a client may hold lone surrogates, which plain UTF-8 refuses.
        self._key = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
        self._rolls = 0

    def _roll(self) -> int:
        self._rolls += 1
        return int.from_bytes(hashlib.sha256(self._key + b"\x1f%d" % self._rolls).digest(), "big")

    def between(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + self._roll() % (high - low + 1)

    def fraction(self, low: float, high: float) -> float:
        """Return a number from low to high with three decimals."""
        return round(low + (high - low) * (self._roll() % 10_001) / 10_000, 3)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self._roll() % len(options)]

    def token(self, length: int) -> str:
        """Return letters and digits, with an inner `_` or `-` now and then, as Extend's ids have."""
        places: list[str] = []
        for place in range(length):
            if place % _PLACES_PER_ROLL == 0:
                rolled = self._roll()
            options = _ALPHANUMERIC if place in (0, length - 1) else _INNER
            rolled, chosen = divmod(rolled, len(options))
            places.append(options[chosen])
        return "".join(places)


class IdMaker:
    """Makes ids with Extend's prefixes; the n-th id of a prefix follows from the seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: Counter[str] = Counter()

    def __call__(self, prefix: str) -> str:
        """Return the next id with this prefix, e.g. `workflow_run_` or `req_`."""
        self._made[prefix] += 1
        return prefix + _token(self._seed, prefix, self._made[prefix])


# Whoever plays a scenario again in this process, as tests do, gets the same ids again.
@lru_cache(maxsize=8192)
def _token(seed: int, prefix: str, number: int) -> str:
    return SeededRandom(seed, prefix, number).token(7 if prefix == "batch_" else 21)
