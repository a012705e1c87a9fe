"""The account that this server works on and what it may do, in a few lines without a secret."""

from __future__ import annotations

from extend_mcp import __version__
from extend_mcp.accounts import Caller
from extend_mcp.limits import CallLimits
from extend_mcp.settings import Settings
from extend_mcp.views.untrusted import Id, Url

_CONFIRMATION = {
    "ask": "a person is asked; where the client cannot ask, a sealed token and a second call",
    "person": "a person, and nobody else",
    "token": "a sealed token and a second call",
    "trusted": "none: the operator trusts every caller",
}


def account_text(settings: Settings, limits: CallLimits, caller: Caller) -> str:
    """Describe the configuration in force for a caller."""
    where = "the embedded sandbox: nothing here is real" if settings.sandbox else str(Url(settings.api_base_url))
    writes = "reading only" if settings.read_only else "reading and writing"
    account = caller.account
    lines = [
        *([f"Account: {account.label}"] if account.label else []),
        f"extend-mcp {__version__}",
        f"Extend API: {where}",
        f"Caller: {Id(caller.principal)}",
        f"Workspace: {Id(account.workspace_id or '') or 'as the API key says'}",
        f"API key: {'set' if account.api_key else 'not set (EXTEND_API_KEY)'}",
        f"Toolsets: {', '.join(settings.toolsets)}; {writes}",
        f"Scopes: {'all' if caller.scopes is None else ', '.join(sorted(caller.scopes)) or 'none'}",
        f"Confirmation of what destroys or publishes: {_CONFIRMATION[settings.confirmation]}",
        f"Requests a second, by category: at most {settings.requests_per_second}",
        f"Batches that ask a person: of more than {limits.unasked_files:,} files",
        f"Credits a day that a caller may start work for: {settings.credits_per_day or 'no limit'}",
        f"Runs in one summary: at most {limits.summary_runs:,}",
        f"Runs looked into one by one in a call: at most {limits.detail_runs:,}",
        f"Runs acted on in one call: at most {limits.bulk_runs:,}",
    ]
    return "\n".join(lines)
