"""The action store in a file of the user, for clients that start a process for each call.

It is an SQLite database, because a lease that is taken over from a dead process and an outcome that only the holder may
save need a transaction. Plans are sealed as in Redis. Only the owner can read the folder and the file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.actions.store import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    MOST_PLANS_OF_A_CALLER,
    ActionStore,
    Plan,
    PlannedRun,
    PlanSealer,
    StoreUnavailableError,
    renewing,
)

logger = logging.getLogger(__name__)

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
_SAVE: Final = """
INSERT OR REPLACE INTO kept (place, field, value, until, owner) SELECT ?, ?, ?, plan.until, plan.owner FROM kept AS plan
WHERE plan.place = ? AND plan.field = 'plan'
AND EXISTS (SELECT 1 FROM kept AS lease WHERE lease.place = ? AND lease.field = 'lease' AND lease.value = ?)
"""
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


class FileStore(ActionStore):
    """Keeps everything in one SQLite file.

    Args:
        folder: where the file is; it is made if it is missing.
        keys: the keys that seal plans; the same in every process of an account.
        now: Unix seconds.

    Raises:
        StoreUnavailableError: the folder or the file cannot be written.
    """

    def __init__(self, folder: Path, keys: SealingKeys, now: Callable[[], float] = time.time) -> None:
        self._sealer, self._name, self._now = PlanSealer(keys), keys.name, now
        self._held: dict[str, str] = {}
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
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(str(error)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    async def put(self, plan: Plan) -> None:
        """Keep a new plan. The caller's oldest makes room."""
        place, owner, until = _plan(plan.principal, plan.id), self._name(plan.principal), self._now() + KEPT_SECONDS
        rows = [(place, name, value, until, owner) for name, value in self._sealer.fields(place, plan).items()]
        with self._changing() as file:
            file.executemany("INSERT INTO kept (place, field, value, until, owner) VALUES (?, ?, ?, ?, ?)", rows)
            file.execute(_EVICT, (owner, owner, MOST_PLANS_OF_A_CALLER))

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        place = _plan(principal, plan_id)
        with _reaching():
            fields = dict(self._file.execute("SELECT field, value FROM kept WHERE place = ?", (place,)).fetchall())
        return self._sealer.plan(place, fields, action=action, principal=principal, now=now)

    async def agree(self, plan: Plan) -> None:
        place = _plan(plan.principal, plan.id)
        name, value = self._sealer.agreed(place)
        row = (place, name, value, self._now() + KEPT_SECONDS, self._name(plan.principal))
        with self._changing() as file:
            file.execute("INSERT OR REPLACE INTO kept (place, field, value, until, owner) VALUES (?, ?, ?, ?, ?)", row)
        plan.agreed = True

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Record what is known of one run, as long as this store holds the plan.

        Raises:
            StoreUnavailableError: the file cannot be written, or the plan is not held any more.
        """
        place = _plan(plan.principal, plan.id)
        name, value = self._sealer.run(place, run)
        lease = _place("lease", f"plan {plan.id}")
        with self._changing() as file:
            saved = file.execute(_SAVE, (place, name, value, place, lease, self._held.get(lease, ""))).rowcount
        if not saved:
            logger.warning("a plan is not held any more: this process leaves it to another")
            raise StoreUnavailableError

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[bool]:
        place, mine = _place("lease", name), secrets.token_hex(8)
        with self._changing() as file:
            until = self._now() + LEASE_SECONDS
            ours = file.execute(_TAKE, (place, "lease", mine, until, self._now())).rowcount == 1
        if not ours:
            yield False
            return
        self._held[place] = mine

        async def renew() -> None:
            try:
                with self._changing() as file:
                    until = self._now() + LEASE_SECONDS
                    file.execute("UPDATE kept SET until = ? WHERE place = ? AND value = ?", (until, place, mine))
            except StoreUnavailableError:
                logger.warning("a lease could not be renewed")

        try:
            async with renewing(renew, LEASE_SECONDS / 4):
                yield True
        finally:
            del self._held[place]
            try:
                with self._changing() as file:
                    file.execute("DELETE FROM kept WHERE place = ? AND value = ?", (place, mine))
            except StoreUnavailableError:
                logger.warning("a lease could not be released; it will expire")

    async def use(self, proposal_id: str) -> bool:
        row = (_place("used", proposal_id), "used", "", self._now() + KEPT_SECONDS)
        with self._changing() as file:
            return (
                file.execute(
                    "INSERT OR IGNORE INTO kept (place, field, value, until) VALUES (?, ?, ?, ?)", row
                ).rowcount
                == 1
            )

    async def unuse(self, proposal_id: str) -> None:
        with self._changing() as file:
            file.execute("DELETE FROM kept WHERE place = ?", (_place("used", proposal_id),))

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        place = _place("sum", name)
        with self._changing() as file:
            # Locks the file before the sum is read: another process may add in this moment.
            row = (place, "sum", "0", self._now() + seconds)
            file.execute("INSERT OR IGNORE INTO kept (place, field, value, until) VALUES (?, ?, ?, ?)", row)
            [(value,)] = file.execute("SELECT value FROM kept WHERE place = ?", (place,)).fetchall()
            total = float(value)
            if amount >= 0 and total + amount > most:
                return False, total
            file.execute("UPDATE kept SET value = ? WHERE place = ?", (repr(total + amount), place))
        return True, total + amount

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Change the file in one transaction, and remove what is too old."""
        with _reaching(), self._file:
            self._file.execute("DELETE FROM kept WHERE until <= ?", (self._now(),))
            yield self._file


def _plan(principal: str, plan_id: str) -> str:
    return _place("plan", f"{principal} {plan_id}")


def _place(kind: str, name: str) -> str:
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        logger.warning("the file that keeps plans cannot be used: %s", type(error).__name__)
        raise StoreUnavailableError from None
