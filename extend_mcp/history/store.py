"""Keep runs in SQLite: in memory, or in a file that several processes share.

Every account has its own rows, under a fingerprint that only its API key can make. All methods block: call them on a
worker thread, one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any, Final, NamedTuple

from extend_mcp.history.database import MEMORY, Database
from extend_mcp.history.details import RunDetails, unpack
from extend_mcp.history.search import Hit, TextQuery, list_passages
from extend_mcp.runs.groups import Grouping
from extend_mcp.runs.lifecycle import FINISHED, is_finished
from extend_mcp.runs.statistics import QUARTER, WAITING, RunFacts, Selection, Statistics, Waiting

_LISTED: Final = [name for name in RunFacts._fields if name not in ("workflow_name", "step", "reason")]
"""The facts of a run that its list entry shows, but the name of the workflow; each has a column."""

_FACTS: Final = ", ".join(RunFacts._fields).replace(
    "workflow_name",
    "coalesce((SELECT name FROM workflows WHERE account = runs.account AND workflows.id = workflow_id), '')",
)
_TIMES: Final = [RunFacts._fields.index(name) for name in ("created", "updated", "reviewed")]
_CONDITIONS: Final = {
    "since": "created >= :since",
    "before": "created < :before",
    # One status, or several with commas.
    "status": "instr(',' || :status || ',', ',' || status || ',')",
    "workflow_id": "workflow_id = :workflow_id",
    "batch": "batch_id = :batch",
    "version": "version = :version",
    "file_id": "instr(char(10) || files, char(10) || :file_id || char(9))",
    "metadata": "EXISTS (SELECT 1 FROM details AS full WHERE full.number = runs.number AND NOT EXISTS"
    " (SELECT key, value FROM json_each(:metadata) EXCEPT SELECT key, value FROM json_each(full.metadata)))",
}
"""A condition for each field of `Selection`."""

_COMPUTED: Final = {
    **dict.fromkeys(("quarter", "day", "hour"), f"CAST(created / {QUARTER} AS INTEGER)"),
    "is_read": "EXISTS (SELECT 1 FROM details WHERE number = runs.number)",
    "metadata": "(SELECT value FROM details AS full, json_each(full.metadata) WHERE full.number = runs.number"
    " AND key = :metadata_key)",
}
"""The facts that groups are made of and that are no columns. Days of any time zone are whole quarters of an hour."""

_BY_IDS: Final = (
    "json_each(?) AS wanted JOIN accounts ON fingerprint = ?"
    " JOIN runs ON account = accounts.number AND runs.id = wanted.value"
)
"""Runs by a JSON list of ids and the account."""

_WITH_DETAILS: Final = "JOIN details ON details.number = runs.number"
_NEWEST_FIRST: Final = "ORDER BY created DESC, runs.id DESC"
_MOST_HITS: Final = 500

_TOO_LARGE: Final = (
    "(SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size)"
    " > :bytes"
)
_TOO_MANY: Final = "(SELECT count(*) FROM runs) > :rows"
_REMOVE_OTHER: Final = (
    "DELETE FROM accounts WHERE number ="
    " (SELECT number FROM accounts WHERE number <> :own ORDER BY asked_at, number LIMIT 1)"
)
_LEAVE_OUT_DETAILS: Final = (
    "UPDATE accounts SET details_floor = coalesce((SELECT max(created) FROM (SELECT created FROM runs JOIN details"
    " USING (number) ORDER BY created LIMIT (SELECT (count(*) + 1) / 2 FROM details))), details_floor)"
)
_REMOVE_DETAILS: Final = (
    "DELETE FROM details WHERE number IN"
    " (SELECT number FROM runs WHERE created <= (SELECT details_floor FROM accounts))"
)
_LEAVE_OUT_RUNS: Final = (
    "UPDATE accounts SET token = NULL, is_full = 1, floor = max(floor, coalesce((SELECT max(created) FROM"
    " (SELECT created FROM runs ORDER BY created LIMIT"
    " (SELECT max(count(*) / 10 + 1, count(*) - :rows) FROM runs))), floor))"
)
_MAKE_ROOM: Final = (
    (f"{_TOO_LARGE} OR {_TOO_MANY}", (_REMOVE_OTHER,)),
    (_TOO_LARGE, (_LEAVE_OUT_DETAILS, _REMOVE_DETAILS)),
    (
        f"{_TOO_LARGE} OR {_TOO_MANY}",
        (_LEAVE_OUT_RUNS, "DELETE FROM runs WHERE created <= (SELECT floor FROM accounts)"),
    ),
)
"""Statements that make room, in order: another account, the older half of what was read in full, a tenth of the runs.

The last statement says whether anything left. Once the second runs, only one account is left.
"""


class KeptLimits(NamedTuple):
    """Bounds of the store, over all accounts."""

    rows: int = 500_000
    bytes: int = 160_000_000


class Coverage(NamedTuple):
    """The part of an account that the store holds. Times are in Unix seconds."""

    account: int  # its number in the store
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


class RunStore(Database):
    """The kept runs of all accounts, in a file or in `MEMORY`; see `Database`."""

    def __init__(self, path: str = MEMORY, limits: KeptLimits | None = None) -> None:
        super().__init__(path)
        self._limits = limits or KeptLimits()

    def coverage(self, account: bytes, now: float = 0.0) -> Coverage:
        """Return what is held of an account, and note that it was asked for."""
        with self._transaction() as database:
            found = database.execute(
                "INSERT INTO accounts (fingerprint, asked_at) VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET asked_at = max(asked_at, excluded.asked_at)"
                " RETURNING number, pass, pass_at, floor, token, watermark, is_full",
                (account, now),
            )
            return Coverage(*found.fetchone())

    def begin_pass(self, account: bytes, begun_at: float, watermark: float) -> Coverage:
        """Start over: what was held counts again once it was read again."""
        with self._transaction() as database:
            number = self.coverage(account).account
            database.execute(
                "UPDATE accounts SET pass = pass + 1, pass_at = ?, floor = 9e999, token = NULL, watermark = ?,"
                " is_full = 0, details_floor = -9e999 WHERE number = ?",
                (begun_at, watermark, number),
            )
            database.execute("DELETE FROM deleted WHERE account = ?", (number,))
            return self.coverage(account)

    def save_page(
        self, account: bytes, pass_number: int, runs: Sequence[RunFacts], floor: float, token: str | None
    ) -> Coverage:
        """Keep the next page of a pass. If another process began a new pass, coverage stays as it says."""
        with self._transaction() as database:
            held = self._save(account, runs)
            if held.number == pass_number:
                database.execute(
                    "UPDATE accounts SET floor = ?, token = ? WHERE number = ?", (floor, token, held.account)
                )
                if floor == -float("inf"):
                    database.execute("DELETE FROM runs WHERE account = ? AND seen <> ?", (held.account, pass_number))
            return self.coverage(account)

    def save_changes(self, account: bytes, runs: Sequence[RunFacts], watermark: float = -float("inf")) -> None:
        """Keep runs as they were just listed; with a watermark, all changes up to it are known now."""
        with self._transaction() as database:
            number = self._save(account, runs).account
            database.execute("UPDATE accounts SET watermark = max(watermark, ?) WHERE number = ?", (watermark, number))

    def invalidate(self, account: bytes, run_ids: Sequence[str]) -> None:
        """Remove what runs showed in full: an event says that they changed."""
        with self._transaction() as database:
            for action in ("DELETE FROM details", "UPDATE runs SET step = NULL, reason = NULL"):
                database.execute(
                    f"{action} WHERE number IN (SELECT runs.number FROM {_BY_IDS})", (json.dumps(run_ids), account)
                )

    def forget(self, account: bytes, run_id: str, deleted: bool) -> None:
        """Remove a run that the API no longer has; one that was deleted never returns, even if an older page has it."""
        with self._transaction() as database:
            number = self.coverage(account).account
            database.execute("DELETE FROM runs WHERE account = ? AND id = ?", (number, run_id))
            if deleted:
                database.execute("INSERT OR IGNORE INTO deleted VALUES (?, ?)", (number, run_id))

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
                    f"SELECT runs.number FROM {_BY_IDS} WHERE status = ? AND updated = ?",
                    (json.dumps([run.id]), account, details.status, _stored(run.updated)),
                ).fetchone()
                if row and is_finished(details.status):
                    cause = map(_stored, (details.step, details.reason))
                    database.execute("UPDATE runs SET step = ?, reason = ? WHERE number = ?", (*cause, *row))
                    database.execute("DELETE FROM details WHERE number = ?", row)
                    database.execute(
                        "INSERT INTO details VALUES (?, ?, ?, ?, ?)", (*row, *details.pack(), details.is_cut)
                    )

    def causes(self, account: bytes, run_ids: Sequence[str]) -> dict[str, tuple[str | None, str]]:
        """Return the failing step, where that is known, and the reason of failed runs, by id."""
        with self._transaction("BEGIN") as database:
            asked = (json.dumps(run_ids), account)
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
                ],
            )

    def details(self, account: bytes, run_ids: Sequence[str]) -> dict[str, RunDetails]:
        """Return what is kept of runs that were read in full, by id, without their texts."""
        with self._transaction("BEGIN") as database:
            asked = (json.dumps(run_ids), account)
            rows = database.execute(f"SELECT runs.id, facts, metadata FROM {_BY_IDS} {_WITH_DETAILS}", asked)
            return {run_id: unpack(*packed) for run_id, *packed in rows}

    def metadata(self, account: bytes, wanted: Selection, key: str) -> dict[str, str | None]:
        """Return a key's value of each run that was read in full, by the run's id; None where it is not set."""
        value = "(SELECT value FROM json_each(details.metadata) WHERE key = :key)"
        return dict(self._query(f"runs.id, {value}", account, wanted, _WITH_DETAILS, key=key))

    def figures(
        self, account: bytes, wanted: Selection, grouping: Grouping, metadata_key: str | None = None
    ) -> Statistics:
        """Count the held runs by groups, one of which may be the values of a metadata key."""
        facts = ["status", "quarter", "duration_seconds", "queue_seconds", "credits", *grouping.columns]
        columns = ", ".join(_COMPUTED.get(name, name) for name in facts)
        # The index of times leads through the table by chance: without a first day, its own order is faster.
        hint = "" if wanted.since else "NOT INDEXED"
        with self._transaction("BEGIN") as database:
            names = "SELECT id, name FROM workflows JOIN accounts ON number = account WHERE fingerprint = ?"
            rows = self._query(columns, account, wanted, hint=hint, metadata_key=metadata_key)
            found = grouping.count(rows, dict(database.execute(names, (account,))))
            oldest = f"AND status IN {WAITING} GROUP BY status"
            for status, run_id, created in self._query("status, runs.id, min(created)", account, wanted, rest=oldest):
                found.oldest[status] = Waiting(run_id, moment_of(created))
        return found

    def first_created(self, account: bytes, wanted: Selection) -> datetime | None:
        """Return when the first of the held runs was created that a selection would hold without its times."""
        [(created,)] = self._query("min(created)", account, replace(wanted, since=None, before=None))
        return None if created is None else moment_of(created)

    def search(
        self, account: bytes, wanted: Selection, query: TextQuery | None, is_late: Callable[[], bool] = lambda: False
    ) -> SearchResult:
        """Find runs whose file names, reviewer's note or details hold a text, newest first, until time is up.

        Without a query that is every run that ``wanted`` selects.
        """
        condition, hits, is_cut = "TRUE", list[Hit](), False
        if query is not None:
            matching = "SELECT rowid FROM words WHERE words MATCH :expression"
            texts = matching if query.expression else "SELECT number FROM details"
            condition = f"(files LIKE :like OR note LIKE :like OR runs.number IN ({texts}))"
        order = f"AND {condition} {_NEWEST_FIRST}"
        values: dict[str, Any] = {"like": query.like, "expression": query.expression} if query else {}
        with self._transaction("BEGIN") as database:
            for *facts, number in self._query(f"{_FACTS}, runs.number", account, wanted, rest=order, **values):
                run, passage = _run(facts), None
                if query is not None and (passage := query.first(list_passages(run))) is None:
                    is_cut = is_cut or is_late()
                    read = "SELECT facts, metadata, texts FROM details WHERE number = ?"
                    packed = None if is_cut else database.execute(read, (number,)).fetchone()
                    passage = query.first(unpack(*packed).passages()) if packed else None
                if query is None or passage is not None:
                    if len(hits) == _MOST_HITS:
                        return SearchResult(hits, True)
                    hits.append(Hit(run, passage))
        return SearchResult(hits, is_cut)

    def trim(self, account: bytes) -> None:
        """Make room: the account that was asked for least recently leaves first, then this account's oldest runs."""
        with self._transaction() as database:
            values = {"own": self.coverage(account).account, **self._limits._asdict()}
            for is_over, statements in _MAKE_ROOM:
                while database.execute(f"SELECT {is_over}", values).fetchone()[0]:
                    if not [database.execute(statement, values).rowcount for statement in statements][-1]:
                        break
                    # An entry that was deleted takes room until its part of the index is written again.
                    database.execute("INSERT INTO words (words) VALUES ('optimize')")

    def clear(self) -> tuple[int, int]:
        """Remove everything from the disk; return how many runs and accounts there were."""
        with self._transaction() as database:
            [counts] = database.execute("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM accounts)")
            database.execute("DELETE FROM accounts")
            database.execute("INSERT INTO words (words) VALUES ('delete-all')")
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts  # type: ignore[no-any-return]

    def _runs(self, account: bytes, wanted: Selection, condition: str = "TRUE", most: int = -1) -> list[RunFacts]:
        order = f"AND {condition} {_NEWEST_FIRST} LIMIT :most"
        return [_run(row) for row in self._query(_FACTS, account, wanted, rest=order, most=most)]

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
            if (value := getattr(wanted, name)) not in (None, {}):
                parts.append(condition)
                values[name] = json.dumps(dict(value)) if isinstance(value, Mapping) else value
        with self._transaction("BEGIN") as database:
            yield from database.execute(
                f"SELECT {columns} FROM accounts JOIN runs {hint} ON account = accounts.number {join}"
                f" WHERE {' AND '.join(parts)} {rest}",
                values,
            )

    def _save(self, account: bytes, runs: Sequence[RunFacts]) -> Coverage:
        """Keep runs that have an id and times; return what is held of the account."""
        runs = [run for run in runs if run.id and run.created and run.updated]
        held, database = self.coverage(account), self._database
        gone = {run_id for (run_id,) in database.execute("SELECT id FROM deleted WHERE account = ?", (held.account,))}
        # What is held may be newer than this page: another process may have read the run since.
        database.executemany(
            f"INSERT INTO runs (account, {', '.join(_LISTED)}) VALUES (?{', ?' * len(_LISTED)})"
            f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _LISTED)}"
            " WHERE excluded.updated >= updated",
            [(held.account, *map(_stored, _listed_facts(run))) for run in runs if run.id not in gone],
        )
        database.executemany(
            "UPDATE runs SET seen = ? WHERE account = ? AND id = ?",
            [(held.number, held.account, run.id) for run in runs],
        )
        names = {(held.account, run.workflow_id, _stored(run.workflow_name)) for run in runs}
        database.executemany("INSERT OR REPLACE INTO workflows VALUES (?, ?, ?)", names)
        return held


_listed_facts = attrgetter(*_LISTED)


def _stored(value: Any) -> Any:
    """Return a fact as a column holds it: a time as Unix seconds, and a text without lone surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return value.timestamp() if isinstance(value, datetime) else value


def _run(row: Sequence[Any]) -> RunFacts:
    facts = list(row)
    for place in _TIMES:
        facts[place] = None if row[place] is None else moment_of(row[place])
    return RunFacts(*facts)


def moment_of(seconds: float) -> datetime:
    """Return the time of a column."""
    return datetime.fromtimestamp(seconds, timezone.utc)
