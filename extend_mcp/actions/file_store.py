"""The action store in a file of the user, for clients that start a process for each call.

It is an SQLite database, because a lease that is taken over from a dead process and an outcome that only the holder may
save need a transaction. Plans are sealed as in Redis. Only the owner can read the folder and the file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import (
    KEPT_SECONDS,
    MOST_PLANS_OF_A_CALLER,
    Plan,
    SealedStore,
    StoreUnavailableError,
)

_BUSY_SECONDS: Final = 2.0
"""Time that a statement waits for another process's transaction, each of which takes milliseconds."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS kept (
    place TEXT, field TEXT, value TEXT, until REAL, owner TEXT DEFAULT '', PRIMARY KEY (place, field)
)
"""
_TAKE: Final = """
INSERT INTO kept (place, field, value, until) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, until = excluded.until WHERE kept.until <= ?
"""
_WRITE: Final = """
INSERT OR REPLACE INTO kept (place, field, value, until, owner) SELECT ?1, ?2, ?3, plan.until, plan.owner
FROM kept AS plan WHERE plan.place = ?1 AND plan.field = 'plan'
"""
_IF_HELD: Final = (
    "AND EXISTS (SELECT 1 FROM kept AS lease WHERE lease.place = ?4 AND lease.field = 'lease' AND lease.value = ?5)"
)
_EVICT: Final = """
DELETE FROM kept WHERE owner = ? AND place NOT IN
(SELECT place FROM kept WHERE owner = ? AND field = 'plan' ORDER BY until DESC, rowid DESC LIMIT ?)
"""


def state_folder(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform, home: Path | None = None
) -> Path:
    """Return the folder of this program in the user's state folder."""
    home = home or Path.home()
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "extend-mcp"
    given = Path(environ.get("XDG_STATE_HOME") or ".")
    # The XDG specification ignores a relative path.
    return (given if given.is_absolute() else home / ".local" / "state") / "extend-mcp"


class FileStore(SealedStore):
    """Keeps everything in one SQLite file.

    Args:
        folder: where the file is; it is made if it is missing.
        keys: the keys that seal plans; the same in every process of an account.
        now: Unix seconds.

    Raises:
        StoreUnavailableError: the folder or the file cannot be written.
    """

    unreachable = (sqlite3.Error, OSError)

    def __init__(self, folder: Path, keys: SealingKeys, now: Callable[[], float] = time.time) -> None:
        super().__init__(keys)
        self._name, self.now = keys.name, now
        file = folder / "actions.sqlite3"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            # SQLite gives its journal the mode of the file.
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            file.chmod(0o600)
            self._file = sqlite3.connect(file, timeout=_BUSY_SECONDS)
            with self._file:
                self._file.execute(_TABLE)
        except self.unreachable as error:
            raise StoreUnavailableError(str(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Change the file in one transaction, and remove what is too old."""
        with self._file:
            self._file.execute("DELETE FROM kept WHERE until <= ?", (self.now(),))
            yield self._file

    async def put(self, plan: Plan) -> None:
        """Keep a new plan. The caller's oldest makes room."""
        place, owner = self._plan_place(plan.principal, plan.id), self._name(plan.principal)
        until = self.now() + KEPT_SECONDS
        rows = [(place, name, value, until, owner) for name, value in self._fields(place, plan).items()]
        with self._reaching(), self.changing() as file:
            file.executemany("INSERT INTO kept (place, field, value, until, owner) VALUES (?, ?, ?, ?, ?)", rows)
            file.execute(_EVICT, (owner, owner, MOST_PLANS_OF_A_CALLER))

    async def use(self, proposal_id: str) -> bool:
        row = (self._place("used", proposal_id), self.now() + KEPT_SECONDS)
        with self._reaching(), self.changing() as file:
            used = "INSERT OR IGNORE INTO kept (place, field, value, until) VALUES (?, 'used', '', ?)"
            return file.execute(used, row).rowcount == 1

    async def unuse(self, proposal_id: str) -> None:
        with self._reaching(), self.changing() as file:
            file.execute("DELETE FROM kept WHERE place = ?", (self._place("used", proposal_id),))

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        place = self._place("sum", name)
        with self._reaching(), self.changing() as file:
            # Locks the file before the sum is read: another process may add in this moment.
            row = (place, "sum", "0", self.now() + seconds)
            file.execute("INSERT OR IGNORE INTO kept (place, field, value, until) VALUES (?, ?, ?, ?)", row)
            [(value,)] = file.execute("SELECT value FROM kept WHERE place = ?", (place,)).fetchall()
            total = float(value)
            if amount >= 0 and total + amount > most:
                return False, total
            file.execute("UPDATE kept SET value = ? WHERE place = ?", (repr(total + amount), place))
        return True, total + amount

    async def _read(self, place: str) -> dict[str, str]:
        return dict(self._file.execute("SELECT field, value FROM kept WHERE place = ?", (place,)).fetchall())

    async def _write(self, place: str, field: str, value: str, lease: str = "", mine: str = "") -> bool:
        statement, values = (_WRITE + _IF_HELD, (lease, mine)) if lease else (_WRITE, ())
        with self.changing() as file:
            return file.execute(statement, (place, field, value, *values)).rowcount == 1

    def _lock(self, place: str, seconds: float) -> _Lock:
        return _Lock(self, place, seconds)


@dataclass
class _Lock:
    """A row that one process holds."""

    store: FileStore
    place: str
    seconds: float
    token: str = ""

    async def acquire(self, *, token: str) -> bool:
        self.token, now = token, self.store.now()
        with self.store.changing() as file:
            return file.execute(_TAKE, (self.place, "lease", token, now + self.seconds, now)).rowcount == 1

    async def reacquire(self) -> None:
        until = self.store.now() + self.seconds
        with self.store.changing() as file:
            file.execute("UPDATE kept SET until = ? WHERE place = ? AND value = ?", (until, self.place, self.token))

    async def release(self) -> None:
        with self.store.changing() as file:
            file.execute("DELETE FROM kept WHERE place = ? AND value = ?", (self.place, self.token))
