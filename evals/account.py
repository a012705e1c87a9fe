"""Read what the sandbox holds, without our own tools: the facts of right answers are counted here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import httpx

Json = dict[str, Any]

_HEADERS = {"Authorization": "Bearer sk_evals_facts", "x-extend-api-version": "2026-02-09"}


@dataclass(frozen=True)
class Run:
    """One line of the sandbox's list of runs."""

    id: str
    status: str
    workflow: str
    version: str
    file: str
    file_id: str
    file_type: str
    created: datetime
    updated: datetime
    seconds: float | None
    credits: float
    batch: str | None


class Account:
    """The account of a sandbox. It is read once, so a question's facts are those of the beginning.

    Attributes:
        now: the server's time, from which "the last 24 hours" are counted. The sandbox's own clock does not move.
    """

    def __init__(self, sandbox: str) -> None:
        self.now = datetime.now(timezone.utc)
        self._http = httpx.Client(base_url=sandbox, headers=_HEADERS, trust_env=False, verify=False)
        self._whole: dict[str, Json] = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def story(self) -> Json:
        """Return what happened in the scenario, by name, with times and ids."""
        story: Json = self._get("/_sandbox/state")["story"]
        return story

    @cached_property
    def all_runs(self) -> list[Run]:
        """Return all runs, oldest first."""
        lines = self._pages("/workflow_runs", sortBy="createdAt", sortDir="asc")
        return [_run(line) for line in lines]

    def runs(
        self,
        *statuses: str,
        workflow: str | None = None,
        since: timedelta | None = None,
        before: timedelta | None = None,
        where: Callable[[Run], bool] = lambda run: True,
    ) -> list[Run]:
        """Return runs, oldest first.

        Args:
            statuses: any of these; none for all.
            workflow: the workflow's name.
            since: created at most so long ago.
            before: created longer ago than this.
            where: any other condition.
        """
        return [
            run
            for run in self.all_runs
            if (not statuses or run.status in statuses)
            and workflow in (None, run.workflow)
            and (since is None or run.created >= self.now - since)
            and (before is None or run.created < self.now - before)
            and where(run)
        ]

    def run(self, file: str) -> Run:
        """Return the newest run of a file, by a part of the file's name."""
        return self.runs(where=lambda run: file in run.file)[-1]

    def whole(self, run: Run) -> Json:
        """Return a run as the API gives it."""
        if run.id not in self._whole:
            self._whole[run.id] = self._get(f"/workflow_runs/{run.id}")
        return self._whole[run.id]

    def step(self, run: Run, kind: str) -> Json:
        """Return the first step of a kind, with its result."""
        return next(step for step in self.whole(run)["stepRuns"] if step["stepType"] == kind)

    def step_now(self, run: Run) -> str:
        """Return the name of the step that a run is in."""
        return next(str(step["step"]["name"]) for step in self.whole(run)["stepRuns"] if step["status"] == "PROCESSING")

    def extracted(self, run: Run, field: str) -> Any:
        """Return a field of a run's extraction."""
        return self.step(run, "EXTRACT")["result"]["extractRun"]["output"]["value"][field]

    def cause(self, run: Run) -> tuple[str | None, str]:
        """Return the failing step's name and the reason, the step's own where it has one."""
        whole = self.whole(run)
        for step in whole["stepRuns"]:
            if step["status"] == "FAILED":
                own = [each["failureReason"] for each in _objects(step) if each.get("failureReason")]
                return step["step"]["name"], str(own[0] if own else whole["failureReason"])
        return None, str(whole["failureReason"])

    def reasons(self, runs: Iterable[Run]) -> Counter[str]:
        """Count failed runs by reason."""
        return Counter(self.cause(run)[1] for run in runs)

    def failed_checks(self, run: Run) -> list[str]:
        """Return the names of the checks that a run did not pass."""
        checks = [each for step in self.whole(run)["stepRuns"] for each in _objects(step.get("result"))]
        return [str(each["name"]) for each in checks if each.get("name") and each.get("valid") is False]

    def version(self, workflow: str, version: str) -> Json:
        """Return a version of a workflow."""
        ids = {each["name"]: each["id"] for each in self._pages("/workflows")}
        return self._get(f"/workflows/{ids[workflow]}/versions/{version}")

    def events_of(self, workflow: str) -> set[str]:
        """Return the events of a workflow that an endpoint is subscribed to."""
        wanted = next(each["id"] for each in self._pages("/workflows") if each["name"] == workflow)
        subscriptions = [each for each in self._pages("/webhook_subscriptions") if each["resourceId"] == wanted]
        return {event for each in subscriptions for event in each["enabledEvents"]}

    def _get(self, path: str, **query: str | int) -> Json:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        document: Json = answer.json()
        return document

    def _pages(self, path: str, **query: str | int) -> Iterable[Json]:
        token: str | None = ""
        while token is not None:
            page = self._get(path, maxPageSize=1000, **query, **({"nextPageToken": token} if token else {}))
            yield from page["data"]
            token = page.get("nextPageToken")


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def _run(line: Json) -> Run:
    file = (line.get("files") or [{}])[0]
    start, end = line.get("startTime"), line.get("endTime")
    return Run(
        id=line["id"],
        status=line["status"],
        workflow=line["workflow"]["name"],
        version=line["workflowVersion"]["version"],
        file=file.get("name", ""),
        file_id=file.get("id", ""),
        file_type=file.get("type", ""),
        created=instant(line["createdAt"]),
        updated=instant(line["updatedAt"]),
        seconds=(instant(end) - instant(start)).total_seconds() if start and end else None,
        credits=(line.get("usage") or {}).get("credits", 0),
        batch=line.get("batchId"),
    )


def _objects(value: Any) -> Iterable[Json]:
    """Yield every object inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(part)


def instant(text: str) -> datetime:
    """Read one of the API's times."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
