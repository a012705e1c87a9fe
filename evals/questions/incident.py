"""Questions of the morning after a bad night of 9,000 runs (scenario ``incident``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial

from evals.account import Account, Run, instant, percentile
from evals.question import Arguments, Fact, Question, call, count, named, said, then, took
from evals.questions.default import ASKS, FUTILE, INVOICES

Incident = partial(Question, kind="incident", scenario="incident")


def during(account: Account, event: str) -> Arguments:
    """Return the filter of an event's time."""
    times = account.story["times"][event]
    return {"created_since": times["from"], "created_before": times["until"]}


def in_time_of(account: Account, event: str, *statuses: str) -> list[Run]:
    """Return the runs that were created during an event."""
    first, last = (instant(text) for text in account.story["times"][event].values())
    return account.runs(*statuses, where=lambda run: first <= run.created < last)


def reasons(account: Account, runs: list[Run]) -> list[Fact]:
    """Return how many runs failed for each reason."""
    return [count(times, reason, reason.replace("_", " ")) for reason, times in account.reasons(runs).items()]


def of_reason(account: Account, reason: str) -> list[Run]:
    """Return the runs that failed for a reason."""
    return [run for run in account.runs("FAILED") if account.cause(run)[1] == reason]


def by_file(runs: list[Run]) -> dict[tuple[str, str], list[Run]]:
    """Group runs by workflow and file, oldest first."""
    groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.workflow, run.file_id].append(run)
    return groups


def still_open(account: Account) -> int:
    """Return how many documents failed and were not processed since."""
    groups = by_file(account.runs("FAILED", "PROCESSED"))
    return sum(group[-1].status == "FAILED" for group in groups.values())


def done_twice(account: Account) -> list[list[Run]]:
    """Return the runs of each file that was processed more than once, without reruns of failures."""
    groups = by_file(account.runs("PROCESSED"))
    return [group for group in groups.values() if len(group) > 1]


def not_yet_rerun(account: Account, reason: str) -> list[Run]:
    """Return the runs that failed for a reason, and whose file has no later run."""
    groups = by_file(account.runs())
    return [run for run in of_reason(account, reason) if groups[run.workflow, run.file_id][-1] is run]


def moving_in(account: Account, step: str) -> list[Run]:
    """Return the runs that are in a step now."""
    return [
        run
        for run in account.runs("PROCESSING")
        if any(
            each["step"]["name"] == step and each["status"] == "PROCESSING" for each in account.whole(run)["stepRuns"]
        )
    ]


def ended_in_time_of(account: Account, event: str) -> list[Run]:
    """Return the runs that changed last during an event, in that order."""
    first, last = (instant(text) for text in account.story["times"][event].values())
    return sorted(account.runs(where=lambda run: first <= run.updated < last), key=lambda run: run.updated)


def bad_version(account: Account) -> list[Fact]:
    """Return the version of invoice processing with most failures, how many runs it had and how many failed."""
    failed = Counter(run.version for run in account.runs("FAILED", workflow=INVOICES))
    version, times = failed.most_common(1)[0]
    runs = account.runs(workflow=INVOICES, where=lambda run: run.version == version)
    name = f"version {version}"
    return [said(name, f"v{version}"), count(len(runs), name, same_line=True), count(times, name, same_line=True)]


def most_failed_check(account: Account, runs: list[Run]) -> Fact:
    """Return the check that most of these runs did not pass first, and how many did not."""
    name, times = Counter(account.failed_checks(run)[0] for run in runs).most_common(1)[0]
    return count(times, name, same_line=True)


def worst_hour(runs: list[Run]) -> Fact:
    """Return the hour in which most of these runs were created, and how many were."""
    hours = Counter(run.created.replace(minute=0, second=0, microsecond=0) for run in runs)
    hour, times = hours.most_common(1)[0]
    return count(times, f"{hour:%H:%M}", f"{hour:%Y-%m-%dT%H:%M}", f"{hour.hour - 12} pm", same_line=True)


ERP = "Look up vendor in ERP"
OPEN = [call("list_open_failures", created_since="48h")]
TWICE = [call("list_done_twice", created_since="48h")]

# A call reads at most 300 failed runs to learn why they failed; the next call reads the rest.
QUESTIONS = [
    Incident(
        "causes-of-the-night",
        "What failed in the last 48 hours, and how often for each reason?",
        facts=lambda account: reasons(account, account.runs("FAILED")),
        script=[call("summarize_runs", group_by="failure_reason")] * 2,
    ),
    Incident(
        "bad-version",
        "Which version of Invoice Processing failed most of its runs last night, and how many of how many?",
        facts=bad_version,
        script=[call("summarize_runs", workflow=INVOICES, group_by="version")],
    ),
    Incident(
        "rerun-the-incident",
        "The extraction of Invoice Processing is fixed. Prepare a rerun of what failed last night with PARSING_ERROR.",
        kind="action",
        facts=lambda account: [
            count(
                len(not_yet_rerun(account, "PARSING_ERROR")),
                "runs",
                "workflow runs",
                "invoices",
                "failures",
                "documents",
            ),
            ASKS,
        ],
        script=[call("rerun_workflow_runs", workflow=INVOICES, failure_reason="PARSING_ERROR")] * 2,
    ),
    Incident(
        "already-rerun",
        "How many of last night's PARSING_ERROR failures does a rerun leave out, because they were run again?",
        facts=lambda account: [
            count(
                len(of_reason(account, "PARSING_ERROR")) - len(not_yet_rerun(account, "PARSING_ERROR")),
                "already rerun",
                "rerun",
                "left out",
                "again",
            )
        ],
        script=[call("rerun_workflow_runs", workflow=INVOICES, failure_reason="PARSING_ERROR")] * 2,
    ),
    Incident(
        "rerun-locked-files",
        "Run the PASSWORD_PROTECTED_FILE failures of last night again.",
        kind="action",
        facts=lambda account: [
            count(
                len(of_reason(account, "PASSWORD_PROTECTED_FILE")),
                "PASSWORD_PROTECTED_FILE",
                "locked",
                "password",
                "files",
            ),
            said("fails again", "fail again", *FUTILE.texts),
        ],
        script=[call("rerun_workflow_runs", failure_reason="PASSWORD_PROTECTED_FILE")] * 2,
    ),
    Incident(
        "rerun-processed",
        "Run everything that was created between 20:00 and 21:00 UTC last night again, it was slow.",
        kind="action",
        facts=lambda _: [said("nothing", "processed", "no run")],
        script=[then("rerun_workflow_runs", lambda account, _: during(account, "slow_parser"))],
    ),
    Incident(
        "hour-without-credits",
        "What happened to the runs created between 03:00 and 04:00 UTC?",
        facts=lambda account: reasons(account, in_time_of(account, "no_credits", "FAILED")),
        script=[
            then(
                "summarize_runs",
                lambda account, _: {"group_by": "failure_reason", **during(account, "no_credits")},
            )
        ],
    ),
    Incident(
        "slow-hour",
        "How slow were the runs that were created between 20:00 and 21:00 UTC: what is the median?",
        facts=lambda account: [
            took(
                percentile([run.seconds for run in in_time_of(account, "slow_parser") if run.seconds], 0.5),
                "p50",
                "median",
            )
        ],
        script=[then("summarize_runs", lambda account, _: during(account, "slow_parser"))],
    ),
    Incident(
        "what-is-stuck",
        "What is stuck right now, in which step, and is it more likely our fault or Extend's?",
        facts=lambda account: [
            count(len(moving_in(account, ERP)), ERP, "stuck", "hang", same_line=True),
            said(ERP),
            said("ours", "our fault", "our side", "our own", "our end", "not Extend's", "the vendor", "the service"),
            count(len(account.runs("CANCELLING")), "CANCELLING"),
        ],
        script=[call("list_runs", stuck=True)],
    ),
    Incident(
        "stuck-cancels",
        "Which cancels have not taken effect for hours?",
        facts=lambda account: [named(run) for run in account.runs("CANCELLING")],
        script=[call("list_runs", status="CANCELLING")],
    ),
    Incident(
        "stop-what-hangs",
        "Cancel the invoices that hang in the ERP lookup.",
        kind="action",
        facts=lambda account: [count(len(moving_in(account, ERP)), "runs", "workflow runs", "invoices"), ASKS],
        script=[
            call("list_runs", stuck=True),
            then("cancel_runs", lambda account, _: {"run_ids": [run.id for run in moving_in(account, ERP)]}),
        ],
    ),
    Incident(
        "still-open",
        "How many documents that failed in the last 48 hours are still open: neither processed since, nor being rerun?",
        facts=lambda account: [count(still_open(account), "open", "still open")],
        script=OPEN,
    ),
    Incident(
        "done-twice",
        "How many files did we process twice in the last 48 hours, and how many credits did that cost?",
        facts=lambda account: [
            count(len(done_twice(account)), "files"),
            count(sum(run.credits for group in done_twice(account) for run in group[1:]), "credits"),
        ],
        script=TWICE,
    ),
    Incident(
        "batch-run-twice",
        "Was a batch run twice last night? Which one?",
        facts=lambda account: [
            said(batch) for batch in sorted({str(g[0].batch) for g in done_twice(account) if g[0].batch})
        ],
        script=TWICE,
    ),
    Incident(
        "backlog-by-workflow",
        "How many runs wait for a person now, by workflow?",
        facts=lambda account: [
            count(len(account.runs("NEEDS_REVIEW", workflow=name)), name)
            for name in sorted({run.workflow for run in account.runs("NEEDS_REVIEW")})
        ],
        script=[call("review_queue", limit=1)],
    ),
    Incident(
        "waiting-for-a-day",
        "How many runs have waited for review for more than 24 hours?",
        facts=lambda account: [
            count(
                sum(run.updated < account.now - timedelta(days=1) for run in account.runs("NEEDS_REVIEW")),
                "runs",
                "wait",
                "review",
            )
        ],
        script=[call("review_queue", older_than="24h", limit=1)],
    ),
    Incident(
        "backlog-by-check",
        "Which check has sent most of the waiting runs to review, and how many?",
        facts=lambda account: [most_failed_check(account, account.runs("NEEDS_REVIEW"))],
        script=[call("review_queue", group_by="check")],
    ),
    Incident(
        "new-layout",
        "Why do invoices of Halvorsen Freight wait for review since last night, and how many invoices wait in all?",
        facts=lambda account: [
            said(account.failed_checks(account.runs("NEEDS_REVIEW", workflow=INVOICES)[0])[0], "tax"),
            count(len(account.runs("NEEDS_REVIEW", workflow=INVOICES)), "wait", "review", INVOICES),
        ],
        script=[call("review_queue", workflow=INVOICES, limit=3)],
    ),
    Incident(
        "missed-webhooks",
        "Our webhook receiver was down from 04:30 to 04:50 UTC. Which three runs were the last to end in that time?",
        facts=lambda account: [named(run) for run in ended_in_time_of(account, "lost_webhooks")[-3:]],
        script=[
            then(
                "list_runs",
                lambda account, _: {
                    "updated_since": account.story["times"]["lost_webhooks"]["from"],
                    "updated_before": account.story["times"]["lost_webhooks"]["until"],
                    "page_size": 3,
                },
            )
        ],
    ),
    Incident(
        "nobody-notified",
        "Which workflows notify nobody when a run fails?",
        facts=lambda account: [
            said(name)
            for name in sorted({run.workflow for run in account.runs()})
            if "workflow_run.failed" not in account.events_of(name)
        ],
        script=[call("check_webhooks")],
    ),
    Incident(
        "runs-of-a-customer",
        "Which invoices of the customer cust_0412 wait for review?",
        facts=lambda account: [
            named(run)
            for run in account.runs("NEEDS_REVIEW", workflow=INVOICES)
            if account.whole(run)["metadata"].get("customer") == "cust_0412"
        ],
        script=[call("find_runs", metadata={"customer": "cust_0412"}, status="NEEDS_REVIEW", workflow=INVOICES)],
    ),
    Incident(
        "worst-hour",
        "In which hour of invoice processing with version 4 did most runs fail, and how many?",
        facts=lambda account: [worst_hour(account.runs("FAILED", where=lambda run: run.version == "4"))],
        script=[call("summarize_runs", status="FAILED", workflow=INVOICES, workflow_version="4", group_by="hour")],
    ),
    Incident(
        "who-reran",
        "Some of the failed invoices were rerun yesterday afternoon. Who did that?",
        kind="unknown",
        facts=lambda _: [],
        script=[call("list_actions")],
        says=lambda _: "I can't tell: what others did in the dashboard or by the API does not show who did it.",
    ),
    Incident(
        "error-of-the-erp",
        "Which error does our ERP return for the invoices that hang in its lookup?",
        kind="unknown",
        facts=lambda account: [said(ERP, "ERP")],
        script=[call("list_runs", stuck=True)],
        says=lambda _: f"They are in {ERP}. Extend does not show a response before the step ends.",
    ),
]
