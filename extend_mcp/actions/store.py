"""State that a write keeps between two calls: plans of many runs, used confirmations, and leases."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final

import anyio
from mcp.server.mcpserver import InvalidRequestState
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extend_mcp.actions.confirmation_tokens import SealingKeys
from extend_mcp.api.requests import CreateWorkflowRun
from extend_mcp.refusal import CallRefusedError
from extend_mcp.views.actions import Outcome

logger = logging.getLogger(__name__)

PLAN_SECONDS: Final = 3600.0
"""Time that a plan is kept. After that it must be proposed and confirmed again."""

LEASE_SECONDS: Final = 20.0
"""Time that a lease outlives a holder that died. A living holder renews it."""

KEPT_SECONDS: Final = PLAN_SECONDS + 900
"""Time that a store keeps a plan: beyond the end of a call that began just before the plan grew too old, so that what
such a call saves is not left behind alone."""

MOST_PLANS_OF_A_CALLER: Final = 20


class PlannedRun(BaseModel):
    """One run of a plan, and what became of it."""

    model_config = ConfigDict(defer_build=True)

    run_id: str
    outcome: Outcome | None = None  # the final outcome; None while it is open
    status: str = ""  # the status when the run was last read
    note: str | None = None  # more to say, such as the id of a new run; outside text marked
    new_run_id: str | None = None  # the run that was started in its place
    new_status: str | None = None  # the status of that run
    # Unix seconds at which a request was sent whose outcome may be unclear; None if none was.
    sent_at: float | None = None
    rerun: CreateWorkflowRun | None = None  # what a rerun sends, with the run's metadata; None for other actions
    known: tuple[str, ...] = ()  # runs that existed just before the plan, so that none is a rerun by this plan


class Plan(BaseModel):
    """An action on many runs, as it was proposed."""

    model_config = ConfigDict(defer_build=True)

    action: str  # the tool's name
    principal: str  # the caller; for others the plan does not exist
    runs: list[PlannedRun]
    question: list[str]  # the question and its facts, as the person sees them
    skipped: dict[str, int]  # how many runs were left out, by reason
    made_at: float  # Unix seconds
    id: str = Field(default_factory=lambda: secrets.token_urlsafe(9))  # names the plan in tokens

    @property
    def open_runs(self) -> list[PlannedRun]:
        """The runs without a final outcome."""
        return [run for run in self.runs if run.outcome is None]


class StoreUnavailableError(CallRefusedError):
    """Raised when the store cannot be reached at the moment."""

    changed_nothing = False

    def __init__(self) -> None:
        super().__init__(
            "Plans cannot be read or kept at the moment, because the place where they are kept is out of reach. "
            "What was done before stays done, and nothing more is sent. Make the same call again in a minute."
        )


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


class ActionStore(ABC):
    """Keeps what a write needs between two calls, where other processes may read or write.

    A plan's head and each run are sealed apart, so an outcome is saved without touching the other runs. Place
    and field are sealed in, so that no value can be put in another's place. Names of places show nothing of what they
    name. A holder whose lease ended while it was paused can save nothing more.

    Every public method may raise :class:`StoreUnavailableError`.
    """

    unreachable: ClassVar[tuple[type[Exception], ...]]
    """Errors of a place that cannot be used at the moment."""

    def __init__(self, keys: SealingKeys) -> None:
        self._keys = keys
        self._codec = keys.codec("stored plan")
        self._held: dict[str, str] = {}

    async def put(self, plan: Plan) -> None:
        """Keep a new plan. The caller's oldest makes room."""
        place = _plan_place(plan.principal, plan.id)
        values = {"plan": {**plan.model_dump(), "runs": [run.run_id for run in plan.runs]}}
        values |= {_field(place, run.run_id): run.model_dump() for run in plan.runs}
        fields = {name: self._seal(place, name, value) for name, value in values.items()}
        with self._reaching():
            await self._keep(place, self._keys.name(plan.principal), fields)

    async def get(self, plan_id: str, *, action: str, principal: str, now: float) -> Plan | None:
        """Return a plan of this action and caller that is not too old."""
        place = _plan_place(principal, plan_id)
        with self._reaching():
            fields = await self._read(place)
        head = self._unseal(place, "plan", fields)
        if head is None or head["action"] != action or now - head["made_at"] > PLAN_SECONDS:
            return None
        runs = [self._unseal(place, _field(place, run_id), fields) for run_id in head["runs"]]
        try:
            return Plan.model_validate({**head, "runs": runs})
        except ValidationError:
            logger.warning("a plan is incomplete, altered, or of another version: it is ignored")
            return None

    async def save_run(self, plan: Plan, run: PlannedRun) -> None:
        """Record what is known of one run of a plan that this call holds."""
        place = _plan_place(plan.principal, plan.id)
        name = _field(place, run.run_id)
        mine = self._held.get(lease_of(place), "")
        with self._reaching():
            # Checked and written in one step: a process that takes the plan over afterwards reads this.
            saved = await self._write(place, name, self._seal(place, name, run.model_dump()), mine)
        if not saved:
            logger.warning("a plan is not held any more: this process leaves it to another")
            raise StoreUnavailableError

    def hold(self, plan: Plan) -> AbstractAsyncContextManager[bool]:
        """Hold the plan while a call carries it out; yields False if another call holds it."""
        return self._lease(lease_of(_plan_place(plan.principal, plan.id)))

    def lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a name, such as one run, while a request about it is sent; yields False if another call holds it."""
        return self._lease(_place("lease", name))

    @asynccontextmanager
    async def _lease(self, place: str) -> AsyncIterator[bool]:
        mine = secrets.token_hex(8)
        with self._reaching():
            ours = await self._claim(place, mine, LEASE_SECONDS)
        if not ours:
            yield False
            return
        self._held[place] = mine

        async def renew() -> None:
            while True:
                await anyio.sleep(LEASE_SECONDS / 4)
                # What follows needs the store as well and will report it.
                with self._reaching(required=False):
                    await self._extend(place, mine, LEASE_SECONDS)

        try:
            async with alongside(renew):
                yield True
        finally:
            if self._held.get(place) == mine:
                del self._held[place]
            # A lease that is not given back expires.
            with anyio.CancelScope(shield=True), anyio.move_on_after(2), self._reaching(required=False):
                await self._extend(place, mine, 0)

    async def use(self, proposal_id: str) -> bool:
        """Note a proposal's yes as used; return False if it was used before."""
        with self._reaching():
            return await self._claim(_place("used", proposal_id), _USED, KEPT_SECONDS)

    async def unuse(self, proposal_id: str) -> None:
        """Make a yes valid again, because nothing was sent."""
        with self._reaching():
            await self._extend(_place("used", proposal_id), _USED, 0)

    async def add_up(self, name: str, amount: float, *, most: float, seconds: float) -> tuple[bool, float]:
        """Add to a sum that is kept for so many seconds, unless the sum would exceed ``most``.

        Returns:
            Whether it was added, and the sum afterwards. A negative amount is always added.
        """
        with self._reaching():
            return await self._add(_place("sum", name), amount, most, seconds)

    @abstractmethod
    async def _keep(self, place: str, owner: str, fields: Mapping[str, str]) -> None:
        """Write all fields of a plan, and delete the owner's oldest plans."""

    @abstractmethod
    async def _read(self, place: str) -> dict[str, str]:
        """Return the fields of a plan; none if it is not kept."""

    @abstractmethod
    async def _write(self, place: str, field: str, value: str, mine: str) -> bool:
        """Write a field of a plan whose lease has the value ``mine``; otherwise write nothing and return False."""

    @abstractmethod
    async def _claim(self, place: str, value: str, seconds: float) -> bool:
        """Write the value of a place for so many seconds; return False if it has one."""

    @abstractmethod
    async def _extend(self, place: str, value: str, seconds: float) -> None:
        """Let a place keep this value for so many seconds from now, 0 to remove it; another value stays."""

    @abstractmethod
    async def _add(self, place: str, amount: float, most: float, seconds: float) -> tuple[bool, float]:
        """Add to the number in a place in one step, as :meth:`add_up` says."""

    def _seal(self, place: str, name: str, value: Any) -> str:
        return self._codec.seal(json.dumps([place, name, value]).encode())

    def _unseal(self, place: str, name: str, fields: Mapping[str, str]) -> Any:
        try:
            sealed_place, sealed_name, value = json.loads(self._codec.unseal(fields[name]))
        except (KeyError, ValueError, InvalidRequestState):
            return None
        return value if (sealed_place, sealed_name) == (place, name) else None

    @contextmanager
    def _reaching(self, *, required: bool = True) -> Iterator[None]:
        try:
            yield
        except self.unreachable as error:
            # The type only: the text may quote addresses or what was sent.
            logger.warning("the store of plans cannot be used: %s", type(error).__name__)
            if required:
                raise StoreUnavailableError from None


_USED: Final = "1"


def hidden_name(name: str) -> str:
    """Return a name of fixed length for a place: it shows nothing of what it names."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _place(kind: str, name: str) -> str:
    return f"extend-mcp:{kind}:{hidden_name(name)}"


def _plan_place(principal: str, plan_id: str) -> str:
    # A Redis cluster places a key by the text between braces: a plan and its lease stay together.
    return f"extend-mcp:plan:{{{hidden_name(f'{principal} {plan_id}')}}}"


def lease_of(place: str) -> str:
    """Return the place of a plan's lease."""
    return f"{place}:lease"


def _field(place: str, run_id: str) -> str:
    return f"item:{hidden_name(f'{place} {run_id}')}"
