"""The groups of tools that an operator switches on or off together; modules of tools add themselves to one."""

from __future__ import annotations

from mcp_types import ToolAnnotations

from extend_mcp.tools.base import Toolset

READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=True)
DESTRUCTIVE = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
PUBLISHES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
UPDATES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
CREATES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)

RUNS = Toolset(
    "runs",
    "List, explain, wait for, start, change, cancel and delete workflow runs",
    ("runs", "find_runs", "summarize", "insights", "runs_write", "runs_wait"),
)
WORKFLOWS = Toolset("workflows", "Read workflows and their versions", ("workflows",))
AUTHORING = Toolset("workflow-authoring", "Create, change and deploy workflows", ("authoring",))
FILES = Toolset("files", "Upload, read, list and delete files", ("files",))
WEBHOOKS = Toolset("webhooks", "Administer webhook endpoints and subscriptions", ("webhooks",))
INCIDENTS = Toolset(
    "incidents",
    "Look into incidents: what is still open, what was done twice, who did what; values in a file",
    ("incidents", "export"),
)

TOOLSETS: dict[str, Toolset] = {each.name: each for each in (RUNS, WORKFLOWS, AUTHORING, FILES, WEBHOOKS, INCIDENTS)}
"""All of them, by name."""
