"""Make reproducible choices and IDs: the same key gives the same values on every Python version."""

import hashlib
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_ALPHANUMERIC = string.ascii_letters + string.digits
_INNER = _ALPHANUMERIC + "_-"
# A draw has 256 bits and a character takes six. The rest keeps the last character evenly distributed.
_CHARACTERS_PER_DRAW = 32


class SeededRandom:
    """A stream of choices that depends only on its key."""

    def __init__(self, *key: object) -> None:
        # A file name from a client may contain lone surrogates, which plain UTF-8 refuses.
        self._key = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
        self._draws = 0

    def _draw(self) -> int:
        self._draws += 1
        return int.from_bytes(hashlib.sha256(self._key + b"\x1f%d" % self._draws).digest(), "big")

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high, inclusive."""
        return low + self._draw() % (high - low + 1)

    def fraction(self, low: float, high: float) -> float:
        """Return a number from low to high with three decimals."""
        return round(low + (high - low) * (self._draw() % 10_001) / 10_000, 3)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self._draw() % len(options)]

    def token(self, length: int) -> str:
        """Return letters and digits, with an occasional inner `_` or `-`, like Extend's IDs."""
        characters: list[str] = []
        for index in range(length):
            if index % _CHARACTERS_PER_DRAW == 0:
                drawn = self._draw()
            options = _ALPHANUMERIC if index in (0, length - 1) else _INNER
            drawn, chosen = divmod(drawn, len(options))
            characters.append(options[chosen])
        return "".join(characters)


class IdMaker:
    """Make IDs with Extend's prefixes. The n-th ID of a prefix depends only on the seed. All begin with `start`."""

    def __init__(self, seed: object, start: str = "") -> None:
        self._seed = seed
        self._start = start
        self._made: Counter[str] = Counter()

    def __call__(self, prefix: str) -> str:
        """Return the next ID with this prefix, e.g. `workflow_run_` or `req_`."""
        self._made[prefix] += 1
        return prefix + self._start + _token(self._seed, prefix, self._made[prefix])[len(self._start) :]


# Tests load the same scenario many times in one process.
@lru_cache(maxsize=65_536)
def _token(seed: object, prefix: str, number: int) -> str:
    return SeededRandom(seed, prefix, number).token(7 if prefix == "batch_" else 21)
