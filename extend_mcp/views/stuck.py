"""Answer which runs hang, for how long, and whether it is probably Extend's fault or ours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from extend_mcp.runs.stuck import CANCELLING_SECONDS, Stall, Stuck, StuckRuns
from extend_mcp.runs.times import format_instant, format_span
from extend_mcp.views.document import Document, counted, incomplete
from extend_mcp.views.tables import RunListView, RunRow
from extend_mcp.views.untrusted import Id, Label

_MOST = 4


def stuck_view(found: StuckRuns, *, shown: int, limit: int) -> RunListView:
    """Show the runs that hang, by workflow, status and step.

    Args:
        found: the runs, and what they are compared with.
    """
    listed = found.stuck[:shown]
    view = RunListView(
        runs=[_row(each, found.steps.get(each.run.id, "")) for each in listed],
        shown=len(listed),
        complete=len(listed) == len(found.stuck) and not found.missing,
        stuck=len(found.stuck),
        missing=found.missing or None,
        note=" ".join(_verdicts(found)) or None,
    )
    head = [f"{counted(len(found.stuck), 'stuck run')} of {counted(found.moving, 'run')} that {_moves(found.moving)}."]
    head += _verdicts(found)
    if found.unjudged:
        head.append(f"{counted(found.unjudged, 'run')} could not be judged: too few runs of the workflow have ended.")
    head += incomplete(found.missing)
    left = len(found.stuck) - len(listed)
    text, _ = Document(head, _groups(listed, found.steps)).fit(limit, lambda gone: f"… {gone} more groups", beyond=0)
    return view.with_text(f"{text}\n… {left:,} more; a larger page_size shows them" if left else text)


def stuck_line(stuck: Sequence[Stuck]) -> list[str]:
    """Return a line with how many runs hang, by workflow and status; none if none does."""
    counts = Counter(
        each.run.status if each.run.status == "PENDING" else f"{each.run.status} of {Label(each.run.workflow_name):60}"
        for each in stuck
    )
    said = [f"{count:,} {what}" for what, count in counts.most_common(_MOST)]
    more = f" and {len(counts) - _MOST} more" if len(counts) > _MOST else ""
    return [f"Stuck: {', '.join(said)}{more}; list_runs(stuck=true) says why."] if said else []


def _moves(count: int) -> str:
    return "moves" if count == 1 else "move"


def _row(each: Stuck, step: str) -> RunRow:
    run, names = each.run, [line.partition("\t")[2] for line in each.run.files.split("\n")]
    where = f"in {Label(step):60}, " if step else ""
    return RunRow(
        run_id=run.id,
        status=run.status,
        workflow=run.workflow_name,
        file=f"{names[0]} +{len(names) - 1}" if len(names) > 1 else names[0],
        created_at=run.created,
        why=f"{where}not changed for {format_span(each.seconds)}; {_usually(each)}",
    )


def _usually(each: Stuck) -> str:
    if each.run.status == "CANCELLING":
        return f"a cancel takes less than {format_span(CANCELLING_SECONDS)}"
    what = "start within" if each.run.status == "PENDING" else "are done within"
    return f"95% of such runs {what} {format_span(each.usual)}"


def _groups(listed: list[Stuck], steps: dict[str, str]) -> list[str]:
    """Write a line for the runs of one workflow that hang in one step, and one for the queue, most first."""
    groups: defaultdict[tuple[str, str, str], list[Stuck]] = defaultdict(list)
    for each in listed:
        workflow = "" if each.run.status == "PENDING" else each.run.workflow_id
        groups[workflow, each.run.status, steps.get(each.run.id, "")].append(each)
    lines = []
    for (_, status, step), same in sorted(groups.items(), key=lambda item: -len(item[1])):
        where = f" in {Label(step):60}" if step else ""
        spans = [format_span(seconds) for seconds in (same[-1].seconds, same[0].seconds)]
        span = spans[0] if spans[0] == spans[1] else f"{spans[0]} to {spans[1]}"
        names = list(dict.fromkeys(each.run.workflow_name for each in same))
        workflows = f"{Label(names[0]):60}" if len(names) == 1 else f"{len(names)} workflows"
        # The shortest limit of them: by pages, each has its own.
        usually = _usually(min(same, key=lambda each: each.usual))
        ids = ", ".join(f"{Id(each.run.id)}" for each in same)
        lines.append(f"{workflows}: {len(same):,} {status}{where}, not changed for {span}; {usually}: {ids}")
    return lines


def _verdicts(found: StuckRuns) -> list[str]:
    """Say whose fault it probably is, with the figures that it rests on."""
    stalled = [each for each in found.stalls if each.stuck]
    said = []
    if len(stalled) > 1:
        which = ", ".join(_figures(each) for each in stalled)
        said.append(
            f"Probably Extend's side: {len(stalled)} of {len(found.stalls)} workflows with running runs stall at once: "
            f"{which}. Look at Extend's status page before cancelling anything."
        )
    elif stalled:
        (one,) = stalled
        in_step = Counter(
            found.steps[each.run.id]
            for each in found.stuck
            if each.run.status == "PROCESSING" and each.run.id in found.steps
        )
        step, count = next(iter(in_step.most_common(1)), ("", 0))
        where = f"; {count} of {sum(in_step.values())} hang in step {Label(step):60}" if count > 1 else ""
        others = len(found.stalls) - 1
        moving = f"; {counted(others, 'other workflow')} with running runs not" if others else ""
        whose = "Probably this document's" if one.stuck == 1 else "Probably ours, the workflow's or a service's"
        said.append(f"{whose}: {_figures(one)}{where}{moving}.")
    waiting = sum(each.run.status == "PENDING" for each in found.stuck)
    if waiting:
        running = sum(each.running for each in found.stalls)
        behind = f", behind {counted(running, 'PROCESSING run')}" if running else ""
        said.append(f"Queue: {counted(waiting, 'PENDING run')} longer than usual{behind}.")
    return said


def _figures(stall: Stall) -> str:
    last = f", last good end {format_instant(stall.last_good)}" if stall.last_good else ""
    return f"{Label(stall.workflow):60} {stall.stuck} of {stall.running} stuck{last}"
