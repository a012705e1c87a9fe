"""Keep runs in SQLite: in memory, or in a file that several processes share.

Every account has its own rows, under a fingerprint that only its API key can make. All methods block: call them on a
worker thread, one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from extend_mcp.accounts import Account
from extend_mcp.history.database import MEMORY, TABLES, Database
from extend_mcp.history.details import RunDetails, pack, unpack
from extend_mcp.history.search import Hit, Query, list_passages
from extend_mcp.runs.lifecycle import FINISHED, is_finished
from extend_mcp.runs.statistics import WAITING, RunFacts, Selection, Tally, Waiting

_COLUMNS: Final = {
    **{fact: fact for fact in ("id", "status", "version", "file_type", "created", "updated", "credits", "files")},
    **{fact: fact for fact in ("pages", "reviewer", "reviewed", "note")},
    "workflow_id": "workflow",
    "batch_id": "batch",
    "duration_seconds": "duration",
    "queue_seconds": "queue",
}
"""The column of each fact of a run that its list entry shows."""

_TIMES: Final = [RunFacts._fields.index(name) for name in ("created", "updated", "reviewed")]
_NAME: Final = "coalesce((SELECT name FROM workflows WHERE account = runs.account AND id = workflow), '')"
_FACTS: Final = ", ".join(
    _NAME if fact == "workflow_name" else f"runs.{_COLUMNS.get(fact, fact)}" for fact in RunFacts._fields
)
_CONDITIONS: Final = {
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

_GROUPS: Final = {
    "is_read": "EXISTS (SELECT 1 FROM details WHERE number = runs.number)",
    "quarter_hour": "CAST(created / 900 AS INTEGER)",
    "metadata": "(SELECT value FROM details AS full, json_each(full.metadata) WHERE full.number = runs.number"
    " AND key = :metadata_key)",
}
"""The values of groups that are no columns. Days of any time zone consist of whole quarters of an hour."""

_BY_IDS: Final = (
    "json_each(?) AS wanted JOIN accounts ON fingerprint = ?"
    " JOIN runs ON account = accounts.number AND runs.id = wanted.value"
)
"""Runs by a JSON list of ids and the account."""

_WITH_DETAILS: Final = "JOIN details ON details.number = runs.number"
_NEWEST_FIRST: Final = "ORDER BY created DESC, runs.id DESC"
_MOST_HITS: Final = 500


@dataclass(frozen=True)
class Limits:
    """Bounds of the store, over all accounts."""

    rows: int = 500_000
    bytes: int = 160_000_000


@dataclass(frozen=True)
class Coverage:
    """The part of an account that the store holds. Times are in Unix seconds."""

    number: int  # counts the passes over the list of runs, from 1; 0 before the first
    begun_at: float | None  # when this pass began; None before the first
    floor: float  # every run created after it was read; ``-inf`` once the end of the list was reached
    token: str | None  # continues this pass
    watermark: float | None  # every change up to this ``updatedAt`` is known
    is_full: bool  # whether older runs had to leave, because the store holds no more

    def covers(self, since: float) -> bool:
        """Return whether all runs created since then are held."""
        return self.floor < since or self.floor == -float("inf")


class ReadCounts(NamedTuple):
    """The numbers of held runs."""

    held: int = 0
    read: int = 0  # those whose details are kept
    cut: int = 0  # of these, those that hold more text than is kept
    open: int = 0  # those that have not ended, whose details are never kept


class SearchResult(NamedTuple):
    """The runs that were found, newest first, and whether there may be more in what is kept."""

    hits: list[Hit]
    is_cut: bool


def partition(account: Account, base_url: str) -> bytes:
    """Return the fingerprint under which an account's rows are kept. Nobody can make it without the API key."""
    return account.fingerprint("history", base_url)


class RunStore(Database):
    """The kept runs of all accounts, in a file or in `MEMORY`; see `Database`."""

    def __init__(self, path: str = MEMORY, limits: Limits | None = None) -> None:
        super().__init__(path)
        self._limits = limits or Limits()

    def coverage(self, account: bytes, now: float) -> Coverage:
        """Return what is held of an account, and note that it was asked for."""
        with self._transaction() as database:
            number = self._number(account, now)
            database.execute("UPDATE accounts SET asked_at = ? WHERE number = ?", (now, number))
            return self._coverage(number)

    def begin_pass(self, account: bytes, begun_at: float, watermark: float) -> Coverage:
        """Start over: what was held counts again once it was read again."""
        with self._transaction() as database:
            number = self._number(account, begun_at)
            database.execute(
                "UPDATE accounts SET pass = pass + 1, pass_at = ?, floor = 9e999, token = NULL, watermark = ?,"
                " is_full = 0, details_floor = -9e999 WHERE number = ?",
                (begun_at, watermark, number),
            )
            database.execute("DELETE FROM deleted WHERE account = ?", (number,))
            return self._coverage(number)

    def save_page(
        self, account: bytes, pass_number: int, runs: Sequence[RunFacts], floor: float, token: str | None
    ) -> Coverage:
        """Keep the next page of a pass. If another process began a new pass, coverage stays as it says."""
        with self._transaction() as database:
            number = self._save(account, runs)
            if self._coverage(number).number == pass_number:
                database.execute("UPDATE accounts SET floor = ?, token = ? WHERE number = ?", (floor, token, number))
                if floor == -float("inf"):
                    database.execute("DELETE FROM runs WHERE account = ? AND seen <> ?", (number, pass_number))
            return self._coverage(number)

    def save_changes(self, account: bytes, runs: Sequence[RunFacts], watermark: float = -float("inf")) -> None:
        """Keep runs that changed; with a watermark, all changes up to it are known now."""
        with self._transaction() as database:
            number = self._save(account, runs)
            database.execute("UPDATE accounts SET watermark = max(watermark, ?) WHERE number = ?", (watermark, number))

    def save_listed(self, account: bytes, runs: Sequence[RunFacts]) -> None:
        """Keep runs of a list that was read apart from a pass, so that what they show in full can be kept too."""
        with self._transaction():
            self._save(account, [run for run in runs if run.id and run.created and run.updated], in_pass=False)

    def invalidate(self, account: bytes, run_ids: Sequence[str]) -> None:
        """Remove what runs showed in full: an event says that they changed."""
        with self._transaction() as database:
            for action in ("DELETE FROM details", "UPDATE runs SET step = NULL, reason = NULL"):
                database.execute(
                    f"{action} WHERE number IN (SELECT runs.number FROM {_BY_IDS})",
                    (json.dumps(list(run_ids)), account),
                )

    def forget(self, account: bytes, run_id: str, deleted: bool) -> None:
        """Remove a run that the API no longer has; one that was deleted never returns, even if an older page has it."""
        with self._transaction() as database:
            found = database.execute("SELECT number FROM accounts WHERE fingerprint = ?", (account,)).fetchone()
            if found is None:
                return
            database.execute("DELETE FROM runs WHERE account = ? AND id = ?", (found[0], run_id))
            if deleted:
                database.execute("INSERT OR IGNORE INTO deleted VALUES (?, ?)", (found[0], run_id))

    def select(self, account: bytes, wanted: Selection) -> list[RunFacts]:
        """Return the held runs, newest first; only those that the current pass, or a change since, has shown."""
        return self._runs(account, wanted)

    def unread(
        self, account: bytes, wanted: Selection, most: int = -1, *, final: bool = True, without: str | None = None
    ) -> list[RunFacts]:
        """Return the newest runs that were not read in full, without those that had to make room.

        ``final`` is for those in a final state, whose details can be kept, or the others; ``without`` for those
        alone whose ``step`` or ``reason`` is not known in another way either.
        """
        condition = (
            f"status {'' if final else 'NOT'} IN {FINISHED} AND created > details_floor"
            " AND NOT EXISTS (SELECT 1 FROM details WHERE number = runs.number)"
            f"{f' AND {without} IS NULL' if without else ''}"
        )
        return self._runs(account, wanted, condition, most)

    def read_counts(self, account: bytes, wanted: Selection) -> ReadCounts:
        """Count the held runs, and those that were read in full."""
        columns = f"count(*), count(details.number), coalesce(sum(cut), 0), coalesce(sum(status NOT IN {FINISHED}), 0)"
        [counts] = self._query(columns, account, wanted, f"LEFT {_WITH_DETAILS}")
        return ReadCounts(*counts)

    def save_details(self, account: bytes, found: Sequence[tuple[RunFacts, RunDetails]]) -> None:
        """Keep what final runs showed that were read in full, until they change; each as it was held before."""
        with self._transaction() as database:
            for run, details in found:
                row = database.execute(
                    "SELECT runs.number FROM accounts JOIN runs ON account = accounts.number"
                    " WHERE fingerprint = ? AND id = ? AND status = ? AND updated = ?",
                    (account, run.id, details.status, _stored(run.updated)),
                ).fetchone()
                if row is None or not is_finished(details.status):
                    continue
                cause = map(_stored, (details.step, details.reason))
                database.execute("UPDATE runs SET step = ?, reason = ? WHERE number = ?", (*cause, *row))
                database.execute("DELETE FROM details WHERE number = ?", row)
                database.execute("INSERT INTO details VALUES (?, ?, ?, ?, ?)", (*row, *pack(details), details.is_cut))

    def causes(self, account: bytes, run_ids: Sequence[str]) -> dict[str, tuple[str | None, str]]:
        """Return the failing step, where that is known, and the reason of failed runs, by id."""
        with self._transaction("BEGIN") as database:
            asked = (json.dumps(list(run_ids)), account)
            rows = database.execute(f"SELECT runs.id, step, reason FROM {_BY_IDS} WHERE reason IS NOT NULL", asked)
            return {run_id: (step, reason) for run_id, step, reason in rows}

    def save_causes(self, account: bytes, found: Sequence[tuple[RunFacts, str | None, str]]) -> None:
        """Keep the failing step and the reason of failed runs that were not read in full; each run as it was held."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE runs SET step = ?, reason = ?"
                " WHERE account = (SELECT number FROM accounts WHERE fingerprint = ?)"
                " AND id = ? AND status = 'FAILED' AND updated = ? AND step IS NULL",
                [
                    (_stored(step), _stored(reason), account, run.id, _stored(run.updated))
                    for run, step, reason in found
                    if run.updated
                ],
            )

    def details(self, account: bytes, run_ids: Sequence[str]) -> dict[str, RunDetails]:
        """Return what is kept of runs that were read in full, by id, without their texts."""
        with self._transaction("BEGIN") as database:
            rows = database.execute(
                f"SELECT runs.id, status, metadata, facts FROM {_BY_IDS} {_WITH_DETAILS}",
                (json.dumps(list(run_ids)), account),
            )
            return {run_id: unpack(status, metadata, facts, None) for run_id, status, metadata, facts in rows}

    def metadata(self, account: bytes, wanted: Selection, key: str) -> dict[str, str | None]:
        """Return a key's value of each run that was read in full, by the run's id; None where it is not set."""
        value = "(SELECT value FROM json_each(details.metadata) WHERE key = :key)"
        return dict(self._query(f"runs.id, {value}", account, wanted, _WITH_DETAILS, key=key))

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
        keys = "".join(f", {_GROUPS.get(name, name)}" for name in by)
        # The index of times leads through the table by chance: without a first day, its own order is faster.
        hint = "" if wanted.since else "NOT INDEXED"
        span = cache(span)
        place = by.index("quarter_hour") if "quarter_hour" in by else None
        found: dict[tuple[Any, ...], Tally] = {}
        for status, duration, queue, spent, *group in self._query(
            f"status, duration, queue, credits{keys}", account, wanted, hint=hint, metadata_key=metadata_key
        ):
            if place is not None:
                group[place] = span(group[place])
            tally = found.get(key := tuple(group))
            if tally is None:
                tally = found[key] = Tally()
            tally.count(status, duration, queue, spent)
        return found

    def course(self, account: bytes, wanted: Selection) -> list[tuple[int, int, int]]:
        """Return how many runs were created, and failed, by quarters of an hour since 1970."""
        counts = f"{_GROUPS['quarter_hour']}, count(*), sum(status = 'FAILED')"
        return list(self._query(counts, account, wanted, rest="GROUP BY 1"))

    def oldest(self, account: bytes, wanted: Selection) -> dict[str, Waiting]:
        """Return the run of each status in which runs wait that was created first."""
        first = f"AND status IN {WAITING} GROUP BY status"
        rows = self._query("status, runs.id, min(created)", account, wanted, rest=first)
        return {status: Waiting(run_id, _moment(created)) for status, run_id, created in rows}

    def first_created(self, account: bytes, wanted: Selection) -> datetime | None:
        """Return when the first of the held runs was created that a selection would hold without its times."""
        [(created,)] = self._query("min(created)", account, replace(wanted, since=None, before=None))
        return None if created is None else _moment(created)

    def workflow_names(self, account: bytes) -> dict[str, str]:
        """Return the names of the workflows of held runs, by id."""
        with self._transaction("BEGIN") as database:
            names = "SELECT id, name FROM workflows JOIN accounts ON number = account WHERE fingerprint = ?"
            return dict(database.execute(names, (account,)))

    def search(
        self, account: bytes, wanted: Selection, query: Query | None, is_late: Callable[[], bool] = lambda: False
    ) -> SearchResult:
        """Find runs whose file names, reviewer's note or details hold a text, newest first, until time is up.

        Without a query that is every run that ``wanted`` selects.
        """
        if query is None:
            runs = self._runs(account, wanted, most=_MOST_HITS + 1)
            return SearchResult([Hit(run, None) for run in runs[:_MOST_HITS]], len(runs) > _MOST_HITS)
        hits: dict[str, Hit] = {}
        ended_early = False
        with self._transaction("BEGIN") as database:
            for run in self._runs(account, wanted, "(files LIKE :like OR note LIKE :like)", like=query.like):
                if passage := query.first(list_passages(run)):
                    hits[run.id] = Hit(run, passage)
            indexed = query.expression if self._has_index else None
            matches = "AND details.number IN (SELECT rowid FROM words WHERE words MATCH :expression)" if indexed else ""
            order = f"{matches} {_NEWEST_FIRST}"
            for (number,) in self._query(
                "details.number", account, wanted, _WITH_DETAILS, rest=order, expression=indexed
            ):
                ended_early = is_late() or len(hits) > _MOST_HITS
                if ended_early:
                    break
                packed = database.execute(
                    "SELECT status, metadata, facts, texts FROM runs JOIN details USING (number) WHERE number = ?",
                    (number,),
                ).fetchone()
                if passage := query.first(unpack(*packed).passages()):
                    [run] = self._runs(account, wanted, "runs.number = :number", number=number)
                    hits.setdefault(run.id, Hit(run, passage))
        newest = sorted(hits.values(), key=lambda hit: (_stored(hit.run.created), hit.run.id), reverse=True)
        return SearchResult(newest[:_MOST_HITS], ended_early or len(newest) > _MOST_HITS)

    def trim(self, account: bytes) -> None:
        """Make room: the account that was asked for least recently leaves first, then this account's oldest runs."""
        with self._transaction():
            own = self._number(account, 0.0)
            for make_room in (self._remove_other, self._remove_details, self._remove_runs):
                while self._is_over() and make_room(own):
                    pass

    def clear(self) -> tuple[int, int]:
        """Remove everything from the disk; return how many runs and accounts there were."""
        with self._transaction() as database:
            counts = self._count("runs"), self._count("accounts")
            for table in (*TABLES, "accounts"):
                database.execute(f"DELETE FROM {table}")
            self._tell_index("delete-all")
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts

    def _runs(
        self, account: bytes, wanted: Selection, condition: str = "TRUE", most: int = -1, **more: Any
    ) -> list[RunFacts]:
        order = f"AND {condition} {_NEWEST_FIRST} LIMIT :most"
        runs = []
        for row in self._query(_FACTS, account, wanted, rest=order, most=most, **more):
            facts = list(row)
            for place in _TIMES:
                facts[place] = None if row[place] is None else _moment(row[place])
            runs.append(RunFacts(*facts))
        return runs

    def _query(
        self,
        columns: str,
        account: bytes,
        wanted: Selection,
        join: str = "",
        *,
        hint: str = "",
        rest: str = "",
        **values: Any,
    ) -> Iterator[Any]:
        """Iterate over columns of the runs that the current pass has shown; ``rest`` follows the condition for them."""
        parts = ["fingerprint = :account AND seen = pass AND created > floor"]
        values["account"] = account
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
        with self._transaction("BEGIN") as database:
            yield from database.execute(
                f"SELECT {columns} FROM accounts JOIN runs {hint} ON account = accounts.number {join}"
                f" WHERE {' AND '.join(parts)} {rest}",
                values,
            )

    def _number(self, account: bytes, now: float) -> int:
        self._database.execute(
            "INSERT OR IGNORE INTO accounts (fingerprint, asked_at, pass, floor, is_full) VALUES (?, ?, 0, 9e999, 0)",
            (account, now),
        )
        found = self._database.execute("SELECT number FROM accounts WHERE fingerprint = ?", (account,)).fetchone()
        return int(found[0])

    def _coverage(self, number: int) -> Coverage:
        facts = self._database.execute(
            "SELECT pass, pass_at, floor, token, watermark, is_full FROM accounts WHERE number = ?", (number,)
        ).fetchone()
        return Coverage(*facts)

    def _save(self, account: bytes, runs: Sequence[RunFacts], *, in_pass: bool = True) -> int:
        """Keep runs, which must have ids and times; return the account's number."""
        number, database = self._number(account, 0.0), self._database
        columns = _COLUMNS.values()
        rows = [(number, in_pass, *map(_stored, _listed_facts(run))) for run in runs]
        # What is held may be newer than this page: another process may have read the run since.
        database.executemany(
            f"INSERT INTO runs (account, {', '.join(columns)}, seen)"
            f" SELECT number, {', '.join(f'?{place}' for place in range(3, len(columns) + 3))}, iif(?2, pass, -1)"
            " FROM accounts WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM deleted WHERE account = ?1 AND id = ?3)"
            f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns if name != 'id')},"
            " seen = max(seen, excluded.seen) WHERE excluded.updated >= updated",
            rows,
        )
        if in_pass:
            database.executemany(
                "UPDATE runs SET seen = (SELECT pass FROM accounts WHERE number = ?1) WHERE account = ?1 AND id = ?2",
                [(number, run.id) for run in runs],
            )
        names = {(number, run.workflow_id, _stored(run.workflow_name)) for run in runs}
        database.executemany("INSERT OR REPLACE INTO workflows VALUES (?, ?, ?)", names)
        return number

    def _remove_other(self, own: int) -> bool:
        """Remove the account that was asked for least recently, but for one; return whether there was any."""
        other = self._database.execute(
            "SELECT number FROM accounts WHERE number <> ? ORDER BY asked_at LIMIT 1", (own,)
        ).fetchone()
        if other is None:
            return False
        for table in TABLES:
            self._database.execute(f"DELETE FROM {table} WHERE account = ?", other)
        self._database.execute("DELETE FROM accounts WHERE number = ?", other)
        self._tell_index("optimize")
        return True

    def _remove_details(self, own: int) -> bool:
        """Remove what the older half of an account's runs that were read in full showed; return whether any did."""
        kept = "SELECT created, details.number FROM runs JOIN details USING (number) WHERE account = ?1"
        [(edge,)] = self._database.execute(
            f"SELECT max(created) FROM ({kept} ORDER BY created LIMIT (SELECT count(*) + 1 FROM ({kept})) / 2)", (own,)
        )
        if edge is None:
            return False
        self._database.execute(
            f"DELETE FROM details WHERE number IN (SELECT number FROM ({kept}) WHERE created <= ?2)", (own, edge)
        )
        self._database.execute(
            "UPDATE accounts SET details_floor = max(details_floor, ?2) WHERE number = ?1", (own, edge)
        )
        self._tell_index("optimize")
        return True

    def _remove_runs(self, own: int) -> bool:
        """Remove a tenth of an account's runs, or as many as are too many; return whether there were any."""
        count = self._count("runs")
        [(edge,)] = self._database.execute(
            "SELECT max(created) FROM (SELECT created FROM runs WHERE account = ? ORDER BY created LIMIT ?)",
            (own, max(count // 10, count - self._limits.rows)),
        )
        if edge is None:
            return False
        self._database.execute("DELETE FROM runs WHERE account = ? AND created <= ?", (own, edge))
        self._database.execute(
            "UPDATE accounts SET floor = max(floor, ?), token = NULL, is_full = 1 WHERE number = ?", (edge, own)
        )
        return True

    def _tell_index(self, command: str) -> None:
        # An entry that was deleted takes room until its part of the index is written again.
        if self._has_index:
            self._database.execute("INSERT INTO words (words) VALUES (?)", (command,))

    def _is_over(self) -> bool:
        pages, unused, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - unused) * size > self._limits.bytes or self._count("runs") > self._limits.rows

    def _count(self, table: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


_listed_facts = attrgetter(*_COLUMNS)


def _stored(value: Any) -> Any:
    """Return a fact as a column holds it: a time as Unix seconds, and a text without lone surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return value.timestamp() if isinstance(value, datetime) else value


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
