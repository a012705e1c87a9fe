"""Keep runs in SQLite: in memory, or in a file that several processes share.

Every account has its own rows, under a fingerprint that only its API key can make. All methods block: call them on a
worker thread, one at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from typing import Any, NamedTuple

from extend_mcp.accounts import Account
from extend_mcp.history.database import MEMORY, TABLES, Database
from extend_mcp.history.details import RunDetails, pack_facts, pack_texts, unpack
from extend_mcp.history.search import Hit, Query, list_passages
from extend_mcp.runs.lifecycle import FINISHED, is_finished
from extend_mcp.runs.statistics import WAITING, RunFacts, Selection, Tally, Waiting

_CHANGING = (
    *("status", "workflow", "version", "file_type", "batch", "duration", "queue", "credits", "files", "pages"),
    *("reviewer", "reviewed", "note"),
)
_COLUMNS = (
    "runs.id, status, workflow, workflow, version, file_type, batch, created, updated, duration, queue, credits,"
    " files, pages, reviewer, reviewed, note, step, reason"
)
_CONDITIONS = {
    "since": "created >= :since",
    "before": "created < :before",
    # One status, or several with commas.
    "status": "instr(',' || :status || ',', ',' || status || ',')",
    "workflow_id": "workflow = :workflow_id",
    "batch": "batch = :batch",
    "version": "version = :version",
    "step": "step = :step",
    "reason": "reason = :reason",
    "reviewer": "reviewer = :reviewer",
    "file_id": "instr(char(10) || files, char(10) || :file_id || char(9))",
}
"""A condition for each field of `Selection`; metadata has one for each key."""

_GROUPS = {
    "is_read": "EXISTS (SELECT 1 FROM details WHERE number = runs.number)",
    "quarter_hour": "CAST(created / 900 AS INTEGER)",
    "metadata": "(SELECT value FROM details AS full, json_each(full.metadata) WHERE full.number = runs.number"
    " AND key = :metadata_key)",
}
"""The values of groups that are no columns. Days of any time zone consist of whole quarters of an hour."""

_MOST_HITS = 500


@dataclass(frozen=True)
class Limits:
    """Bounds of the store, over all accounts."""

    rows: int = 500_000
    bytes: int = 160_000_000


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


class ReadCounts(NamedTuple):
    """The numbers of held runs.

    Attributes:
        held: all of them.
        read: those whose details are kept.
        cut: of these, those that hold more text than is kept.
        open: those that have not ended, whose details are never kept.
    """

    held: int
    read: int
    cut: int
    open: int


class SearchResult(NamedTuple):
    """The runs that were found, newest first, and whether there may be more in what is kept."""

    hits: list[Hit]
    is_cut: bool


def partition(account: Account, base_url: str) -> bytes:
    """Return the fingerprint under which an account's rows are kept. Nobody can make it without the API key."""
    return account.fingerprint("history", base_url)


class RunStore(Database):
    """The kept runs of all accounts.

    Args:
        path: the file, or `MEMORY`. A file that is damaged is renamed and replaced; one that is not ours is left alone.
        limits: what is held at most.

    Raises:
        StoreLostError: the file cannot be opened, or belongs to another program or a newer version.
    """

    def __init__(self, path: str = MEMORY, limits: Limits | None = None) -> None:
        super().__init__(path)
        self._limits = limits or Limits()

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
                "UPDATE accounts SET pass = pass + 1, pass_at = ?, floor = ?, token = NULL, watermark = ?, is_full = 0,"
                " details_floor = -9e999"
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

    def invalidate(self, account: bytes, run_ids: Sequence[str]) -> None:
        """Remove what runs showed in full: an event says that they changed."""
        with self._transaction() as database:
            for action in ("DELETE FROM details", "UPDATE runs SET step = NULL, reason = NULL"):
                database.execute(
                    f"{action} WHERE number IN (SELECT runs.number FROM json_each(?) AS changed JOIN accounts"
                    " ON fingerprint = ? JOIN runs ON account = accounts.number AND runs.id = changed.value)",
                    (json.dumps(list(run_ids)), account),
                )

    def save_listed(self, account: bytes, runs: Sequence[RunFacts]) -> None:
        """Keep runs of a list that was read apart from a pass, so that what they show in full can be kept too."""
        with self._transaction() as database:
            self._put(database, self._number(database, account, 0.0), runs, in_pass=False)

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
            return self._select(database, account, wanted)

    def unread(
        self, account: bytes, wanted: Selection, most: int = -1, *, final: bool = True, unexplained: bool = False
    ) -> list[RunFacts]:
        """Return the newest runs that were not read in full, without those that had to make room.

        Args:
            account: the account.
            wanted: selects the runs.
            most: how many at most; by default all.
            final: those in a final state, whose details can be kept, or the others.
            unexplained: only those whose reason is not known in another way either.
        """
        condition = (
            f"status {'' if final else 'NOT'} IN (SELECT value FROM json_each(:final)) AND created > details_floor"
            " AND NOT EXISTS (SELECT 1 FROM details WHERE number = runs.number)"
            f"{' AND reason IS NULL' if unexplained else ''}"
        )
        with self._transaction("BEGIN") as database:
            return self._select(database, account, wanted, condition, most, final=json.dumps(FINISHED))

    def read_counts(self, account: bytes, wanted: Selection) -> ReadCounts:
        """Count the held runs, and those that were read in full."""
        where, values = self._where(account, wanted)
        is_open = "status NOT IN (SELECT value FROM json_each(:final))"
        with self._transaction("BEGIN") as database:
            row = database.execute(
                f"SELECT count(*), count(details.number), coalesce(sum(cut), 0), coalesce(sum({is_open}), 0)"
                " FROM accounts JOIN runs ON account = accounts.number"
                f" LEFT JOIN details ON details.number = runs.number WHERE {where}",
                {**values, "final": json.dumps(FINISHED)},
            ).fetchone()
        return ReadCounts(*row)

    def save_details(self, account: bytes, found: Sequence[tuple[RunFacts, RunDetails]]) -> None:
        """Keep what final runs showed that were read in full, until they change.

        Args:
            account: the account.
            found: each run as it was held before it was read, and what it showed.
        """
        with self._transaction() as database:
            for run, details in found:
                row = database.execute(
                    "SELECT runs.number FROM accounts JOIN runs ON account = accounts.number"
                    " WHERE fingerprint = ? AND id = ? AND status = ? AND updated = ?",
                    (account, run.id, details.status, _seconds(run.updated)),
                ).fetchone()
                if row is None or not is_finished(details.status):
                    continue
                database.execute(
                    "UPDATE runs SET step = ?, reason = ? WHERE number = ?",
                    (_storable(details.step), _storable(details.reason), *row),
                )
                database.execute("DELETE FROM details WHERE number = ?", row)
                database.execute(
                    "INSERT INTO details VALUES (?, ?, ?, ?, ?)",
                    (
                        *row,
                        json.dumps(details.metadata or {}),
                        pack_facts(details),
                        pack_texts(details),
                        details.is_cut,
                    ),
                )

    def reasons(self, account: bytes, run_ids: Sequence[str]) -> dict[str, str]:
        """Return why runs failed, by id, where that is known."""
        with self._transaction("BEGIN") as database:
            return dict(
                database.execute(
                    "SELECT runs.id, reason FROM json_each(?) AS wanted JOIN accounts ON fingerprint = ?"
                    " JOIN runs ON account = accounts.number AND runs.id = wanted.value WHERE reason IS NOT NULL",
                    (json.dumps(list(run_ids)), account),
                )
            )

    def save_reasons(self, account: bytes, found: Sequence[tuple[RunFacts, str]]) -> None:
        """Keep why final runs failed that were not read in full, until they change; each as it was held."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE runs SET reason = ? WHERE account = (SELECT number FROM accounts WHERE fingerprint = ?)"
                " AND id = ? AND status = 'FAILED' AND updated = ? AND reason IS NULL",
                [(_storable(reason), account, run.id, _seconds(run.updated)) for run, reason in found],
            )

    def details(self, account: bytes, run_ids: Sequence[str]) -> dict[str, RunDetails]:
        """Return what is kept of runs that were read in full, by id, without their texts."""
        with self._transaction("BEGIN") as database:
            rows = database.execute(
                "SELECT runs.id, status, metadata, facts FROM json_each(?) AS wanted JOIN accounts ON fingerprint = ?"
                " JOIN runs ON account = accounts.number AND runs.id = wanted.value"
                " JOIN details ON details.number = runs.number",
                (json.dumps(list(run_ids)), account),
            )
            return {run_id: unpack(status, metadata, facts, None) for run_id, status, metadata, facts in rows}

    def metadata(self, account: bytes, wanted: Selection, key: str) -> dict[str, str | None]:
        """Return a key's value of each run that was read in full, by the run's id; None where it is not set."""
        where, values = self._where(account, wanted)
        with self._transaction("BEGIN") as database:
            return dict(
                database.execute(
                    "SELECT runs.id, (SELECT value FROM json_each(details.metadata) WHERE key = :key) FROM accounts"
                    " JOIN runs ON account = accounts.number JOIN details ON details.number = runs.number"
                    f" WHERE {where}",
                    {**values, "key": key},
                )
            )

    def tallies(
        self,
        account: bytes,
        wanted: Selection,
        by: Sequence[str],
        metadata_key: str | None = None,
        span: Callable[[int], int] = int,
    ) -> dict[tuple[Any, ...], Tally]:
        """Count the held runs by groups, without a list of them: there may be a million.

        Args:
            account: the account.
            wanted: selects the runs.
            by: workflow (its id), version, status, file_type, batch, reviewer, step, reason, quarter_hour (quarters of
                an hour since 1970), metadata or is_read. A step or metadata is None while a run was not read in full,
                a reason while it is not known, and metadata too where the key is not set.
            metadata_key: the key whose values are the groups, with metadata.
            span: returns what is counted in place of a quarter of an hour, such as the first one of its day.
        """
        where, values = self._where(account, wanted)
        keys = "".join(f", {_GROUPS.get(name, name)}" for name in by)
        # The index of times leads through the table by chance: without a first day, its own order is faster.
        hint = "" if wanted.since else "NOT INDEXED"
        span = cache(span)
        place = by.index("quarter_hour") + 4 if "quarter_hour" in by else None
        found: dict[tuple[Any, ...], Tally] = {}
        with self._transaction("BEGIN") as database:
            for row in database.execute(
                f"SELECT status, duration, queue, credits{keys} FROM accounts JOIN runs {hint}"
                f" ON account = accounts.number WHERE {where}",
                {**values, "metadata_key": metadata_key},
            ):
                group = row[4:] if place is None else (*row[4:place], span(row[place]), *row[place + 1 :])
                tally = found.get(group)
                if tally is None:
                    tally = found[group] = Tally()
                status, duration, queue, spent = row[:4]
                tally.runs += 1
                tally.statuses[status] += 1
                if duration is not None:
                    tally.durations.append(duration)
                if queue is not None:
                    tally.queues.append(queue)
                if spent:
                    tally.credits += spent
        return found

    def course(self, account: bytes, wanted: Selection) -> list[tuple[int, int, int]]:
        """Return how many runs were created, and failed, by quarters of an hour since 1970."""
        where, values = self._where(account, wanted)
        with self._transaction("BEGIN") as database:
            return database.execute(
                f"SELECT {_GROUPS['quarter_hour']}, count(*), sum(status = 'FAILED') FROM accounts"
                f" JOIN runs ON account = accounts.number WHERE {where} GROUP BY 1",
                values,
            ).fetchall()

    def oldest(self, account: bytes, wanted: Selection) -> dict[str, Waiting]:
        """Return the run of each status in which runs wait that was created first."""
        where, values = self._where(account, wanted)
        with self._transaction("BEGIN") as database:
            rows = database.execute(
                "SELECT status, runs.id, min(created) FROM accounts JOIN runs ON account = accounts.number"
                f" WHERE {where} AND status IN (SELECT value FROM json_each(:waiting)) GROUP BY status",
                {**values, "waiting": json.dumps(WAITING)},
            )
            return {
                status: Waiting(run_id, datetime.fromtimestamp(created, timezone.utc))
                for status, run_id, created in rows
            }

    def workflow_names(self, account: bytes) -> dict[str, str]:
        """Return the names of the workflows of held runs, by id."""
        with self._transaction("BEGIN") as database:
            return _names(database, account)

    def search(
        self, account: bytes, wanted: Selection, query: Query | None, is_late: Callable[[], bool] = lambda: False
    ) -> SearchResult:
        """Find runs whose file names, reviewer's note or details hold a text, newest first.

        Args:
            account: the account.
            wanted: selects the runs.
            query: the text; None for every run that ``wanted`` selects.
            is_late: whether time is up.
        """
        hits: dict[str, Hit] = {}
        with self._transaction("BEGIN") as database:
            if query is None:
                runs = self._select(database, account, wanted, most=_MOST_HITS + 1)
                return SearchResult([Hit(run, None) for run in runs[:_MOST_HITS]], len(runs) > _MOST_HITS)
            for run in self._select(
                database, account, wanted, "(files LIKE :like OR note LIKE :like)", like=query.like
            ):
                if passage := query.first(list_passages(run)):
                    hits[run.id] = Hit(run, passage)
            indexed = query.expression if self._has_index(database) else None
            where, values = self._where(account, wanted)
            numbers = database.execute(
                "SELECT details.number FROM accounts JOIN runs ON account = accounts.number"
                f" JOIN details ON details.number = runs.number WHERE {where}"
                f" {'AND details.number IN (SELECT rowid FROM words WHERE words MATCH :expression)' if indexed else ''}"
                " ORDER BY created DESC, runs.id DESC",
                {**values, "expression": indexed},
            ).fetchall()
            ended_early = False
            for (number,) in numbers:
                ended_early = is_late() or len(hits) > _MOST_HITS
                if ended_early:
                    break
                packed = database.execute(
                    "SELECT status, metadata, facts, texts FROM runs JOIN details USING (number) WHERE number = ?",
                    (number,),
                ).fetchone()
                if passage := query.first(unpack(*packed).passages()):
                    (run,) = self._select(database, account, wanted, "runs.number = :number", number=number)
                    hits.setdefault(run.id, Hit(run, passage))
        newest = sorted(hits.values(), key=lambda hit: (_seconds(hit.run.created), hit.run.id), reverse=True)
        return SearchResult(newest[:_MOST_HITS], ended_early or len(newest) > _MOST_HITS)

    def _select(
        self,
        database: sqlite3.Connection,
        account: bytes,
        wanted: Selection,
        condition: str = "TRUE",
        most: int = -1,
        **more: object,
    ) -> list[RunFacts]:
        where, values = self._where(account, wanted)
        names = _names(database, account)
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM accounts JOIN runs ON account = accounts.number WHERE {where} AND {condition}"
            " ORDER BY created DESC, runs.id DESC LIMIT :most",
            {**values, **more, "most": most},
        )
        return [_run(row, names) for row in rows]

    @staticmethod
    def _where(account: bytes, wanted: Selection) -> tuple[str, dict[str, object]]:
        """Return the condition for the runs that the current pass has shown, and its values."""
        parts = ["fingerprint = :account AND seen = pass AND created > floor"]
        values: dict[str, object] = {"account": account}
        for name, condition in _CONDITIONS.items():
            if (value := getattr(wanted, name)) is not None:
                parts.append(condition)
                values[name] = value
        for number, (key, value) in enumerate(wanted.metadata.items()):
            parts.append(
                "EXISTS (SELECT 1 FROM details AS full, json_each(full.metadata) AS pair"
                f" WHERE full.number = runs.number AND pair.key = :key{number} AND pair.value = :value{number})"
            )
            values |= {f"key{number}": key, f"value{number}": value}
        return " AND ".join(parts), values

    def first_created(self, account: bytes, wanted: Selection) -> datetime | None:
        """Return when the first of the held runs was created that a selection would hold without its times."""
        where, values = self._where(account, replace(wanted, since=None, before=None))
        with self._transaction("BEGIN") as database:
            [(created,)] = database.execute(
                f"SELECT min(created) FROM accounts JOIN runs ON account = accounts.number WHERE {where}", values
            )
        return None if created is None else datetime.fromtimestamp(created, timezone.utc)

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
                self._remove_account(database, other[0])
            while self._is_over(database) and self._remove_details(database, own):
                pass
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
            for table in (*TABLES, "accounts"):
                database.execute(f"DELETE FROM {table}")
            if self._has_index(database):
                database.execute("INSERT INTO words (words) VALUES ('delete-all')")
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts

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
    def _put(database: sqlite3.Connection, number: int, runs: Sequence[RunFacts], *, in_pass: bool = True) -> None:
        rows = [
            (
                *(number, run.id, _seconds(run.created), _seconds(run.updated)),
                *(run.status, run.workflow_id, run.version, run.file_type, run.batch_id),
                *(run.duration_seconds, run.queue_seconds, run.credits, _storable(run.files), run.pages),
                *(_storable(run.reviewer), _seconds(run.reviewed) if run.reviewed else None, _storable(run.note)),
                *(number, number, run.id),
            )
            for run in runs
        ]
        # What is held may be newer than this page: another process may have read the run since.
        columns = ("account", "id", "created", "updated", *_CHANGING)
        database.executemany(
            f"INSERT INTO runs ({', '.join(columns)}, seen)"
            f" SELECT {', '.join('?' * len(columns))}, {'pass' if in_pass else -1} FROM accounts WHERE number = ?"
            " AND NOT EXISTS (SELECT 1 FROM deleted WHERE account = ? AND id = ?) ON CONFLICT DO UPDATE SET"
            f" {', '.join(f'{name} = excluded.{name}' for name in ('created', 'updated', *_CHANGING))},"
            " seen = max(seen, excluded.seen) WHERE excluded.updated >= updated",
            rows,
        )
        if in_pass:
            database.executemany(
                "UPDATE runs SET seen = (SELECT pass FROM accounts WHERE number = ?) WHERE account = ? AND id = ?",
                [(number, number, run.id) for run in runs],
            )
        database.executemany(
            "INSERT OR REPLACE INTO workflows VALUES (?, ?, ?)",
            {(number, run.workflow_id, _storable(run.workflow_name)) for run in runs},
        )

    def _remove_account(self, database: sqlite3.Connection, number: int) -> None:
        for table in TABLES:
            database.execute(f"DELETE FROM {table} WHERE account = ?", (number,))
        database.execute("DELETE FROM accounts WHERE number = ?", (number,))
        self._shrink_index(database)

    def _remove_details(self, database: sqlite3.Connection, number: int) -> bool:
        """Remove what the older half of an account's runs that were read in full showed; return whether any did."""
        kept = "SELECT created, details.number FROM runs JOIN details USING (number) WHERE account = ?"
        count = database.execute(f"SELECT count(*) FROM ({kept})", (number,)).fetchone()[0]
        newest_gone = database.execute(
            f"SELECT max(created) FROM ({kept} ORDER BY created LIMIT ?)",
            (number, -(-count // 2)),
        ).fetchone()[0]
        if newest_gone is None:
            return False
        database.execute(
            f"DELETE FROM details WHERE number IN (SELECT number FROM ({kept}) WHERE created <= ?)",
            (number, newest_gone),
        )
        database.execute(
            "UPDATE accounts SET details_floor = max(details_floor, ?) WHERE number = ?", (newest_gone, number)
        )
        self._shrink_index(database)
        return True

    def _shrink_index(self, database: sqlite3.Connection) -> None:
        # An entry that was deleted takes room until its part of the index is written again.
        if self._has_index(database):
            database.execute("INSERT INTO words (words) VALUES ('optimize')")

    def _is_over(self, database: sqlite3.Connection) -> bool:
        pages, unused, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - unused) * size > self._limits.bytes or _count(database) > self._limits.rows


def _count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])


def _names(database: sqlite3.Connection, account: bytes) -> dict[str, str]:
    return dict(
        database.execute(
            "SELECT id, name FROM workflows JOIN accounts ON number = account WHERE fingerprint = ?", (account,)
        )
    )


def _run(row: Sequence[Any], names: dict[str, str]) -> RunFacts:
    values = list(row)
    values[3] = names.get(row[3], "")
    for place in (7, 8, 15):
        values[place] = None if row[place] is None else datetime.fromtimestamp(row[place], timezone.utc)
    return RunFacts(*values)


def _storable(text: str) -> str:
    """Replace lone surrogates, which SQLite does not take."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _seconds(moment: datetime | None) -> float:
    assert moment is not None, "a run without times is not kept"
    return moment.timestamp()
