"""State that a write keeps between two calls: plans of many runs, used confirmations, and leases."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final

import anyio
from mcp.server.mcpserver import InvalidRequestState
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.views.actions import Outcome

logger = logging.getLogger(__name__)

PLAN_SECONDS: Final = 3600.0
"""Time that a plan is kept. After that it must be proposed and confirmed again."""

LEASE_SECONDS: Final = 20.0
"""Time that a lease outlives a holder that died. A living holder renews it."""

KEPT_SECONDS: Final = PLAN_SECONDS + 900
"""Time that an outside store keeps a plan: beyond the end of a call that began just before the plan grew too
old, so that what such a call saves is not left behind alone."""

MOST_PLANS_OF_A_CALLER: Final = 20

_MOST_PLANS = 200
_MOST_USED = 10_000


class RerunSource(BaseModel):
    """The contents of a rerun, taken from the run when the plan was made."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    workflow_id: str
    version: str | None  # the version's name; None for the latest published one
    file_ids: tuple[str, ...]  # the run's files, one or a package
    priority: int | None = None  # the new run's priority; None for Extend's default
    status: str  # the run's status; a run in another status is not rerun
    known: tuple[str, ...] = ()  # runs of the same files that existed just before the plan


class PlannedRun(BaseModel):
    """One run of a plan, and what became of it."""

    model_config = ConfigDict(defer_build=True)

    run_id: str
    outcome: Outcome | None = None  # the final outcome; None while it is open
    status: str = ""  # the status when the run was last read
    note: str = ""  # more to say, such as the id of a new run
    new_run_id: str = ""  # the run that was started in its place
    new_status: str = ""  # the status of that run
    # Unix seconds at which a request was sent whose outcome may be unclear; None if none was.
    sent_at: float | None = None
    rerun: RerunSource | None = None  # what a rerun sends; None for other actions


class Plan(BaseModel):
    """An action on many runs, as it was proposed."""

    model_config = ConfigDict(defer_build=True)

    action: str  # the tool's name
    principal: str  # the caller; for others the plan does not exist
    runs: list[PlannedRun]
    question: list[str]  # the question and its facts, as the person sees them
    skipped: dict[str, int]  # how many runs were left out, by reason
    made_at: float  # Unix seconds
    reason: str = ""  # why, in the user's words
    agreed: bool = False  # True once a person has said yes
    id: str = Field(default_factory=lambda: secrets.token_urlsafe(9))  # names the plan in tokens

    @property
    def open_runs(self) -> list[PlannedRun]:
        """The runs without a final outcome."""
        return [run for run in self.runs if run.outcome is None]


class StoreUnavailableError(Exception):
    """Raised when the store cannot be reached at the moment."""


class ActionStore(ABC):
    """Keeps what a write needs between two calls. Every method may raise :class:`StoreUnavailableError`."""

    @abstractmethod
    async def put(self, plan: Plan) -> None:
        """Keep a new plan."""

    @abstractmethod
    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Return a plan of this action and caller that is not too old."""

    @abstractmethod
    async def agree(self, plan: Plan) -> None:
        """Record that a person said yes to the plan."""

    @abstractmethod
    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Record what is known of one run of a plan that this call holds."""

    @abstractmethod
    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        """Hold the plan while a call carries it out; yields False if another call holds it."""

    @abstractmethod
    def lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a name, such as one run, while a request about it is sent; yields False if another call holds it."""

    @abstractmethod
    async def use(self, proposal_id: str) -> bool:
        """Mark a proposal's yes as used; return False if it was used before."""

    @abstractmethod
    async def unuse(self, proposal_id: str) -> None:
        """Make a yes valid again, because nothing was sent."""

    @abstractmethod
    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        """Add to a sum that is kept for so many seconds, unless the sum would exceed ``most``.

        Returns:
            Whether it was added, and the sum afterwards. A negative amount is always added.
        """


@asynccontextmanager
async def alongside(job: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run ``job`` until the block ends. What the block raises keeps its type, which a task group would wrap."""
    problem: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(job)
        try:
            yield
        except Exception as error:
            problem = error
        tasks.cancel_scope.cancel()
    if problem is not None:
        raise problem


class SealedStore(ActionStore):
    """Keeps plans where other processes find them, and others may read or write.

    A plan's head, each run and the yes are sealed apart, so an outcome is saved without touching the other runs. Place
    and field are sealed in, so that no value can be put in another's place. A holder whose lease ended while it was
    paused can save nothing more.
    """

    unreachable: ClassVar[tuple[type[Exception], ...]]
    """Errors of a place that cannot be used at the moment."""

    prefix: ClassVar[str] = ""

    def __init__(self, keys: SealingKeys) -> None:
        self._codec = keys.codec("stored plan")
        self._held: dict[str, str] = {}

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        place = self._plan_place(principal, plan_id)
        with self._reaching():
            fields = await self._read(place)
        head = self._unseal(place, "plan", fields)
        if head is None or head["action"] != action or head["principal"] != principal:
            return None
        if now - head["made_at"] > PLAN_SECONDS:
            return None
        runs = [self._unseal(place, _field(place, run_id), fields) for run_id in head["runs"]]
        agreed = self._unseal(place, "agreed", fields) is True
        try:
            return Plan.model_validate({**head, "runs": runs, "agreed": agreed})
        except ValidationError:
            logger.warning("a plan is incomplete, altered, or of another version: it is ignored")
            return None

    async def agree(self, plan: Plan) -> None:
        place = self._plan_place(plan.principal, plan.id)
        with self._reaching():
            await self._write(place, "agreed", self._seal(place, "agreed", True))
        plan.agreed = True

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        place, lease = self._plan_place(plan.principal, plan.id), self._plan_lease(plan)
        name = _field(place, run.run_id)
        sealed = self._seal(place, name, run.model_dump())
        with self._reaching():
            # Checked and written in one step: a process that takes the plan over afterwards reads this.
            saved = await self._write(place, name, sealed, lease, self._held.get(lease, ""))
        if not saved:
            logger.warning("a plan is not held any more: this process leaves it to another")
            raise StoreUnavailableError

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        return self._lease(self._plan_lease(plan))

    def lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        return self._lease(self._place("lease", name))

    @asynccontextmanager
    async def _lease(self, place: str) -> AsyncIterator[bool]:
        mine, lock = secrets.token_hex(8), self._lock(place, LEASE_SECONDS)
        with self._reaching():
            ours = await lock.acquire(token=mine)
        if not ours:
            yield False
            return
        self._held[place] = mine

        async def renew() -> None:
            while True:
                await anyio.sleep(LEASE_SECONDS / 4)
                # What follows needs the store as well and will report it.
                with self._logging("a lease could not be renewed"):
                    await lock.reacquire()

        try:
            async with alongside(renew):
                yield True
        finally:
            if self._held.get(place) == mine:
                del self._held[place]
            with (
                anyio.CancelScope(shield=True),
                anyio.move_on_after(2),
                self._logging("a lease could not be released; it will expire"),
            ):
                await lock.release()

    @abstractmethod
    async def _read(self, place: str) -> dict[str, str]:
        """Return the fields of a plan; none if it is not kept."""

    @abstractmethod
    async def _write(self, place: str, field: str, value: str, lease: str = "", mine: str = "") -> bool:
        """Write a field of a plan; with a lease, return False and write nothing if that is not ours."""

    @abstractmethod
    def _lock(self, place: str, seconds: float) -> Any:
        """Return a lock that ends after so many seconds, with the methods of one of redis-py."""

    def _plan_place(self, principal: str, plan_id: str) -> str:
        return self._place("plan", f"{principal} {plan_id}")

    def _plan_lease(self, plan: Plan) -> str:
        return self._place("lease", f"plan {plan.id}")

    def _place(self, kind: str, name: str) -> str:
        return f"{self.prefix}{kind}:{digest(name)}"

    def _fields(self, place: str, plan: Plan) -> dict[str, str]:
        """Return the sealed fields of a new plan."""
        values = {"plan": {**plan.model_dump(), "runs": [run.run_id for run in plan.runs], "agreed": None}}
        values |= {_field(place, run.run_id): run.model_dump() for run in plan.runs}
        fields = {name: self._seal(place, name, value) for name, value in values.items()}
        return {**fields, "agreed": self._seal(place, "agreed", True)} if plan.agreed else fields

    def _seal(self, place: str, name: str, value: Any) -> str:
        return self._codec.seal(json.dumps([place, name, value]).encode())

    def _unseal(self, place: str, name: str, fields: dict[str, str]) -> Any:
        try:
            sealed_place, sealed_name, value = json.loads(self._codec.unseal(fields[name]))
        except (KeyError, ValueError, InvalidRequestState):
            return None
        return value if (sealed_place, sealed_name) == (place, name) else None

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except self.unreachable as error:
            # The type only: the text may quote addresses or what was sent.
            logger.warning("the store of plans cannot be used: %s", type(error).__name__)
            raise StoreUnavailableError from None

    @contextmanager
    def _logging(self, consequence: str) -> Iterator[None]:
        try:
            yield
        except self.unreachable as error:
            logger.warning("%s: %s", consequence, type(error).__name__)


def digest(name: str) -> str:
    """Return a name of fixed length for a place: it shows nothing of what it names."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _field(place: str, run_id: str) -> str:
    return f"item:{digest(f'{place} {run_id}')}"


class MemoryStore(ActionStore):
    """Keeps everything in this process."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._held: set[str] = set()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._sums: OrderedDict[str, float] = OrderedDict()

    async def put(self, plan: Plan) -> None:
        """Keep a plan. The caller's oldest makes room first, then the oldest of all."""
        self._plans[plan.id] = plan
        own = [each.id for each in self._plans.values() if each.principal == plan.principal]
        for plan_id in own[:-MOST_PLANS_OF_A_CALLER]:
            del self._plans[plan_id]
        while len(self._plans) > _MOST_PLANS:
            self._plans.popitem(last=False)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        plan = self._plans.get(plan_id)
        if plan is None or plan.action != action or plan.principal != principal or now - plan.made_at > PLAN_SECONDS:
            return None
        return plan

    async def agree(self, plan: Plan) -> None:
        plan.agreed = True

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Do nothing: the run is part of the kept plan already."""

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        return self.lease(f"plan {plan.id}")

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[bool]:
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)

    async def use(self, proposal_id: str) -> bool:
        if proposal_id in self._used:
            return False
        self._used[proposal_id] = None
        while len(self._used) > _MOST_USED:
            self._used.popitem(last=False)
        return True

    async def unuse(self, proposal_id: str) -> None:
        self._used.pop(proposal_id, None)

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        """Add to a sum, unless it would exceed ``most``; the sum that was not used for longest makes room."""
        del seconds
        total = self._sums.pop(name, 0.0)
        added = amount < 0 or total + amount <= most
        self._sums[name] = total = total + amount if added else total
        while len(self._sums) > _MOST_USED:
            self._sums.popitem(last=False)
        return added, total
