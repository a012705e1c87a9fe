"""Bulk actions between proposal and end: exactly which runs a person agreed to, and what became of each."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

PLAN_SECONDS: Final = 3600.0
"""How long a plan is kept. A plan that is gone is made and agreed to anew."""

_MOST_PLANS = 200


@dataclass
class Item:
    """One run of a plan.

    Attributes:
        run_id: the run.
        outcome: what became of it; None while nothing final is known.
        status: the run's status when it was last seen.
        note: what else is to be said, such as the id of a new run.
        facts: what acting on it needs, from when it was planned; JSON values.
    """

    run_id: str
    outcome: str | None = None
    status: str = ""
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """What was proposed.

    Attributes:
        action: the tool's name.
        principal: whose plan it is; to others it does not exist.
        items: the runs to act on, in the order of acting.
        lines: the question and its facts, as the person saw them.
        skipped: how many runs were left out, by why.
        made_at: Unix seconds.
        agreed: whether a person has said yes to it.
        id: names it in tokens; says nothing by itself.
    """

    action: str
    principal: str
    items: list[Item]
    lines: list[str]
    skipped: dict[str, int]
    made_at: float
    agreed: bool = False
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))

    @property
    def open_items(self) -> list[Item]:
        """The runs of which nothing final is known yet."""
        return [item for item in self.items if item.outcome is None]


class PlansUnavailableError(Exception):
    """Plans cannot be read or kept at the moment."""


class PlanStore(Protocol):
    """Keeps plans between calls. Every method may raise :class:`PlansUnavailableError`."""

    async def put(self, plan: Plan) -> None:
        """Keep a new plan."""
        ...

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Find a plan of this action and principal that has not grown too old."""
        ...

    async def agree(self, plan: Plan) -> None:
        """Note that a person has agreed to the plan."""
        ...

    async def note(self, plan: Plan, item: Item) -> None:
        """Keep what is known of one of its runs."""
        ...

    def at_work(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        """Hold the plan while a call carries it out; gives False where another call holds it."""
        ...


class LocalPlans:
    """Keeps plans in this process."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._at_work: set[str] = set()

    async def put(self, plan: Plan) -> None:
        """Keep a plan; the oldest makes room."""
        self._plans[plan.id] = plan
        while len(self._plans) > _MOST_PLANS:
            self._plans.popitem(last=False)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Find a plan of this action and principal that has not grown too old."""
        plan = self._plans.get(plan_id)
        if plan is None or plan.action != action or plan.principal != principal or now - plan.made_at > PLAN_SECONDS:
            return None
        return plan

    async def agree(self, plan: Plan) -> None:
        """Note that a person has agreed to the plan."""
        plan.agreed = True

    async def note(self, plan: Plan, item: Item) -> None:
        """Keep what is known of one of its runs: it is the plan's own already."""

    @asynccontextmanager
    async def at_work(self, plan: Plan) -> AsyncIterator[bool]:
        """Hold the plan while a call carries it out."""
        if plan.id in self._at_work:
            yield False
            return
        self._at_work.add(plan.id)
        try:
            yield True
        finally:
            self._at_work.discard(plan.id)
