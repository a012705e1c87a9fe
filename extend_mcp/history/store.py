"""Keep runs in SQLite: in memory, or in a file that several processes share.

Every account has its own rows, under a fingerprint that only its API key can make. All methods block: call them on a
worker thread, one at a time.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from extend_mcp.accounts import Account
from extend_mcp.runs.statistics import RunFacts, Selection

logger = logging.getLogger(__name__)

MEMORY = ":memory:"

SCHEMA_VERSION = 2
_APPLICATION_ID = 0x45784D48
_MAGIC = b"SQLite format 3\0"
_BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE accounts (
    number INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, asked_at REAL NOT NULL,
    pass INTEGER NOT NULL, pass_at REAL, floor REAL NOT NULL, token TEXT, watermark REAL, is_full INTEGER NOT NULL
);
CREATE TABLE runs (
    account INTEGER NOT NULL, id TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, seen INTEGER NOT NULL,
    status TEXT NOT NULL, workflow TEXT NOT NULL, version TEXT NOT NULL, file_type TEXT NOT NULL, batch TEXT,
    duration REAL, queue REAL, credits REAL, files TEXT NOT NULL, pages INTEGER, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE INDEX runs_by_creation ON runs (account, created);
CREATE TABLE workflows (
    account INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE TABLE deleted (account INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (account, id)) WITHOUT ROWID;
"""
_SELECT = """
SELECT id, status, workflow, version, file_type, batch, created, updated, duration, queue, credits, files, pages
FROM runs JOIN accounts ON number = account
WHERE fingerprint = :account AND seen = pass AND created > floor AND created >= :since AND created < :before
    AND (:status IS NULL OR status = :status) AND (:workflow IS NULL OR workflow = :workflow)
    AND (:batch IS NULL OR batch = :batch) AND (:version IS NULL OR version = :version)
ORDER BY created DESC, id DESC
"""
_TABLES = ("runs", "workflows", "deleted")


@dataclass(frozen=True)
class Limits:
    """Bounds of the store, over all accounts."""

    rows: int = 500_000
    bytes: int = 160_000_000


class StoreLostError(Exception):
    """The store cannot be used right now: locked, full or damaged. Nothing else is affected."""


@dataclass(frozen=True)
class Coverage:
    """The part of an account that the store holds.

    Attributes:
        number: counts the passes over the list of runs, from 1; 0 before the first.
        begun_at: when this pass began, in Unix seconds; None before the first.
        floor: every run created after it was read; in Unix seconds, ``-inf`` once the end of the list was reached.
        token: continues this pass.
        watermark: every change up to this ``updatedAt`` is known, in Unix seconds.
        is_full: whether older runs had to leave, because the store holds no more.
    """

    number: int
    begun_at: float | None
    floor: float
    token: str | None
    watermark: float | None
    is_full: bool

    def covers(self, since: float) -> bool:
        """Return whether all runs created since then are held."""
        return self.floor < since or self.floor == -float("inf")


def partition(account: Account, base_url: str) -> bytes:
    """Return the fingerprint under which an account's rows are kept. Nobody can make it without the API key."""
    return account.fingerprint("history", base_url)


class RunStore:
    """The kept runs of all accounts.

    Args:
        path: the file, or `MEMORY`. A file that is damaged is renamed and replaced; one that is not ours is left alone.
        limits: what is held at most.

    Raises:
        StoreLostError: the file cannot be opened, or belongs to another program or a newer version.
    """

    def __init__(self, path: str = MEMORY, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        self._inode = 0
        self._database = self._open()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def coverage(self, account: bytes, now: float) -> Coverage:
        """Return what is held of an account, and note that it was asked for."""
        with self._transaction() as database:
            number = self._number(database, account, now)
            database.execute("UPDATE accounts SET asked_at = ? WHERE number = ?", (now, number))
            return self._coverage(database, number)

    def begin_pass(self, account: bytes, begun_at: float, watermark: float) -> Coverage:
        """Start over: what was held counts again once it was read again."""
        with self._transaction() as database:
            number = self._number(database, account, begun_at)
            database.execute(
                "UPDATE accounts SET pass = pass + 1, pass_at = ?, floor = ?, token = NULL, watermark = ?, is_full = 0"
                " WHERE number = ?",
                (begun_at, float("inf"), watermark, number),
            )
            database.execute("DELETE FROM deleted WHERE account = ?", (number,))
            return self._coverage(database, number)

    def save_page(
        self, account: bytes, pass_number: int, runs: Sequence[RunFacts], floor: float, token: str | None
    ) -> Coverage:
        """Keep the next page of a pass. If another process began a new pass, coverage stays as it says."""
        with self._transaction() as database:
            number = self._number(database, account, 0.0)
            self._put(database, number, runs)
            if self._coverage(database, number).number == pass_number:
                database.execute("UPDATE accounts SET floor = ?, token = ? WHERE number = ?", (floor, token, number))
                if floor == -float("inf"):
                    database.execute("DELETE FROM runs WHERE account = ? AND seen <> ?", (number, pass_number))
            return self._coverage(database, number)

    def save_changes(self, account: bytes, runs: Sequence[RunFacts], watermark: float | None = None) -> None:
        """Keep runs that changed; with a watermark, all changes up to it are known now."""
        with self._transaction() as database:
            number = self._number(database, account, 0.0)
            self._put(database, number, runs)
            if watermark is not None:
                database.execute(
                    "UPDATE accounts SET watermark = max(watermark, ?) WHERE number = ?", (watermark, number)
                )

    def forget(self, account: bytes, run_id: str, deleted: bool) -> None:
        """Remove a run; one that was deleted never returns, even if a page read before still has it."""
        with self._transaction() as database:
            found = database.execute("SELECT number FROM accounts WHERE fingerprint = ?", (account,)).fetchone()
            if found is None:
                return
            database.execute("DELETE FROM runs WHERE account = ? AND id = ?", (found[0], run_id))
            if deleted:
                database.execute("INSERT OR IGNORE INTO deleted VALUES (?, ?)", (found[0], run_id))

    def select(self, account: bytes, wanted: Selection) -> list[RunFacts]:
        """Return the held runs, newest first; only those that the current pass, or a change since, has shown."""
        with self._transaction("BEGIN") as database:
            names = dict(
                database.execute(
                    "SELECT id, name FROM workflows JOIN accounts ON number = account WHERE fingerprint = ?", (account,)
                )
            )
            rows = database.execute(
                _SELECT,
                {
                    "account": account,
                    "since": -float("inf") if wanted.since is None else wanted.since,
                    "before": float("inf") if wanted.before is None else wanted.before,
                    "status": wanted.status,
                    "workflow": wanted.workflow_id,
                    "batch": wanted.batch,
                    "version": wanted.version,
                },
            ).fetchall()
        return [
            RunFacts(
                *(run_id, status, workflow, names.get(workflow, ""), version, file_type, batch),
                *(_moment(created), _moment(updated), *figures),
            )
            for run_id, status, workflow, version, file_type, batch, created, updated, *figures in rows
        ]

    def trim(self, account: bytes) -> None:
        """Make room: the account that was asked for least recently leaves first, then this account's oldest runs."""
        with self._transaction() as database:
            own = self._number(database, account, 0.0)
            while self._is_over(database):
                other = database.execute(
                    "SELECT number FROM accounts WHERE number <> ? ORDER BY asked_at LIMIT 1", (own,)
                ).fetchone()
                if other is None:
                    break
                _remove_account(database, other[0])
            while self._is_over(database):
                count = _count(database)
                newest_gone = database.execute(
                    "SELECT max(created) FROM (SELECT created FROM runs WHERE account = ? ORDER BY created LIMIT ?)",
                    (own, max(count // 10, count - self._limits.rows)),
                ).fetchone()[0]
                if newest_gone is None:
                    break
                database.execute("DELETE FROM runs WHERE account = ? AND created <= ?", (own, newest_gone))
                database.execute(
                    "UPDATE accounts SET floor = max(floor, ?), token = NULL, is_full = 1 WHERE number = ?",
                    (newest_gone, own),
                )

    def clear(self) -> tuple[int, int]:
        """Remove everything from the disk; return how many runs and accounts there were."""
        with self._transaction() as database:
            counts = _count(database), int(database.execute("SELECT count(*) FROM accounts").fetchone()[0])
            for table in (*_TABLES, "accounts"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute(begin)
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._recover(error)
            raise StoreLostError(str(error)) from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        # SQLite itself rolls back after some errors.
        with suppress(sqlite3.Error):
            self._database.rollback()

    def _recover(self, error: sqlite3.Error) -> None:
        if not _is_damage(error) or self.path == MEMORY:
            logger.warning("kept runs cannot be used for this call: %s", error)
            return
        self._database.close()
        # Another process may have replaced the file already.
        if Path(self.path).stat().st_ino == self._inode:
            self._set_aside(error)
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error) or self.path == MEMORY:
                    raise
                self._set_aside(error)
                return self._connect()
        except (sqlite3.Error, OSError) as error:
            raise StoreLostError(f"{self.path}: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self.path, flags, 0o600)
            with os.fdopen(descriptor, "rb") as file:
                self._inode = os.fstat(descriptor).st_ino
                header = file.read(100)
                if header and not header.startswith(_MAGIC):
                    raise StoreLostError(f"{self.path} is not a file of kept runs; it was not changed")
        database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(database)
            if self.path != MEMORY:
                # The companions -wal and -shm get the same rights from SQLite.
                Path(self.path).chmod(0o600)
            # Only now, so that the file itself and not its journal says whose it is.
            database.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")
        database.execute("BEGIN IMMEDIATE")
        owner = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != _APPLICATION_ID:
            raise StoreLostError(f"{self.path} is a database of another program; it was not changed")
        if version > SCHEMA_VERSION:
            raise StoreLostError(f"{self.path} was written by a newer version of extend-mcp; it was not changed")
        if version < SCHEMA_VERSION:
            for table in (*_TABLES, "accounts"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.execute("COMMIT")

    def _set_aside(self, error: sqlite3.Error) -> None:
        with Path(self.path).open("rb") as file:
            if file.read(72)[68:] != _APPLICATION_ID.to_bytes(4, "big"):
                raise StoreLostError(f"{self.path} is not a file of kept runs; it was not changed")
        aside = f"{self.path}.damaged-{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}"
        Path(self.path).replace(aside)
        for companion in ("-wal", "-shm"):
            Path(self.path + companion).unlink(missing_ok=True)
        logger.error("the file of kept runs is damaged (%s); it is now %s, and a new one begins", error, aside)

    @staticmethod
    def _number(database: sqlite3.Connection, account: bytes, now: float) -> int:
        found = database.execute("SELECT number FROM accounts WHERE fingerprint = ?", (account,)).fetchone()
        if found is None:
            cursor = database.execute(
                "INSERT INTO accounts (fingerprint, asked_at, pass, floor, is_full) VALUES (?, ?, 0, ?, 0)",
                (account, now, float("inf")),
            )
            return int(cursor.lastrowid or 0)
        return int(found[0])

    @staticmethod
    def _coverage(database: sqlite3.Connection, number: int) -> Coverage:
        row = database.execute(
            "SELECT pass, pass_at, floor, token, watermark, is_full FROM accounts WHERE number = ?", (number,)
        ).fetchone()
        return Coverage(row[0], row[1], row[2], row[3], row[4], bool(row[5]))

    @staticmethod
    def _put(database: sqlite3.Connection, number: int, runs: Sequence[RunFacts]) -> None:
        rows = [
            (
                *(
                    number,
                    run.id,
                    _seconds(run.created),
                    _seconds(run.updated),
                    run.status,
                    run.workflow_id,
                    run.version,
                ),
                *(run.file_type, run.batch_id, run.duration_seconds, run.queue_seconds, run.credits),
                *(run.files, run.pages, number, number, run.id),
            )
            for run in runs
        ]
        # What is held may be newer than this page: another process may have read the run since.
        database.executemany(
            "INSERT INTO runs (account, id, created, updated, status, workflow, version, file_type, batch, duration,"
            " queue, credits, files, pages, seen) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, pass"
            " FROM accounts WHERE number = ? AND NOT EXISTS (SELECT 1 FROM deleted WHERE account = ? AND id = ?)"
            " ON CONFLICT DO UPDATE SET created = excluded.created, updated = excluded.updated,"
            " status = excluded.status, workflow = excluded.workflow, version = excluded.version,"
            " file_type = excluded.file_type, batch = excluded.batch, duration = excluded.duration,"
            " queue = excluded.queue, credits = excluded.credits, files = excluded.files, pages = excluded.pages,"
            " seen = excluded.seen WHERE excluded.updated >= updated",
            rows,
        )
        database.executemany(
            "UPDATE runs SET seen = (SELECT pass FROM accounts WHERE number = account) WHERE account = ? AND id = ?",
            [(number, run.id) for run in runs],
        )
        database.executemany(
            "INSERT OR REPLACE INTO workflows VALUES (?, ?, ?)",
            {(number, run.workflow_id, run.workflow_name) for run in runs},
        )

    def _is_over(self, database: sqlite3.Connection) -> bool:
        pages, unused, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - unused) * size > self._limits.bytes or _count(database) > self._limits.rows


def _count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])


def _remove_account(database: sqlite3.Connection, number: int) -> None:
    for table in _TABLES:
        database.execute(f"DELETE FROM {table} WHERE account = ?", (number,))  # noqa: S608
    database.execute("DELETE FROM accounts WHERE number = ?", (number,))


def _is_damage(error: sqlite3.Error) -> bool:
    # SQLite reports a broken or foreign file by DatabaseError itself; locked and full have a class of their own.
    return type(error) is sqlite3.DatabaseError


def _seconds(moment: datetime | None) -> float:
    assert moment is not None, "a run without times is not kept"
    return moment.timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
