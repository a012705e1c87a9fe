"""The write engine over a plan of many runs: plan, ask, act on exactly the planned runs, resume after an interruption.

- The first call makes a plan and sends nothing. The plan is kept; a token or the sealed request state names it.
- The call that brings a person's yes acts on each planned run that has no final outcome, several at once, and always
  after a fresh read of that run.
- A call that is cut short leaves what it knows in the plan: the same token resumes where it stopped.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import anyio

from extend_mcp.actions.confirm import issue_token
from extend_mcp.actions.execute import Action, Inspection, proposal_of
from extend_mcp.actions.store import Plan, PlannedRun
from extend_mcp.api.errors import CredentialError, ExtendError
from extend_mcp.audit import write_record
from extend_mcp.tools.run_scan import CALL_SECONDS, RunReader, in_parallel
from extend_mcp.views.actions import BulkResult, BulkView, Outcome, result_lines, skipped_words
from extend_mcp.views.document import counted, error_words
from extend_mcp.views.untrusted import Id

PLAN_GONE = "the plan is no longer kept (plans are kept for an hour, and a server that keeps them in memory loses them)"

AT_ONCE = 16
"""Runs of a plan that are changed at the same time."""


@dataclass
class BulkAction(Action[BulkView]):
    """One action on many runs, as a call wants it. Its target is its plan."""

    reader: RunReader = field(repr=False)
    plan: Plan = field(init=False, repr=False)  # once it is made or read

    kind: ClassVar[type[BulkView]] = BulkView
    resumable: ClassVar[bool] = True
    confirming: ClassVar[str] = "call again with this confirmation_token alone"

    @property
    def arguments(self) -> None:
        """Nothing: a yes is bound to the plan, and the call that brings it needs no other argument."""

    @abstractmethod
    async def propose(self) -> Plan | BulkView:
        """Read the live state and return the plan; the answer if there is nothing to agree to."""

    @abstractmethod
    async def act(self, run: PlannedRun) -> None:
        """Read one run again, judge it, send the request once, and note the outcome in ``run``.

        Without a final outcome the run stays open, and the next call with the same plan tries it again.

        Raises:
            ExtendError: a read failed, or Extend refused the request for now.
        """

    async def finish(self) -> None:
        """Follow up once every run has an outcome, such as by a last look."""

    async def inspect(self) -> Inspection[BulkView]:
        """Return the plan that the call names, or make one."""
        if self.shown and not self.target and not await self._read(self.shown.target):
            self.shown, self.token_problem = None, PLAN_GONE
        if not self.shown:
            proposed = await self.propose()
            if isinstance(proposed, BulkView):
                return Inspection(refusal=proposed)
            most = self.app.limits.bulk_runs
            if (count := len(proposed.runs)) > most:
                message = f"{count:,} runs would be acted on; the operator allows {most:,} in one call."
                return Inspection(
                    refusal=self.answer("refused", message, next_step="Narrow the filters, or name the runs.")
                )
            await self.app.store.put(proposed)
            self.plan = proposed
        self.target = self.plan.id
        self.known = {"planned": len(self.plan.runs), "skipped": self.plan.skipped}
        write_record().planned = self.plan.runs
        return self._shown()

    def _shown(self) -> Inspection[BulkView]:
        return Inspection(self.plan.question, bound=[run.run_id for run in self.plan.runs])

    async def send(self) -> BulkView:
        """Act on each open run of the plan while this call holds it."""
        store = self.app.store
        # A person takes time; the reading before the question does not count against the acting.
        self.reader.extend(CALL_SECONDS)
        async with store.hold(self.plan) as ours:
            if not ours:
                return self.answer(
                    "busy",
                    "Another call is carrying out this plan right now.",
                    next_step="Make the same call again in a few seconds.",
                )
            # Another call may have acted between our reading of the plan and our hold on it.
            if not await self._read(self.target):
                return self.no_such_plan()
            write_record().planned = self.plan.runs
            waiting = list(reversed(self.plan.open_runs))

            async def work() -> None:
                while waiting and self.reader.left > 0:
                    run = waiting.pop()
                    try:
                        await self.act(run)
                    except CredentialError:
                        raise
                    except ExtendError as error:
                        # The run stays open: the next call tries it again, or looks.
                        run.note = error_words(error)
                    finally:
                        # Also when the call is cut short: a resuming call must know what was sent.
                        with anyio.CancelScope(shield=True):
                            await store.save_run(self.plan, run)
                    done = f"{len(self.plan.runs) - len(self.plan.open_runs):,} of {len(self.plan.runs):,} runs done"
                    await self.reader.report(f"{done}; {Id(run.run_id)} {run.outcome or 'is not done yet'}")

            await in_parallel(work, min(AT_ONCE, len(waiting)))
            if not self.plan.open_runs:
                await self.finish()
                for run in self.plan.runs:
                    await store.save_run(self.plan, run)
        sent = any(run.sent_at is not None or run.outcome == "refused" for run in self.plan.runs)
        results = [BulkResult.model_validate(run) for run in self.plan.runs]
        if left := len(self.plan.open_runs):
            return self.answer(
                "partial",
                f"{left:,} of {len(results):,} planned runs are not done yet: time was up, or no clear answer came.",
                sent=sent,
                results=results,
                token=issue_token(self.app, replace(proposal_of(self, self._shown()), agreed=True)),
                next_step="Call again with this confirmation token alone: it resumes with the rest, and asks nobody.",
            )
        return self.answer("done", f"{counted(len(results), 'planned run')} done.", sent=sent, results=results)

    def answer(
        self,
        outcome: Outcome,
        message: str,
        *,
        details: Sequence[str] = (),
        results: Sequence[BulkResult] = (),
        **given: Any,
    ) -> BulkView:
        """Build an answer: the plan while it waits for a yes, or what became of each run."""
        given = {"planned": 0, "skipped": {}, **self.known, **given}
        counts = Counter(result.outcome for result in results)
        # Rare outcomes first: what did not go as asked is listed run by run.
        ordered = sorted(results, key=lambda result: (counts[result.outcome], result.outcome))
        if counts:
            message += f" In all: {', '.join(f'{count:,} {name}' for name, count in counts.most_common())}."
        lines = [] if details or not given["skipped"] else [f"Left out: {skipped_words(given['skipped'])}."]
        return super().answer(
            outcome,
            message,
            details=[*details, *lines, *result_lines(ordered)],
            plan=list(details) or None,
            results=ordered,
            counts=counts,
            **given,
        )

    def make_plan(self, runs: list[PlannedRun], question: list[str], skipped: Mapping[str, int]) -> Plan:
        """Make a plan of this action."""
        return Plan(
            action=self.name,
            principal=self.app.caller.principal,
            runs=runs,
            question=question,
            skipped=dict(skipped),
            made_at=self.app.clock.now().timestamp(),
        )

    async def _read(self, plan_id: str) -> bool:
        """Read the kept plan; return False if it is not kept."""
        app = self.app
        now = app.clock.now().timestamp()
        found = await app.store.get(plan_id, action=self.name, principal=app.caller.principal, now=now)
        if found:
            self.plan = found
        return found is not None

    def no_such_plan(self) -> BulkView:
        """Refuse a call that brings nothing but a token, where the token names no plan."""
        return self.answer(
            "refused",
            f"The confirmation token names no plan: {self.token_problem or PLAN_GONE}.",
            next_step="Make the first call again, with the runs.",
        )
