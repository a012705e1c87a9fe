"""The one engine for writes: inspect, judge, ask, inspect again, send once, verify.

`bulk` makes an action of a plan of many runs, which goes the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Generic, TypeVar

from mcp_types import InputRequiredResult

from extend_mcp.actions import confirm
from extend_mcp.actions.confirm import Proposal, has_round_trips
from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import ExtendError, NotFoundError, RateLimitedError
from extend_mcp.api.requests import RequestModel
from extend_mcp.audit import write_record
from extend_mcp.callers import CallerContext, Ctx
from extend_mcp.refusal import CallRefusedError
from extend_mcp.views.actions import ActionView, Outcome, WriteView
from extend_mcp.views.document import error_words
from extend_mcp.views.untrusted import Id

T = TypeVar("T")
ViewT = TypeVar("ViewT", bound=WriteView)

_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 10.0
"""Seconds that a refusal for rate (429) may ask to wait; after a longer one the call reports it."""


@dataclass(frozen=True)
class Inspection(Generic[ViewT]):
    """The live state of an action's target, as a person sees it before saying yes."""

    question: Sequence[str] = ()  # with the facts that a yes is bound to; nobody is asked without one
    progress: Sequence[str] = ()  # what moves while a person thinks, such as the age; it is shown, and binds nothing
    bound: Any = None  # more facts that a yes is bound to, too long to show whole
    status: str = ""
    refusal: ViewT | None = None  # the answer where the state forbids the action; nobody is asked then


@dataclass
class Action(ABC, Generic[ViewT]):
    """One write: what it is about, what a person sees, what is sent, and how an unclear outcome is looked up."""

    app: CallerContext = field(repr=False)
    target: str = field(default="", kw_only=True)  # the id of the object; empty if it does not exist yet
    reason: str | None = field(default=None, kw_only=True)  # why, in the user's words; the person sees it
    shown: Proposal | None = field(default=None, init=False)  # the proposal whose yes this call brings
    token_problem: str = field(default="", init=False)  # why the token of this call does not count
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False)  # fields of every answer

    name: ClassVar[str]  # the tool's name
    kind: ClassVar[type[Any]]
    repeatable: ClassVar[bool] = True  # True if a repeated request changes nothing more, as for a delete
    resumable: ClassVar[bool] = False  # True if a later call with the same yes continues the work
    confirming: ClassVar[str] = "make the same call with the confirmation_token"
    after_unclear: ClassVar[str] = "Look before repeating it."  # the next step where it is unclear what happened

    @property
    def arguments(self) -> Any:
        """Everything that the call gives, so that a yes is bound to all of it."""
        given = [getattr(self, each.name) for each in fields(self)[1:] if each.init and not each.name.startswith("_")]
        return [each.model_dump(mode="json") if isinstance(each, RequestModel) else each for each in given]

    async def inspect(self) -> Inspection[ViewT]:
        """Read the live state.

        Raises:
            ExtendError: the state could not be read.
        """
        return Inspection()

    @abstractmethod
    async def send(self) -> ViewT:
        """Send the request once, and return the answer for its success.

        Raises:
            ExtendError: Extend refused the request, or gave no clear answer.
        """

    async def look(self) -> str:
        """Say in one or two sentences what the state is after a request whose outcome is unclear."""
        return "It may have taken effect."

    def answer(
        self,
        outcome: Outcome,
        message: str,
        *,
        sent: bool = False,
        details: Sequence[str] = (),
        token: str | None = None,
        next_step: str | None = None,
        **given: Any,
    ) -> ViewT:
        """Build an answer of this action, with the fields of its kind; ``details`` are lines with the facts."""
        own = {self.kind.target_field: self.target or None, self.kind.lines_field: list(details) or None}
        view: ViewT = self.kind(
            outcome=outcome,
            message=message if sent else f"{message} Nothing was sent.",
            request_sent=sent,
            confirmation_token=token,
            next_step=next_step,
            **{name: value for name, value in {**own, **self.known, **given}.items() if name},
        )
        return view.rendered(self.app.limits.answer_chars, details)


@dataclass
class ObjectAction(Action[ActionView]):
    """A write on one object: ``body`` goes to the client's method of the action's name."""

    body: Any = None

    kind: ClassVar[type[ActionView]] = ActionView
    reads: ClassVar[str] = ""  # the client's method that reads the object, for the question and for a second look
    facts: ClassVar[Callable[[Any], list[str]]]  # what was read or changed as lines
    done: ClassVar[str] = ""  # the answer's message

    def ask(self, present: Any) -> Inspection[ActionView]:
        """Return the question about an object that was read."""
        raise NotImplementedError

    async def inspect(self) -> Inspection[ActionView]:
        return self.ask(await getattr(self.app.api, self.reads)(self.target)) if self.reads else Inspection()

    async def send(self) -> ActionView:
        changed = await getattr(self.app.api, self.name)(self.target, self.body)
        return self.answer("done", self.done, sent=True, details=type(self).facts(changed))

    async def look(self) -> str:
        if not self.reads:
            return await super().look()
        try:
            found = await getattr(self.app.api, self.reads)(self.target)
        except NotFoundError:
            return "A second look does not find it: it is deleted."
        return f"A second look shows: {'; '.join(type(self).facts(found))}."


class DeleteObject(ObjectAction):
    """Delete an object for good."""

    async def send(self) -> ActionView:
        await getattr(self.app.api, self.name)(self.target)
        return self.answer("done", f"Deleted {Id(self.target)} for good.", sent=True)


async def execute(ctx: Ctx, action: Action[ViewT], token: str | None = None) -> ViewT | InputRequiredResult:
    """Carry out ``action`` if its live state allows it and, where it needs one, a person agrees.

    Returns the outcome; or the result that makes the client ask its user first.

    Raises:
        ExtendError: the state could not be read, or Extend refused the request.
        StoreUnavailableError: a plan cannot be read or kept.
    """
    record = write_record()
    action.shown, action.token_problem = confirm.earlier_proposal(ctx, action.name, action.target, token)
    if action.shown and action.reason is None:
        # The confirming call may leave the reason out.
        action.reason = action.shown.reason or None
    record.target, record.reason = action.target, action.reason or ""
    found = await _judged(action)
    if isinstance(found, WriteView):
        return found
    if action.shown and action.shown.agreed:
        record.confirmed_by = "token"
        return await _send(action)
    if not found.question:
        return await _send(action)
    proposal, lines = proposal_of(action, found), [*found.question, *found.progress]
    policy, shown, proposal_id = action.app.settings.confirmation, action.shown, None
    if policy == "trusted":
        record.confirmed_by = "trusted"
    elif confirm.can_ask(ctx) and policy != "token":
        said = await confirm.ask_person(ctx, proposal, lines, shown)
        if isinstance(said, InputRequiredResult):
            return said
        if said is not True:
            return action.answer("declined", f"{said}", next_step="Do not ask again unless the user wants it.")
        record.confirmed_by = "person"
        if has_round_trips(ctx):
            proposal_id = shown.id if shown else None
        else:
            # A person takes time: an earlier read says nothing about the present.
            action.shown = proposal
            found = await _judged(action)
            if isinstance(found, WriteView):
                return found
    elif policy == "person":
        record.verdict = "refused"
        return action.answer(
            "refused",
            "This server accepts a confirmation from a person only, and this client cannot ask one.",
            next_step="Ask the user to do it in a client that can ask them.",
        )
    # The state of a question that a person was asked is no token: they may have said no.
    elif shown and not ctx.request_state:
        record.confirmed_by, proposal_id = "token", shown.id
    else:
        why = f"The confirmation token is not valid: {action.token_problem}. " if action.token_problem else ""
        return action.answer(
            "confirmation_required",
            f"{why}A person must agree first.",
            details=lines,
            token=confirm.issue_token(action.app, proposal),
            next_step=f"Show this plan to the user. Only if they agree, {action.confirming}.",
        )
    return await _send_once(action, None if action.resumable else proposal_id)


async def _judged(action: Action[ViewT]) -> Inspection[ViewT] | ViewT:
    """Return the live state; the answer instead if it forbids the action, or is not what was shown."""
    record = write_record()
    try:
        found = await action.inspect()
    except NotFoundError:
        return action.answer(
            "not_found", "There is no such object for this API key: wrong id, workspace or region, or deleted already."
        )
    if found.refusal is not None:
        record.verdict = None if found.refusal.outcome == "nothing_to_do" else found.refusal.outcome
        return found.refusal
    if found.question:
        record.verdict = "allowed"
    if action.shown and not action.shown.same_as(proposal_of(action, found)):
        return action.answer(
            "changed",
            "What the person was asked about has changed meanwhile, so their answer does not count.",
            details=[*found.question, *found.progress],
            next_step="Show the user how it is now; make the same call again, without a token, if they still want it.",
        )
    return found


def proposal_of(action: Action[ViewT], found: Inspection[ViewT]) -> Proposal:
    """Return what a person is asked to agree to."""
    facts = confirm.digest(list(found.question), found.bound, action.arguments)
    return Proposal(action.name, action.target, facts, found.status, action.reason or "")


async def _send_once(action: Action[ViewT], proposal_id: str | None) -> ViewT:
    """Send the request if this yes was not used before."""
    store = action.app.store
    try:
        fresh = proposal_id is None or await store.use(proposal_id)
    except StoreUnavailableError:
        # Without the store it cannot be known whether the yes was used; that matters where a repeat creates more.
        fresh = action.repeatable
    if not fresh:
        return action.answer(
            "refused",
            "This confirmation was used already, or it cannot be checked at the moment.",
            next_step="Look at what was done. Make the same call again, without a token, if the user wants it again.",
        )
    try:
        return await _send(action)
    except (ExtendError, CallRefusedError):
        # Only a refusal comes out here: nothing was changed, so the yes is still good.
        if proposal_id is not None:
            with suppress(StoreUnavailableError):
                await store.unuse(proposal_id)
        raise


async def patiently(app: CallerContext, send: Callable[[], Awaitable[T]]) -> T:
    """Send again, a few times, what Extend refuses for its rate: it never looked at such a request.

    ``send`` reads the live state before each request.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            return await send()
        except RateLimitedError as error:
            wait = 1.0 if error.retry_after is None else error.retry_after
            if not left or wait > _LONGEST_WAIT:
                raise
        await app.clock.sleep(wait)
    raise AssertionError


async def _send(action: Action[ViewT]) -> ViewT:
    try:
        return await action.send()
    except ExtendError as error:
        if error.effect == "none":
            raise
        problem = error_words(error)
    try:
        seen = await action.look()
    except ExtendError:
        seen = "Looking at it failed too."
    message = f"No clear answer came ({problem}). {seen} It was not sent again."
    return action.answer("unknown", message, sent=True, next_step=action.after_unclear)
