"""Open the SQLite database of kept runs: in memory, or in a file that several processes share."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from extend_mcp.history.details import unpack
from extend_mcp.history.search import compact

logger = logging.getLogger(__name__)

MEMORY = ":memory:"

_SCHEMA_VERSION = 4
_APPLICATION_ID = 0x45784D48
_BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE accounts (
    number INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, asked_at REAL NOT NULL,
    pass INTEGER NOT NULL DEFAULT 0, pass_at REAL, floor REAL NOT NULL DEFAULT 9e999, token TEXT, watermark REAL,
    is_full INTEGER NOT NULL DEFAULT 0, details_floor REAL NOT NULL DEFAULT -9e999
);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE, id TEXT NOT NULL,
    status TEXT NOT NULL, workflow_id TEXT NOT NULL, version TEXT NOT NULL, file_type TEXT NOT NULL, batch_id TEXT,
    created REAL NOT NULL, updated REAL NOT NULL, duration_seconds REAL, queue_seconds REAL, credits REAL,
    files TEXT NOT NULL, pages INTEGER, reviewer TEXT NOT NULL, reviewed REAL, note TEXT NOT NULL, step TEXT,
    reason TEXT, seen INTEGER NOT NULL DEFAULT -1, UNIQUE (account, id)
);
CREATE INDEX runs_by_creation ON runs (account, created);
CREATE TABLE details (
    number INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE, facts TEXT NOT NULL, metadata TEXT NOT NULL,
    texts BLOB NOT NULL, cut INTEGER NOT NULL
);
CREATE TRIGGER run_changed AFTER UPDATE OF updated ON runs WHEN NEW.updated <> OLD.updated
    BEGIN UPDATE runs SET step = NULL, reason = NULL WHERE number = OLD.number; DELETE FROM details
    WHERE number = OLD.number; END;
CREATE TABLE workflows (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE, id TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE TABLE deleted (
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE, id TEXT NOT NULL, PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=none, tokenize='trigram');
CREATE TRIGGER details_added AFTER INSERT ON details BEGIN INSERT INTO words (rowid, text)
    VALUES (NEW.number, compact(NEW.facts, NEW.metadata, NEW.texts)); END;
CREATE TRIGGER details_gone AFTER DELETE ON details BEGIN INSERT INTO words (words, rowid, text)
    VALUES ('delete', OLD.number, compact(OLD.facts, OLD.metadata, OLD.texts)); END;
"""


class StoreLostError(Exception):
    """The store cannot be used right now: locked, full or damaged. Nothing else is affected."""


class Database:
    """One connection, and what to do when it or its file is in trouble.

    Args:
        path: the file, or `MEMORY`. A file that is damaged is renamed and replaced; one that is not ours is left alone.

    Raises:
        StoreLostError: the file cannot be opened, or belongs to another program or a newer version.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._inode = 0
        self._database = self._open()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction, or as a part of the one that it is in."""
        if self._database.in_transaction:
            yield self._database
            return
        try:
            self._database.execute(begin)
            yield self._database
            self._database.execute("COMMIT")
        except BaseException as error:
            # SQLite itself rolls back after some errors.
            with suppress(sqlite3.Error):
                self._database.rollback()
            if not isinstance(error, sqlite3.Error):
                raise
            self._recover(error)
            raise StoreLostError(str(error)) from None

    def _recover(self, error: sqlite3.Error) -> None:
        if not self._is_damage(error):
            logger.warning("kept runs cannot be used for this call: %s", error)
            return
        self._database.close()
        # Another process may have replaced the file already.
        is_present = Path(self.path).stat().st_ino == self._inode
        self._database = self._open(error if is_present else None)

    def _open(self, damage: Exception | None = None) -> sqlite3.Connection:
        try:
            if damage is not None:
                self._set_aside(damage)
            return self._connect()
        except (sqlite3.Error, OSError) as error:
            if damage is None and self._is_damage(error):
                return self._open(error)
            raise StoreLostError(f"{self.path}: {error}") from None

    def _is_damage(self, error: Exception) -> bool:
        # SQLite reports a broken or foreign file by DatabaseError itself; locked and full have a class of their own.
        return type(error) is sqlite3.DatabaseError and self.path != MEMORY

    def _connect(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(self.path, flags, 0o600)) as file:
                self._inode = os.fstat(file.fileno()).st_ino
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
        database.create_function("compact", 3, _compact, deterministic=True)
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")
        database.execute("BEGIN IMMEDIATE")
        owner = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != _APPLICATION_ID:
            raise StoreLostError(f"{self.path} is a database of another program; it was not changed")
        if version > _SCHEMA_VERSION:
            raise StoreLostError(f"{self.path} was written by a newer version of extend-mcp; it was not changed")
        if version < _SCHEMA_VERSION:
            for table in ("words", "details", "runs", "workflows", "deleted", "accounts"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _SCHEMA.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        database.execute("COMMIT")
        database.execute("PRAGMA foreign_keys = ON")

    def _set_aside(self, error: Exception) -> None:
        with Path(self.path).open("rb") as file:
            if file.read(72)[68:] != _APPLICATION_ID.to_bytes(4, "big"):
                raise StoreLostError(f"{self.path} is not a file of kept runs; it was not changed")
        aside = f"{self.path}.damaged-{datetime.now(timezone.utc):%Y%m%d-%H%M%S-%f}"
        Path(self.path).replace(aside)
        for companion in ("-wal", "-shm"):
            Path(self.path + companion).unlink(missing_ok=True)
        logger.error("the file of kept runs is damaged (%s); it is now %s, and a new one begins", error, aside)


def _compact(*packed: Any) -> str:
    return " ".join(compact(passage.text) for passage in unpack(*packed).passages())
