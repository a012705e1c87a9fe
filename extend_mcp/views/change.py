"""What a change of a run changes, and what deleting one loses."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from extend_mcp.api.models import WorkflowRun
from extend_mcp.views.progress import age_line, credits_of, steps_done
from extend_mcp.views.untrusted import quote, word


def metadata_lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Metadata before and after, one key a line, changes first."""
    names = list(dict.fromkeys([*after, *before]))
    changed = [name for name in names if name not in before or name not in after or before[name] != after[name]]
    lines = [f"{quote(name, 80)}: {_value(before, name)} -> {_value(after, name)}" for name in changed]
    same = [quote(name, 80) for name in names if name not in changed]
    if same:
        lines.append(f"Unchanged: {', '.join(same)}")
    return lines or ["Metadata: none, before and after."]


def _value(values: dict[str, Any], name: str) -> str:
    return quote(json.dumps(values[name], ensure_ascii=False), 200) if name in values else "none"


def loss_lines(run: WorkflowRun, now: datetime) -> list[str]:
    """The question whether to delete ``run``, with what would be lost."""
    files = ", ".join(quote(file.name or file.id, 80) for file in run.files[:3])
    more = f" and {len(run.files) - 3} more" if len(run.files) > 3 else ""
    spent = credits_of(run)
    lines = [
        f"Delete workflow run {word(run.id, 300)} for good?",
        f"Workflow: {quote(run.workflow.name, 80)}, file: {files or 'none'}{more}",
        f"Status: {word(run.status, 40)}, {age_line(run, now)}".rstrip(", "),
        f"Lost for good: the results of {steps_done(run)} finished steps, metadata "
        f"({len(run.metadata)} keys) and the run's history"
        + (f"; {spent:g} credits were spent on it" if spent is not None else ""),
    ]
    if run.reviewed:
        lines.append(f"A person has reviewed it ({quote(run.reviewed_by_user or 'unknown', 80)}); that is lost too.")
    return [*lines, "The file itself stays."]
