"""Bulk actions between proposal and end: exactly which runs a person agreed to, and what became of each."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import anyio

_MOST_PLANS = 200
_LIFETIME = 3600.0


@dataclass
class Item:
    """One run of a plan.

    Attributes:
        run_id: the run.
        outcome: what became of it; None while nothing final is known.
        status: the run's status when it was last seen.
        note: what else is to be said, such as the id of a new run.
        facts: what acting on it needs, from when it was planned.
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
        made_at: seconds of the monotonic clock.
        agreed: whether a person has said yes to it.
        id: names it in tokens; says nothing by itself.
        at_work: held while a call carries it out, so that no two do.
    """

    action: str
    principal: str
    items: list[Item]
    lines: list[str]
    skipped: dict[str, int]
    made_at: float
    agreed: bool = False
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    at_work: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def open_items(self) -> list[Item]:
        """The runs of which nothing final is known yet."""
        return [item for item in self.items if item.outcome is None]


class PlanStore:
    """Keeps plans in this process for an hour. A plan that is gone is made and agreed to anew."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def put(self, plan: Plan) -> None:
        """Keep a plan; the oldest makes room."""
        self._plans[plan.id] = plan
        while len(self._plans) > _MOST_PLANS:
            self._plans.popitem(last=False)

    def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Find a plan of this action and principal that has not grown too old."""
        plan = self._plans.get(plan_id)
        if plan is None or plan.action != action or plan.principal != principal or now - plan.made_at > _LIFETIME:
            return None
        return plan
