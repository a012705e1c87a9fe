"""The one engine for writes: inspect, judge, ask, inspect again, send once, verify.

A single action goes through :func:`execute`. `bulk` runs the same steps over a plan of many runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, TypeVar

from mcp_types import InputRequiredResult

from extend_mcp.actions.confirm import Consent, Proposal, confirm, digest, earlier_proposal
from extend_mcp.actions.store import StoreUnavailableError
from extend_mcp.api.errors import ExtendError, NotFoundError
from extend_mcp.api.requests import RequestModel
from extend_mcp.audit import write_record
from extend_mcp.callers import CallerContext, Ctx
from extend_mcp.refusal import CallRefusedError
from extend_mcp.views.actions import ActionView, Outcome, WriteView
from extend_mcp.views.document import error_words

ViewT = TypeVar("ViewT", bound=WriteView)

STOP_ASKING = "Do not ask again unless the user wants it."


@dataclass(frozen=True)
class Inspection(Generic[ViewT]):
    """The live state of an action's target, as a person sees it before saying yes."""

    question: Sequence[str] = ()  # with the facts that a yes is bound to
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

    name: ClassVar[str]  # the tool's name
    kind: ClassVar[type[Any]]
    repeatable: ClassVar[bool] = True  # True if a repeated request changes nothing more, as for a delete

    @property
    def arguments(self) -> Any:
        """Everything that the call gives, so that a yes is bound to all of it."""
        given = [getattr(self, each.name) for each in fields(self)[1:] if each.init and not each.name.startswith("_")]
        return [each.model_dump(mode="json") if isinstance(each, RequestModel) else each for each in given]

    async def inspect(self) -> Inspection[ViewT] | None:
        """Read the live state; None if nobody needs to be asked.

        Raises:
            ExtendError: the state could not be read.
        """
        return None

    @abstractmethod
    async def send(self) -> ViewT:
        """Send the request once, and return the answer for its success.

        Raises:
            ExtendError: Extend refused the request, or gave no clear answer.
        """

    async def look(self) -> str:
        """Say in one or two sentences what the state is after a request whose outcome is unclear."""
        return ""

    async def verify(self, error: ExtendError) -> ViewT:
        """Look up a request whose outcome is unclear, and return what is known."""
        try:
            seen = await self.look()
        except ExtendError:
            seen = "Looking at it failed too."
        message = f"No clear answer came ({error_words(error)}). {seen} It was not sent again."
        return self.answer("unknown", message, sent=True, next_step="Look before repeating it.")

    def answer(
        self,
        outcome: Outcome,
        message: str,
        *,
        sent: bool = False,
        details: Sequence[str] = (),
        token: str | None = None,
        next_step: str | None = None,
        **fields: Any,
    ) -> ViewT:
        """Build an answer of this action, with the fields of its kind; ``details`` are lines with the facts."""
        view: ViewT = self.kind(
            outcome=outcome, message=message, request_sent=sent, confirmation_token=token, next_step=next_step, **fields
        )
        return view.rendered(self.app.limits.answer_chars, details)

    def too_late(self, found: Inspection[ViewT], before: str) -> ViewT:
        """Answer that the state forbids the action since it was proposed, when the target's status was ``before``."""
        del before
        return found.refusal or self.changed(found)

    def changed(self, found: Inspection[ViewT]) -> ViewT:
        """Answer that the facts a person was shown have changed."""
        return self.answer(
            "changed",
            "What the person was asked about has changed meanwhile, so their answer does not count.",
            details=[*found.question, *found.progress],
            next_step="Show the user how it is now; make the same call again, without a token, if they still want it.",
        )

    def declined(self, found: Inspection[ViewT], note: str) -> ViewT:
        """Answer that nobody said yes."""
        del found
        return self.answer("declined", note, next_step=STOP_ASKING)

    def unconfirmed(self, found: Inspection[ViewT], consent: Consent) -> ViewT:
        """Answer with the plan and the token of a client that cannot ask."""
        return self.answer(
            "confirmation_required",
            f"{consent.note} A person must agree first.".strip(),
            details=[*found.question, *found.progress],
            token=consent.token,
            next_step="Show this plan to the user. Only if they agree, make the same call with the confirmation_token.",
        )

    def not_found(self, before: str | None = None) -> ViewT:
        """Answer that the target does not exist; a moment ago it did, in the status ``before``, if that is given."""
        del before
        return self.answer(
            "not_found", "There is no such object for this API key: wrong id, workspace or region, or deleted already."
        )


@dataclass
class ObjectAction(Action[ActionView]):
    """A write on one object, answered by an :class:`ActionView`."""

    kind: ClassVar[type[ActionView]] = ActionView

    def answer(
        self, outcome: Outcome, message: str, *, target: str = "", details: Sequence[str] = (), **known: Any
    ) -> ActionView:
        """Build the answer of this action; ``target`` names a new object."""
        view = super().answer(outcome, message, id=target or self.target or None, details=details, **known)
        view.details = list(details) or None
        return view


@dataclass
class DeleteObject(ObjectAction):
    """Delete an object for good. An action ``delete_x`` uses the client's methods ``get_x`` and ``delete_x``."""

    deleted: ClassVar[str]  # the message
    then: ClassVar[str | None] = None  # the next step

    async def send(self) -> ActionView:
        await getattr(self.app.api, self.name)(self.target)
        return self.answer("done", self.deleted, sent=True, next_step=self.then)

    async def look(self) -> str:
        try:
            found = await getattr(self.app.api, self.name.replace("delete", "get"))(self.target)
        except NotFoundError:
            return "A second look does not find it: it is deleted."
        return f"A second look still {self.found(found)}."

    def found(self, found: Any) -> str:
        """Say in what state a second look finds the object."""
        del found
        return "finds it"


async def execute(ctx: Ctx, action: Action[ViewT], token: str | None = None) -> ViewT | InputRequiredResult:
    """Carry out ``action`` if its live state allows it and, where it needs one, a person agrees.

    Returns the outcome; or the result that makes the client ask its user first.

    Raises:
        ExtendError: the state could not be read, or Extend refused the request.
    """
    record = write_record()
    earlier = earlier_proposal(ctx, action.name, token)
    if earlier and earlier.target == action.target and action.reason is None:
        # The confirming call may leave the reason out.
        action.reason = earlier.reason or None
    record.target, record.reason = action.target, action.reason or ""
    try:
        found = await action.inspect()
    except NotFoundError:
        return action.not_found()
    if found is None:
        return await _send(action)
    proposal = _judge(action, found, earlier)
    if not isinstance(proposal, Proposal):
        return proposal
    consent = await confirm(ctx, proposal, [*found.question, *found.progress], token)
    if isinstance(consent, InputRequiredResult):
        return consent
    if consent.answer == "refused":
        record.verdict = "refused"
        return action.answer("refused", consent.note, next_step="Ask the user to do it in a client that can ask them.")
    if consent.answer == "no":
        return action.declined(found, consent.note)
    if consent.answer == "token_required":
        return action.unconfirmed(found, consent)
    record.confirmed_by = consent.by
    if consent.waited:
        # A person takes time: an earlier read says nothing about the present.
        try:
            found = await action.inspect()
        except NotFoundError:
            return action.not_found(proposal.seen)
        assert found is not None
        judged = _judge(action, found, proposal)
        if not isinstance(judged, Proposal):
            return judged
    return await _send_once(action, consent)


def _judge(action: Action[ViewT], found: Inspection[ViewT], shown: Proposal | None) -> Proposal | ViewT:
    """Return what the live state lets us propose; the answer if it forbids the action, or is not what was ``shown``."""
    record = write_record()
    if found.refusal is not None:
        record.verdict = found.refusal.outcome
        return action.too_late(found, shown.seen) if shown else found.refusal
    record.verdict = "allowed"
    facts = digest(list(found.question), found.bound, action.arguments)
    proposal = Proposal(action.name, action.target, facts, found.status, action.reason or "")
    if shown and shown.target == proposal.target and not shown.same_as(proposal):
        return action.changed(found)
    return proposal


async def _send_once(action: Action[ViewT], consent: Consent) -> ViewT:
    """Send the request if this yes was not used before."""
    store, proposal_id = action.app.store, consent.proposal_id
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


async def _send(action: Action[ViewT]) -> ViewT:
    try:
        return await action.send()
    except ExtendError as error:
        if error.effect == "none":
            raise
        return await action.verify(error)
