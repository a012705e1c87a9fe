"""Find the runs that a rerun is worth sending for, and say what is left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from extend_mcp.actions.spend import UsualCredits, usual_credits
from extend_mcp.api.errors import NotFoundError
from extend_mcp.clock import CLOCK_SKEW
from extend_mcp.runs.failures import RERUN_OF, created_first, failures_of, file_is_at_fault, later_runs, retry_advice
from extend_mcp.runs.statistics import RunFacts, run_facts
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.tools.run_filter import RunFilter
from extend_mcp.tools.run_scan import Insight, RunReader
from extend_mcp.tools.workflows import read_published, resolve_version
from extend_mcp.views.actions import MOST_IDS, skipped_words, workflow_words
from extend_mcp.views.document import counted, listed
from extend_mcp.views.untrusted import Code, Id, Name

CAN_RERUN: Final = frozenset({"FAILED", "CANCELLED", "REJECTED"})

_ADVICE: Final = {
    "REJECTED": "a person rejected it",
    "CANCELLED": "somebody cancelled it",
    "PROCESSED": "the new version may give other results",
}

_MOST_CAUSES = 8
_SEVERAL = 3

_FILES_A_MINUTE = ((75, 300), (25, 120), (0, 80))
"""Files that Extend processes in a minute, by the requests per second of the same plan (Extend docs, Rate Limits)."""

_CHECK_SECONDS: Final = 5.0
"""Kept for looking for reruns, without which no run is planned."""


@dataclass(frozen=True)
class Wanted:
    """The runs that a call wants to rerun."""

    run_ids: list[str] | None = None  # the runs; None to take those that ``filters`` selects
    filters: RunFilter = field(default_factory=RunFilter)  # selects the runs; resolved
    # ``newest`` for the latest published one, ``same`` for the one that each run used; or a number, ``draft`` or an id.
    version: str = "newest"
    again: bool = False  # True to rerun also what was rerun before
    include_processed: bool = False  # True to rerun also what was PROCESSED, with a newer version
    include_hopeless: bool = False  # True to rerun also where the file itself is at fault
    priority: int | None = None  # the priority of the new runs; None for Extend's default

    @property
    def statuses(self) -> frozenset[str]:
        """The statuses of the runs to rerun."""
        if self.filters.status:
            return frozenset(self.filters.statuses)
        broad = self.run_ids is not None or self.filters == RunFilter(batch=self.filters.batch)
        return (CAN_RERUN if broad else frozenset({"FAILED"})) | ({"PROCESSED"} if self.include_processed else set())


@dataclass
class Found:
    """The runs of a plan, and what its person must know."""

    planned: list[Insight] = field(default_factory=list)  # the runs, the oldest first
    # The version to send for each workflow; None for the latest published one.
    versions: dict[str, str | None] = field(default_factory=dict)
    # The number of the latest published version of each workflow, where it was read.
    newest: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)  # how many runs were left out, by reason
    reruns: dict[str, str] = field(default_factory=dict)  # the newest rerun of each run that has one
    missing: list[str] = field(default_factory=list)  # what could not be read
    looked_at: datetime | None = None  # reruns created before it are known
    # The usual credits a file of each workflow; None where no run says so.
    usual: dict[str, UsualCredits | None] = field(default_factory=dict)
    recent: tuple[str, ...] = ()  # runs so new that one might take them for reruns of the plan
    later: Sequence[RunFacts] = ()  # all runs of the time since the oldest planned run that were read

    def question(self, wanted: Wanted, requests_per_second: int) -> list[str]:
        """Return the question: the causes and whether a rerun helps, what it costs, and what was left out.

        There is at least one run. ``requests_per_second`` is the limit of the account's plan.
        """
        runs, groups = [each.run for each in self.planned], defaultdict[tuple[str, str, str], list[RunFacts]](list)
        for run, cause, _ in self.planned:
            groups[run.status, cause.reason if cause else "", cause.where if cause else ""].append(run)
        causes = sorted(groups.items(), key=lambda each: -len(each[1]))
        words = {"same": "the version that each used", "newest": "the latest published version"}
        version = words.get(wanted.version) or f"version {Code(wanted.version)}"
        if len(self.newest) == 1:
            version += f" ({Code(next(iter(self.newest.values())))})"
        lines = [f"Rerun {counted(len(runs), 'workflow run')} with {version}? You will be charged credits again."]
        if processed := sum(run.status == "PROCESSED" for run in runs):
            lines.append(
                f"WARNING: {processed:,} of them succeeded before. Rerunning them costs credits a second time, and "
                "every receiver of webhooks gets their events again, as for new documents."
            )
        lines += [self._cause_line(*cause, failed) for cause, failed in causes[:_MOST_CAUSES]]
        if others := causes[_MOST_CAUSES:]:
            lines.append(f"- {sum(len(failed) for _, failed in others):,} of {len(others)} other causes")
        created = [format_instant(run.created) if run.created else "?" for run in (runs[0], runs[-1])]
        files = sum(len(run.file_ids) for run in runs)
        rate = next(rate for least, rate in _FILES_A_MINUTE if requests_per_second >= least)
        costs = [usual.a_file * len(run.file_ids) for run in runs if (usual := self.usual.get(run.workflow_id))]
        cost = f"usually {sum(costs):,.10g} credits" if costs else "usual credits unknown"
        if 0 < len(costs) < len(runs):
            cost += f" for {len(costs):,} of the runs (unknown for the others)"
        priority = "50 (Extend's default)" if wanted.priority is None else f"{wanted.priority}"
        duration = format_span(60 * files / rate)
        # Few that many do not push out the causes, and all of a few.
        shown = len(runs) if len(runs) <= MOST_IDS else 2
        workflows = workflow_words(run.workflow_name for run in runs)
        lines += [
            f"Workflows: {workflows}; created {' to '.join(created[: len(runs)])}",
            f"{counted(files, 'file')}, priority {priority}, {cost}, about {duration} at {rate} files a minute",
            f"Runs: {listed([Id(run.id) for run in runs], shown)}",
        ]
        return [*lines, f"Left out: {skipped_words(self.skipped)}"] if self.skipped else lines

    def _cause_line(self, status: str, reason: str, step: str, runs: Sequence[RunFacts]) -> str:
        why = status if status != "FAILED" else reason or "FAILED without a reason"
        where = f" in {Name(step):60}" if step else ""
        versions = {run.version for run in runs}
        version = f" with version {Code(versions.pop())}" if len(versions) == 1 else ""
        last = {run.workflow_id: created_first(run) for run in sorted(runs, key=created_first)}
        good = sum(
            run.status == "PROCESSED" and run.workflow_id in last and created_first(run) > last[run.workflow_id]
            for run in self.later
        )
        since = f"{counted(good, 'later run')} went well" if good else "no later run went well"
        # Other documents say nothing of the one that failed.
        since += ", so it may be over" if good and len(runs) >= _SEVERAL else ""
        advice = _ADVICE.get(status) or retry_advice(reason)
        return f"- {len(runs):,} {Code(why):60}{where}{version}: {advice}; {since}"


async def find_reruns(reader: RunReader, wanted: Wanted) -> Found:
    """Read the runs that are wanted, and keep those that a rerun can help and that have none yet."""
    app, found = reader.app, Found()
    reader.extend(reader.left - _CHECK_SECONDS)
    seen = await _read(reader, wanted, found)
    reader.extend(reader.left + _CHECK_SECONDS)
    good: list[Insight] = []
    for each in sorted(seen, key=lambda each: created_first(each.run)):
        if each.run.status not in wanted.statuses:
            found.skipped[_why_not(each.run.status)] += 1
        elif not each.run.workflow_id or not each.run.file_ids or "" in each.run.file_ids:
            found.skipped["without a known file or workflow"] += 1
        elif each.cause and file_is_at_fault(each.cause.reason) and not wanted.include_hopeless:
            found.skipped[f"{Code(each.cause.reason)}: the file fails again"] += 1
        else:
            good.append(each)
    for workflow in dict.fromkeys(each.run.workflow_id for each in good) if wanted.version != "same" else ():
        found.versions[workflow] = await resolve_version(app, workflow, wanted.version)
        if wanted.version == "newest":
            # A deleted workflow is for Extend to refuse.
            with suppress(NotFoundError):
                published = await read_published(app, workflow)
                found.newest |= {workflow: published.version} if published else {}
    good = [each for each in good if _is_newer(each.run, found)]
    unchecked = await _find_reruns(reader, [each.run for each in good], found) if good else set()
    if not wanted.again:
        fresh = []
        for each in good:
            if each.run.id in found.reruns:
                found.skipped["already rerun"] += 1
            elif each.run.id in unchecked:
                found.skipped["perhaps rerun already, which was not read in time"] += 1
            else:
                fresh.append(each)
        last = {(each.run.workflow_id, each.run.file_ids): each for each in fresh}
        good = [each for each in fresh if last[each.run.workflow_id, each.run.file_ids] is each]
        found.skipped += Counter({"same file as a later run": len(fresh) - len(good)})
    found.planned = good
    for workflow in dict.fromkeys(each.run.workflow_id for each in found.planned):
        found.usual[workflow] = await usual_credits(app, workflow)
    return found


async def _read(reader: RunReader, wanted: Wanted, found: Found) -> list[Insight]:
    app = reader.app
    if wanted.run_ids is not None:
        details = await reader.read(
            wanted.run_ids, lambda run: Insight(run_facts(run), next(iter(failures_of(run)), None), run.metadata)
        )
        for error in details.failed.values():
            found.skipped["not found" if isinstance(error, NotFoundError) else "could not be read"] += 1
        if details.skipped:
            found.missing.append(f"{len(details.skipped):,} runs were not looked at: time was up")
        return list(details.found.values())
    filters = wanted.filters
    # With a time, the runs of all statuses are read: the later ones show what was rerun already.
    listed = await reader.select(filters, () if filters.since or filters.batch else wanted.statuses)
    found.missing += listed.missing
    seen: list[Insight] = []
    unread: list[RunFacts] = []
    for run in listed.runs:
        if run.status in wanted.statuses and (run.status == "FAILED" or filters.needs_details):
            unread.append(run)
        elif run.status in wanted.statuses or (
            run.status != "FAILED" and not filters.needs_details and (filters.batch or run.status in CAN_RERUN)
        ):
            seen.append(Insight(run, None, {}))
    details = await reader.insights(
        unread, most=app.limits.bulk_runs, metadata=bool(filters.metadata), reason=filters.failure_reason
    )
    if left := len(unread) - len(details.found):
        span = format_span(left / app.settings.requests_per_second)
        more = f"make this call again to look into the others, in about {span}"
        more = more if app.histories else "the others are not in this plan"
        found.missing.append(f"only the newest {len(details.found):,} of {len(unread):,} runs were looked into; {more}")
    return seen + [each for each in details.found.values() if filters.matches_details(each.cause, each.metadata)]


def _is_newer(run: RunFacts, found: Found) -> bool:
    """Return whether a run's version is older than the one to send, if that matters; count it if not."""
    version = found.versions.get(run.workflow_id) or found.newest.get(run.workflow_id) or ""
    if run.status != "PROCESSED" or (
        version.isdecimal() and run.version.isdecimal() and int(version) > int(run.version)
    ):
        return True
    found.skipped["PROCESSED with the newest version already"] += 1
    return False


async def _find_reruns(reader: RunReader, runs: Sequence[RunFacts], found: Found) -> set[str]:
    """Find what was run again: by a good run of the same files since, or by a run whose metadata says so.

    Returns the runs of which a later run, perhaps a rerun, was not read in time.
    """
    workflows = {run.workflow_id for run in runs}
    query = RunFilter(workflow_id=workflows.pop() if len(workflows) == 1 else None, since=runs[0].created)
    found.looked_at = reader.app.clock.now()
    listed = await reader.select(query)
    found.later = listed.runs
    ours = {run.id for run in runs}
    later = later_runs([*runs, *(run for run in listed.runs if run.id not in ours)])
    unclear: dict[str, RunFacts] = {}
    for run in runs:
        since = later.get(run.id, [])
        if good := [each for each in since if each.status == "PROCESSED"]:
            found.reruns[run.id] = good[-1].id
        else:
            unclear |= {each.id: each for each in since}
    details = await reader.insights(list(unclear.values()), most=reader.app.limits.bulk_runs)
    for each in sorted(details.found.values(), key=lambda each: created_first(each.run), reverse=True):
        if (old := each.metadata.get(RERUN_OF)) in ours:
            found.reruns.setdefault(old, each.run.id)
    if listed.missing or len(details.found) < len(unclear):
        found.missing.append("not all later runs could be checked for reruns of these")
    oldest = found.looked_at - CLOCK_SKEW
    found.recent = tuple(run.id for run in listed.runs if run.created is None or run.created >= oldest)
    skipped = set(details.skipped)
    return {run.id for run in runs if any(each.id in skipped for each in later.get(run.id, ()))}


def _why_not(status: str) -> str:
    return {"NEEDS_REVIEW": "waiting for review", "PROCESSED": "already PROCESSED"}.get(status, f"{Code(status)}")
