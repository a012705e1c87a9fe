"""The groups of tools that an operator switches on or off together; modules of tools add themselves to one."""

from __future__ import annotations

from extend_mcp.tools.base import Toolset

RUNS = Toolset("runs", "List, explain, wait for, start, change, cancel and delete workflow runs")
WORKFLOWS = Toolset("workflows", "Read workflows and their versions")
AUTHORING = Toolset("workflow-authoring", "Create, change and deploy workflows")
FILES = Toolset("files", "Upload, read, list and delete files")
WEBHOOKS = Toolset("webhooks", "Administer webhook endpoints and subscriptions")
