"""Questions that Extend's API does not answer. A right answer says so, with what is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from evals.account import Account, instant
from evals.question import Question, call, count, look_at, nothing, on, said

Unknown = partial(Question, kind="unknown")
DAY = timedelta(days=1)


def version_3(account: Account) -> datetime:
    """Return when the newest version of invoice processing was made."""
    return instant(account.version("Invoice Processing", "3")["createdAt"])


QUESTIONS = [
    Unknown(
        "who-cancelled",
        "Who cancelled wrong-contract-upload.pdf?",
        facts=lambda account: [said(account.run("wrong-contract").status)],
        script=look_at("wrong-contract"),
        says=lambda _: "The run is CANCELLED. Extend does not record who asked for it.",
    ),
    Unknown(
        "when-finished",
        "At what time will harbor-view-loan-packet.pdf be finished?",
        facts=lambda account: [said(account.run("harbor-view").status, "running", "still")],
        script=look_at("harbor-view"),
        says=lambda _: "It is still running. Extend gives no estimate, so I cannot say when it will finish.",
    ),
    Unknown(
        "cost-in-dollars",
        "What did the last 24 hours cost us in dollars?",
        facts=lambda account: [count(sum(run.credits for run in account.runs(since=DAY)), "credits")],
        script=[call("summarize_runs", created_since="24h")],
        says=lambda account: (
            f"{sum(run.credits for run in account.runs(since=DAY)):,.0f} credits. What one costs is not known here."
        ),
    ),
    Unknown(
        "credits-left",
        "How many credits does our account have left?",
        facts=lambda _: [said("credits")],
        script=[call("summarize_runs", group_by="status")],
        says=lambda _: "Extend's API does not show how many credits are left, only what each run used.",
    ),
    Unknown(
        "failures-a-year-ago",
        "Did more runs fail a year ago than today?",
        facts=nothing,
        script=[call("list_runs", sort_dir="asc", page_size=1)],
        says=lambda account: (
            f"I can't tell: the oldest run is of {account.runs()[0].created:%Y-%m-%d}, with no record before."
        ),
    ),
    Unknown(
        "why-approved",
        "What made the reviewer approve the Chen loan packet although a check had not passed?",
        facts=lambda account: [
            said(account.whole(account.run("chen-loan"))["reviewedByUser"], "Dana Whitfield"),
            said(account.failed_checks(account.run("chen-loan"))[0]),
        ],
        script=look_at("chen-loan"),
        says=lambda account: (
            f"«{account.failed_checks(account.run('chen-loan'))[0]}» did not pass, and "
            f"{account.whole(account.run('chen-loan'))['reviewedByUser']} approved it. Why was not recorded."
        ),
    ),
    Unknown(
        "who-sent-it",
        "Who sent us urgent-remittance.pdf?",
        facts=nothing,
        script=look_at("urgent-remittance"),
        says=lambda _: "The sender of urgent-remittance.pdf is not recorded.",
    ),
    Unknown(
        "paid",
        "Has the invoice northwind-2201 been paid?",
        facts=lambda account: [said(account.run("northwind-2201").status, "processed", "read")],
        script=look_at("northwind-2201"),
        says=lambda _: "The document was PROCESSED. Whether it was paid is not known to Extend.",
    ),
    Unknown(
        "page-right-now",
        "Which page of fleet-lease-agreement.pdf is being read right now?",
        facts=lambda account: [said(account.step_now(account.run("fleet-lease")), "parsing")],
        script=look_at("fleet-lease"),
        says=lambda _: "It is in step Parse. Extend does not show progress by page.",
    ),
    Unknown(
        "place-in-queue",
        "At which place in Extend's queue is acme-tooling-5570.pdf?",
        facts=lambda account: [said(account.run("5570").status, "queued", "waiting", "not started")],
        script=look_at("acme-tooling-5570"),
        says=lambda _: "It is PENDING. Extend does not say at which place in the queue.",
    ),
    Unknown(
        "who-deployed",
        "Who deployed version 3 of Invoice Processing, and when?",
        facts=lambda account: [on(version_3(account), "version 3 of")],
        script=[call("list_workflow_versions", workflow="Invoice Processing")],
        says=lambda account: f"Version 3 was made on {version_3(account):%Y-%m-%d}. Extend does not record by whom.",
    ),
    Unknown(
        "another-account",
        "Do the same failures happen in our account in the EU region?",
        facts=lambda account: [count(len(account.runs("FAILED")), "failed")],
        script=[call("summarize_runs", group_by="failure_reason")],
        says=lambda account: (
            f"Here {len(account.runs('FAILED'))} runs failed. I cannot see another account or region from this server."
        ),
    ),
    Unknown(
        "no-such-claim",
        "Why did claim 9999 fail?",
        facts=lambda _: [said("9999")],
        script=[call("list_runs", file_name_contains="9999")],
        says=lambda _: "There is no run of a file whose name contains 9999.",
    ),
    Unknown(
        "who-will-review",
        "Who is going to review northwind-2202, and by when?",
        facts=lambda account: [said(account.run("2202").status, "waits", "waiting", "review")],
        script=look_at("northwind-2202"),
        says=lambda _: "It waits for review. Extend does not say who will do it, or by when.",
    ),
    Unknown(
        "three-months-ago",
        "How does this week's failure rate compare with that of three months ago?",
        scenario="large",
        facts=nothing,
        script=[
            call("summarize_runs", created_since="7d", group_by="status"),
            call("list_runs", sort_dir="asc", page_size=1),
        ],
        says=lambda account: (
            f"It can't be compared: the oldest run is of {account.runs()[0].created:%Y-%m-%d}. "
            f"This week {len(account.runs('FAILED', since=7 * DAY))} runs failed."
        ),
    ),
]
