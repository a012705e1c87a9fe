"""Compare our rules with what the sandbox accepts, in any order of operations; the two were written apart."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extend_mcp.runs.lifecycle import STATUSES, STEP_OVER, describe, is_finished, is_moving
from extend_mcp.sandbox.api.routing import Call
from extend_mcp.sandbox.api.run_routes import cancel_workflow_run, create_workflow_run, delete_workflow_run
from extend_mcp.sandbox.engine.run_engine import NotPossibleError
from extend_mcp.sandbox.engine.validation import ApiError
from extend_mcp.sandbox.sandbox import Sandbox
from tests.harness import example_run
from tests.sandbox.kit import make_sandbox

_LONG = 30 * 86_400.0


def accepted(operation: Callable[[], object]) -> bool:
    """Return whether the sandbox does it; it refuses in one of two ways."""
    try:
        operation()
    except (ApiError, NotPossibleError):
        return False
    return True


class Lifecycle(RuleBasedStateMachine):
    """Some runs of one sandbox, to which anything happens in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.sandbox: Sandbox
        self.over: dict[str, str] = {}
        self.at_rest: dict[str, str] = {}
        self.loaded = 0

    @initialize(directly=st.booleans(), refuses=st.booleans())
    def open(self, directly: bool, refuses: bool) -> None:
        self.sandbox = make_sandbox(
            scenario="empty", cancel_pending_directly=directly, delete_refuses_moving_runs=refuses
        )

    def pick(self, data: st.DataObject) -> str:
        run_id: str = data.draw(st.sampled_from(sorted(self.sandbox.store.runs)))
        return run_id

    def status(self, run_id: str) -> str:
        self.sandbox.catch_up()
        return self.sandbox.record(run_id).status

    @rule(data=st.data(), text=st.sampled_from(["a", "Total 5000", "contract"]))
    def start(self, data: st.DataObject, text: str) -> None:
        workflow = data.draw(st.sampled_from(sorted(self.sandbox.store.workflows)))
        body = {"workflow": {"id": workflow}, "file": {"text": text, "name": "a.txt"}}
        made = create_workflow_run(self.sandbox, Call(query={}, path={}, body=body))
        assert made["status"] == "PENDING"

    @rule(status=st.sampled_from(sorted(STATUSES)))
    def load(self, status: str) -> None:
        self.loaded += 1
        self.sandbox.load_run(example_run(f"workflow_run_machine{self.loaded:08}", status), live=True)

    @precondition(lambda self: self.sandbox.store.runs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        run_id = self.pick(data)
        verdict = describe(self.status(run_id))
        call = Call(query={}, path={"id": run_id})
        assert accepted(lambda: cancel_workflow_run(self.sandbox, call)) == verdict.may_cancel
        if verdict.may_cancel:
            # The answer that our cancel waits for, and no other, follows.
            assert describe(self.status(run_id)).phase == "ending" or self.status(run_id) == "CANCELLED"

    @precondition(lambda self: self.sandbox.store.runs)
    @rule(data=st.data(), status=st.sampled_from(["PROCESSED", "FAILED"]))
    def cancel_too_late(self, data: st.DataObject, status: str) -> None:
        run_id = self.pick(data)
        allowed = describe(self.status(run_id)).may_cancel
        self.sandbox.finish_run(run_id, status, before_cancel=True)
        call = Call(query={}, path={"id": run_id})
        assert not accepted(lambda: cancel_workflow_run(self.sandbox, call))
        self.sandbox.record(run_id).finish_on_cancel = None
        if allowed:
            # The guard now says so too, so that the refusal is reported as a race and not as a fault.
            assert describe(self.status(run_id)).refusal == "already_finished"

    @precondition(lambda self: self.sandbox.store.runs)
    @rule(data=st.data(), decision=st.sampled_from(["approve", "reject"]))
    def review(self, data: st.DataObject, decision: str) -> None:
        run_id = self.pick(data)
        expected = describe(self.status(run_id)).phase == "review"
        if expected:
            self.at_rest.pop(run_id, None)
        assert accepted(lambda: self.sandbox.review(run_id, decision, "seen")) == expected

    @precondition(lambda self: self.sandbox.store.runs)
    @rule(data=st.data(), status=st.sampled_from(["PROCESSED", "FAILED"]))
    def finish(self, data: st.DataObject, status: str) -> None:
        run_id = self.pick(data)
        expected = not is_finished(self.status(run_id))
        if expected:
            self.at_rest.pop(run_id, None)
        assert accepted(lambda: self.sandbox.finish_run(run_id, status)) == expected

    @precondition(lambda self: self.sandbox.store.runs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        run_id = self.pick(data)
        # Our tool deletes only what rests, which even the stricter reading of the reference accepts.
        at_rest = not is_moving(self.status(run_id))
        done = accepted(lambda: delete_workflow_run(self.sandbox, Call(query={}, path={"id": run_id})))
        assert done or not at_rest
        if done:
            self.over.pop(run_id, None)
            self.at_rest.pop(run_id, None)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 60.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.sandbox.advance(seconds)

    @rule()
    def wait_long(self) -> None:
        self.sandbox.advance(_LONG)
        assert not any(is_moving(record.status) for record in self.sandbox.store)

    @invariant()
    def statuses_are_known_and_ends_are_final(self) -> None:
        if not hasattr(self, "sandbox"):
            return
        self.sandbox.catch_up()
        for record in self.sandbox.store:
            assert record.status in STATUSES
            assert self.over.get(record.id, record.status) == record.status, "a finished run changed"
            assert self.at_rest.get(record.id, record.status) == record.status, "a resting run moved on its own"
            if is_finished(record.status):
                self.over[record.id] = record.status
            if not is_moving(record.status):
                self.at_rest[record.id] = record.status
            # The step that a view calls the one awaited is a step in progress.
            over = [step.get("status") in STEP_OVER for step in record.run["stepRuns"]]
            assert record.status != "PROCESSED" or all(over)


Lifecycle.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLifecycle = Lifecycle.TestCase
