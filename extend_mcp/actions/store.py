"""State that a write keeps between two calls: plans of many runs, used confirmations, and leases."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from extend_mcp.views.actions import Outcome

PLAN_SECONDS: Final = 3600.0
"""How long a plan is kept. After that it must be proposed and confirmed again."""

LEASE_SECONDS: Final = 20.0
"""How long a lease outlives a holder that died. A living holder renews it."""

_MOST_PLANS = 200
_MOST_PLANS_OF_A_CALLER = 20
_MOST_USED = 10_000


class RerunSource(BaseModel):
    """What a rerun sends, taken from the run when the plan was made.

    Attributes:
        workflow_id: the workflow.
        version: the version's name; None for the latest published one.
        file_ids: the run's files, one or a package.
        metadata: the run's metadata, without the mark of a rerun.
        status: the run's status; a run in another status is not rerun.
        known: runs of the same files that existed just before the plan.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    workflow_id: str
    version: str | None
    file_ids: tuple[str, ...]
    metadata: dict[str, Any]
    status: str
    known: tuple[str, ...] = ()


class PlannedRun(BaseModel):
    """One run of a plan, and what became of it.

    Attributes:
        run_id: the run.
        outcome: the final outcome; None while it is open.
        status: the status when the run was last read.
        note: more to say, such as the id of a new run.
        sent_at: Unix seconds at which a request was sent whose outcome may be unclear; None if none was.
        rerun: what a rerun sends; None for other actions.
    """

    model_config = ConfigDict(defer_build=True)

    run_id: str
    outcome: Outcome | None = None
    status: str = ""
    note: str = ""
    sent_at: float | None = None
    rerun: RerunSource | None = None


class Plan(BaseModel):
    """An action on many runs, as it was proposed.

    Attributes:
        action: the tool's name.
        principal: the caller; for others the plan does not exist.
        runs: the runs to act on, in order.
        question: the question and its facts, as the person sees them.
        skipped: how many runs were left out, by reason.
        made_at: Unix seconds.
        agreed: True once a person has said yes.
        id: names the plan in tokens.
    """

    model_config = ConfigDict(defer_build=True)

    action: str
    principal: str
    runs: list[PlannedRun]
    question: list[str]
    skipped: dict[str, int]
    made_at: float
    agreed: bool = False
    id: str = Field(default_factory=lambda: secrets.token_urlsafe(9))

    @property
    def open_runs(self) -> list[PlannedRun]:
        """The runs without a final outcome."""
        return [run for run in self.runs if run.outcome is None]


class StoreUnavailableError(Exception):
    """Raised when the store cannot be reached at the moment."""


class ActionStore(Protocol):
    """Keeps what a write needs between two calls. Every method may raise :class:`StoreUnavailableError`."""

    async def put(self, plan: Plan) -> None:
        """Keep a new plan."""
        ...

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Return a plan of this action and caller that is not too old."""
        ...

    async def agree(self, plan: Plan) -> None:
        """Record that a person said yes to the plan."""
        ...

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Record what is known of one run of a plan that this call holds."""
        ...

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        """Hold the plan while a call carries it out; yields False if another call holds it."""
        ...

    def lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a name, such as one run, while a request about it is sent; yields False if another call holds it."""
        ...

    async def use(self, proposal_id: str) -> bool:
        """Mark a proposal's yes as used; return False if it was used before."""
        ...

    async def unuse(self, proposal_id: str) -> None:
        """Make a yes valid again, because nothing was sent."""
        ...


class MemoryStore:
    """Keeps everything in this process."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._held: set[str] = set()
        self._used: OrderedDict[str, None] = OrderedDict()

    async def put(self, plan: Plan) -> None:
        """Keep a plan. The caller's oldest makes room first, then the oldest of all."""
        self._plans[plan.id] = plan
        own = [each.id for each in self._plans.values() if each.principal == plan.principal]
        for plan_id in own[:-_MOST_PLANS_OF_A_CALLER]:
            del self._plans[plan_id]
        while len(self._plans) > _MOST_PLANS:
            self._plans.popitem(last=False)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Return a plan of this action and caller that is not too old."""
        plan = self._plans.get(plan_id)
        if plan is None or plan.action != action or plan.principal != principal or now - plan.made_at > PLAN_SECONDS:
            return None
        return plan

    async def agree(self, plan: Plan) -> None:
        """Record that a person said yes to the plan."""
        plan.agreed = True

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Do nothing: the run is part of the kept plan already."""

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        """Hold the plan while a call carries it out."""
        return self.lease(f"plan {plan.id}")

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[bool]:
        """Hold a name while a request about it is sent."""
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)

    async def use(self, proposal_id: str) -> bool:
        """Mark a proposal's yes as used; return False if it was used before."""
        if proposal_id in self._used:
            return False
        self._used[proposal_id] = None
        while len(self._used) > _MOST_USED:
            self._used.popitem(last=False)
        return True

    async def unuse(self, proposal_id: str) -> None:
        """Make a yes valid again, because nothing was sent."""
        self._used.pop(proposal_id, None)
