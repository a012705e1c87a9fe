"""Questions about ten thousand runs of thirty days (scenario ``large``)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from evals.account import Account, Run
from evals.question import Fact, Question, call, count, first_run, named, percent, said, then

DAY = timedelta(days=1)
Large = partial(Question, scenario="large")


def largest(runs: list[Run], *, by: str) -> Fact:
    """Return the most frequent value of a run's attribute, and how often it occurs."""
    values = [getattr(run, by) for run in runs]
    most = max(set(values), key=values.count)
    return count(values.count(most), most)


def each_workflow(account: Account, *statuses: str, since: timedelta) -> list[Fact]:
    """Return the number of runs by workflow."""
    runs = account.runs(*statuses, since=since)
    return [
        count(sum(run.workflow == name for run in runs), name, same_line=True)
        for name in sorted({run.workflow for run in runs})
    ]


QUESTIONS = [
    Large(
        "states-of-all",
        "How many runs do we have, and how many of them failed?",
        "figures",
        lambda account: [count(len(account.runs()), "runs"), count(len(account.runs("FAILED")), "failed")],
        [call("summarize_runs", group_by="status")],
    ),
    Large(
        "reasons-of-the-day",
        "Why did runs fail in the last 24 hours, and how often each?",
        "failure",
        lambda account: [
            count(times, reason, reason.replace("_", " "))
            for reason, times in account.reasons(account.runs("FAILED", since=DAY)).items()
        ],
        [call("summarize_runs", created_since="24h", group_by="failure_reason")],
    ),
    Large(
        "failures-by-workflow",
        "How many runs of each workflow failed in the last seven days?",
        "figures",
        lambda account: each_workflow(account, "FAILED", since=7 * DAY),
        [call("summarize_runs", created_since="7d")],
    ),
    Large(
        "rate-of-the-week",
        "Is the failure rate of the last seven days better or worse than that of the week before?",
        "figures",
        lambda account: [
            percent(
                len(account.runs("FAILED", since=7 * DAY)), len(account.runs(since=7 * DAY)), "rate", "last", "this"
            ),
            percent(
                len(account.runs("FAILED", since=14 * DAY, before=7 * DAY)),
                len(account.runs(since=14 * DAY, before=7 * DAY)),
                "before",
                "previous",
                "prior",
            ),
        ],
        [call("summarize_runs", created_since="7d", group_by="status")],
    ),
    Large(
        "backlog",
        "How many runs wait for review, and which one has waited longest?",
        "state",
        lambda account: [
            count(len(account.runs("NEEDS_REVIEW")), "wait", "review"),
            named(account.runs("NEEDS_REVIEW")[0]),
        ],
        [call("review_queue", limit=1)],
    ),
    Large(
        "one-document",
        "What became of document-04711?",
        "state",
        lambda account: [said(account.run("document-04711").status), said(account.run("document-04711").workflow)],
        [call("list_runs", file_name_contains="document-04711")],
    ),
    Large(
        "type-that-fails-most",
        "Which type of file fails most often, and how many of them failed?",
        "figures",
        lambda account: [largest(account.runs("FAILED"), by="file_type")],
        [call("summarize_runs", status="FAILED", group_by="file_type")],
    ),
    Large(
        "credits-of-the-week",
        "How many credits did the last seven days cost?",
        "figures",
        lambda account: [count(sum(run.credits for run in account.runs(since=7 * DAY)), "credits")],
        [call("summarize_runs", created_since="7d")],
    ),
    Large(
        "newest-failure",
        "What is the newest failure, and can a rerun help?",
        "failure",
        lambda account: [
            named(account.runs("FAILED")[-1]),
            said(account.cause(account.runs("FAILED")[-1])[1]),
        ],
        [
            call("list_runs", status="FAILED", page_size=1),
            then("explain_failure", lambda account, before: {"run_id": first_run(before)}),
        ],
    ),
    Large(
        "one-reason-of-many",
        "Of all failures, how many are corrupt files? Say so if you could not look into every one.",
        "failure",
        # One call looks into 300 failed runs; the answer gives all, or says that it does not.
        lambda account: [
            said(
                "how many are corrupt, or that some were not read",
                str(account.reasons(account.runs("FAILED"))["CORRUPT_FILE"]),
                "incomplete",
                "not read",
                "not all",
                "newest 300",
                "partial",
            )
        ],
        [call("summarize_runs", group_by="failure_reason")],
    ),
    Large(
        "nothing-to-stop",
        "Cancel every run of Insurance Claims Intake that still runs.",
        "action",
        lambda account: [said("nothing", "no run", "none", "nothing_to_do")],
        [call("cancel_runs", workflow="Insurance Claims Intake")],
    ),
]
