"""The action store in SQLite: in memory, or in a file of the user for clients that start a process for each call.

A lease that is taken over from a dead process and an outcome that only the holder may save need a transaction. Only the
owner can read the folder and the file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import KEPT_SECONDS, MOST_PLANS_OF_A_CALLER, ActionStore, lease_of

_MOST_PLANS: Final = 200
_BUSY_SECONDS: Final = 2.0
"""Time that a statement waits for another process's transaction, each of which takes milliseconds."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS kept (
    place TEXT, field TEXT, value TEXT, until REAL, owner TEXT DEFAULT '', PRIMARY KEY (place, field)
)
"""
_CLAIM: Final = "INSERT OR IGNORE INTO kept (place, field, value, until) VALUES (?, '', ?, ?)"
_WRITE: Final = """
INSERT OR REPLACE INTO kept (place, field, value, until, owner) SELECT ?1, ?2, ?3, plan.until, plan.owner
FROM kept AS plan, kept AS lease WHERE plan.place = ?1 AND plan.field = 'plan' AND lease.place = ?4 AND lease.value = ?5
"""
_EVICT: Final = """
DELETE FROM kept WHERE owner LIKE ?1 AND owner <> '' AND place NOT IN
(SELECT place FROM kept WHERE owner LIKE ?1 AND field = 'plan' ORDER BY until DESC, rowid DESC LIMIT ?2)
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


class SqliteStore(ActionStore):
    """Keeps everything in one table.

    Args:
        folder: where the file is; it is made if it is missing. None to keep everything in memory.
        keys: the keys that seal plans; the same in every process of an account. None for one of this process.
        now: Unix seconds.

    Raises:
        StoreUnavailableError: the folder or the file cannot be written.
    """

    unreachable = (sqlite3.Error, OSError)

    def __init__(
        self, folder: Path | None = None, keys: SealingKeys | None = None, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(keys or SealingKeys())
        self._now = now
        file = folder / "actions.sqlite3" if folder else Path(":memory:")
        with self._reaching():
            if folder:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
                # SQLite gives its journal the mode of the file.
                os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
                file.chmod(0o600)
            # One event loop uses it, which may run on another thread than the one that makes it.
            self._file = sqlite3.connect(file, timeout=_BUSY_SECONDS, check_same_thread=False)
            weakref.finalize(self, self._file.close)
            with self._file:
                self._file.execute(_TABLE)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Change the table in one transaction, and remove what is too old."""
        with self._file:
            self._file.execute("DELETE FROM kept WHERE until <= ?", (self._now(),))
            yield self._file

    async def _keep(self, place: str, owner: str, fields: Mapping[str, str]) -> None:
        until = self._now() + KEPT_SECONDS
        rows = [(place, name, value, until, owner) for name, value in fields.items()]
        with self._changing() as file:
            file.executemany("INSERT INTO kept (place, field, value, until, owner) VALUES (?, ?, ?, ?, ?)", rows)
            file.execute(_EVICT, (owner, MOST_PLANS_OF_A_CALLER))
            file.execute(_EVICT, ("%", _MOST_PLANS))

    async def _read(self, place: str) -> dict[str, str]:
        return dict(self._file.execute("SELECT field, value FROM kept WHERE place = ?", (place,)).fetchall())

    async def _write(self, place: str, field: str, value: str, mine: str) -> bool:
        with self._changing() as file:
            return file.execute(_WRITE, (place, field, value, lease_of(place), mine)).rowcount == 1

    async def _claim(self, place: str, value: str, seconds: float) -> bool:
        with self._changing() as file:
            return file.execute(_CLAIM, (place, value, self._now() + seconds)).rowcount == 1

    async def _extend(self, place: str, value: str, seconds: float) -> None:
        with self._changing() as file:
            until = self._now() + seconds
            file.execute("UPDATE kept SET until = ? WHERE place = ? AND value = ?", (until, place, value))

    async def _add(self, place: str, amount: float, most: float, seconds: float) -> tuple[bool, float]:
        with self._changing() as file:
            # Locks the file before the sum is read: another process may add in this moment.
            file.execute(_CLAIM, (place, "0", self._now() + seconds))
            [(value,)] = file.execute("SELECT value FROM kept WHERE place = ?", (place,)).fetchall()
            total = float(value)
            if amount >= 0 and total + amount > most:
                return False, total
            file.execute("UPDATE kept SET value = ? WHERE place = ?", (repr(total + amount), place))
        return True, total + amount
