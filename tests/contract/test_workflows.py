"""The official SDK judges workflows, their versions, and runs of what was defined through the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.judge import Judge, extend_ai

STEPS: list[dict[str, Any]] = [
    {"name": "Trigger", "type": "TRIGGER", "next": [{"step": "Parse"}]},
    {"name": "Parse", "type": "PARSE", "next": [{"step": "Sort"}]},
    {
        "name": "Sort",
        "type": "CLASSIFY",
        "config": {
            "classifierConfig": {
                "classifications": [
                    {"id": "bill", "type": "bill", "description": "A bill"},
                    {"id": "letter", "type": "letter", "description": "A letter"},
                    {"id": "other", "type": "other", "description": "Anything else"},
                ]
            }
        },
        "next": [{"step": "Read bill", "classificationId": "bill"}, {"step": "Decide", "classificationId": "letter"}],
    },
    {
        "name": "Read bill",
        "type": "EXTRACT",
        "config": {"extractorConfig": {"schema": {"type": "object", "properties": {"iban": {"type": "string"}}}}},
        "next": [{"step": "Decide"}],
    },
    {
        "name": "Decide",
        "type": "CONDITIONAL",
        "config": {
            "conditions": [
                {"id": "large", "type": "IF", "operation": "GTE", "referenceTarget": "total", "value": "10"},
                {"id": "rest", "type": "ELSE", "operation": "NO_OP"},
            ]
        },
        "next": [{"step": "Check", "conditionId": "large"}],
    },
    {
        "name": "Check",
        "type": "RULE_VALIDATION",
        "config": {"rules": [{"name": "has a total", "formula": "total > 0"}]},
        "next": [{"step": "Look", "result": "fail"}],
    },
    {"name": "Look", "type": "HUMAN_REVIEW"},
]


def test_every_workflow_and_version_of_the_scenario_passes(judge: Judge) -> None:
    summaries = judge.every(extend_ai.WorkflowSummary, judge.sdk.workflows.list)
    assert {entry["id"] for entry in summaries} == {each["id"] for each in judge.sandbox.state()["workflows"]}
    for entry in summaries:
        workflow = judge.strictly(
            extend_ai.Workflow,
            lambda entry=entry: judge.sdk.workflows.retrieve(entry["id"]),  # type: ignore[misc]
        )
        assert len(workflow.draft_version.steps) > 5
        versions = judge.every(
            extend_ai.WorkflowVersionSummary,
            lambda entry=entry, **page: judge.sdk.workflow_versions.list(entry["id"], **page),  # type: ignore[misc]
        )
        assert "draft" in {version["version"] for version in versions}
        for version in versions:
            found = judge.strictly(
                extend_ai.WorkflowVersion,
                lambda entry=entry, version=version: judge.sdk.workflow_versions.retrieve(entry["id"], version["id"]),  # type: ignore[misc]
            )
            assert [step.name for step in found.steps]


def test_a_workflow_is_made_changed_deployed_and_run(judge: Judge) -> None:
    made = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Letters", steps=STEPS))
    assert judge.raw["draftVersion"]["steps"] == STEPS
    renamed = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.update(made.id, name="Post"))
    assert renamed.name == "Post"
    assert judge.raw["draftVersion"]["steps"] == STEPS
    first = judge.strictly(extend_ai.WorkflowVersion, lambda: judge.sdk.workflow_versions.create(made.id, name="One"))
    assert (first.version, first.name) == ("1", "One")
    shorter = [STEPS[0], {"name": "Parse", "type": "PARSE"}]
    judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.update(made.id, steps=shorter))
    second = judge.strictly(extend_ai.WorkflowVersion, lambda: judge.sdk.workflow_versions.create(made.id))
    assert second.version == "2"
    judge.strictly(extend_ai.WorkflowVersion, lambda: judge.sdk.workflow_versions.retrieve(made.id, first.id))
    assert judge.raw["steps"] == STEPS, "a published version does not change with the draft"

    def steps_run(file: str, version: str | None) -> list[str]:
        run = judge.run(
            lambda: judge.sdk.workflow_runs.create(
                workflow={"id": made.id, **({"version": version} if version else {})},
                file={"url": f"https://files.example/{file}"},
            )
        )
        judge.sandbox.advance(300)
        judge.run(lambda: judge.sdk.workflow_runs.retrieve(run.id))
        return [step["step"]["name"] for step in judge.raw["stepRuns"]]

    assert steps_run("my-bill.pdf", "1") == ["Parse", "Sort", "Read bill", "Check"]
    assert steps_run("a-letter.pdf", "1") == ["Parse", "Sort", "Check"]
    assert steps_run("a-letter.pdf", None) == ["Parse"]
    assert steps_run("review-the-letter.pdf", "1") == ["Parse", "Sort", "Check"]
    assert judge.raw["status"] == "NEEDS_REVIEW"


def test_a_workflow_made_from_nothing_has_a_draft_that_runs(judge: Judge) -> None:
    made = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Empty"))
    run = judge.run(lambda: judge.sdk.workflow_runs.create(workflow={"id": made.id}, file={"text": "a"}))
    assert judge.raw["workflowVersion"]["version"] == "draft"
    assert run.workflow.id == made.id


def test_an_unconfigured_step_may_be_drafted_but_not_deployed(judge: Judge) -> None:
    steps = [
        STEPS[0],
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Later"}]},
        {"name": "Later", "type": "EXTRACT"},
    ]
    made = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Later", steps=steps))
    with pytest.raises(extend_ai.BadRequestError):
        judge.sdk.workflow_versions.create(made.id)
    assert judge.raw["message"].endswith("Path: steps.2.config")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda sdk: sdk.workflows.retrieve("workflow_nowhere"), extend_ai.NotFoundError),
        (lambda sdk: sdk.workflows.update("workflow_nowhere", name="x"), extend_ai.NotFoundError),
        (lambda sdk: sdk.workflow_versions.list("workflow_nowhere"), extend_ai.NotFoundError),
        (lambda sdk: sdk.workflow_versions.create("workflow_nowhere"), extend_ai.NotFoundError),
        (lambda sdk: sdk.workflows.create(name=""), extend_ai.BadRequestError),
        (lambda sdk: sdk.workflows.create(name="x", steps=[]), extend_ai.BadRequestError),
        (lambda sdk: sdk.workflows.create(name="x", steps=[STEPS[0]]), extend_ai.BadRequestError),
    ],
)
def test_what_cannot_be_is_refused(judge: Judge, call: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        call(judge.sdk)


def test_a_version_of_another_workflow_is_not_found(judge: Judge) -> None:
    one, other = (each["id"] for each in judge.sandbox.state()["workflows"][:2])
    version = judge.sdk.workflow_versions.list(other).data[0].id
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.workflow_versions.retrieve(one, version)


def test_an_update_keeps_what_it_leaves_out_of_validations_and_routers(judge: Judge) -> None:
    block = {"blockType": "semantic", "name": "n", "semantic": {"promptText": "Is it?"}}
    steps = [
        STEPS[0],
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Check"}]},
        {
            "name": "Check",
            "type": "VALIDATION",
            "config": {"blocks": [block]},
            "next": [{"step": "Route", "result": "pass"}],
        },
        {"name": "Route", "type": "ROUTER", "config": {"branches": [{"id": "a", "name": "A", "block": block}]}},
    ]
    made = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Routes", steps=steps))
    steps[2] = {"name": "Check", "type": "VALIDATION"}
    steps[3] = {"name": "Route", "type": "ROUTER", "config": {"branches": [{"id": "a"}, {"id": "b"}]}}
    judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.update(made.id, steps=steps))
    check, route = judge.raw["draftVersion"]["steps"][2:]
    assert check == {"name": "Check", "type": "VALIDATION", "config": {"blocks": [block]}}
    assert route["config"]["branches"][0] == {"id": "a", "name": "A", "block": block}
    assert route["config"]["branches"][1]["block"]["code"]["language"] == "javascript"
    steps[3] = {"name": "Route", "type": "ROUTER"}
    judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.update(made.id, steps=steps))
    assert judge.raw["draftVersion"]["steps"][3] == route


def test_an_inline_classifier_without_other_is_drafted_and_not_deployed(judge: Judge) -> None:
    inline = {"classifications": [{"id": "bill", "type": "bill", "description": "A bill"}]}
    steps = [
        STEPS[0],
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Sort"}]},
        {"name": "Sort", "type": "CLASSIFY", "config": {"classifierConfig": inline}},
    ]
    made = judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Sorts", steps=steps))
    with pytest.raises(extend_ai.BadRequestError):
        judge.sdk.workflow_versions.create(made.id)
    assert judge.raw["message"].endswith("Path: steps.2.config.classifierConfig.classifications")


@pytest.mark.parametrize("language", ["javascript", "python", "ruby"])
def test_code_blocks_are_in_the_languages_that_the_sdk_knows(judge: Judge, language: str) -> None:
    block = {"blockType": "code", "name": "n", "code": {"language": language, "code": "return true;"}}
    steps = [
        STEPS[0],
        {"name": "Parse", "type": "PARSE", "next": [{"step": "Check"}]},
        {"name": "Check", "type": "VALIDATION", "config": {"blocks": [block]}},
    ]
    if language == "ruby":
        with pytest.raises(extend_ai.BadRequestError):
            judge.sdk.workflows.create(name="Code", steps=steps)
        assert judge.raw["message"].endswith("Path: steps.2.config.blocks.0.code.language")
        return
    judge.strictly(extend_ai.Workflow, lambda: judge.sdk.workflows.create(name="Code", steps=steps))
    assert judge.raw["draftVersion"]["steps"] == steps


def test_a_version_is_read_by_draft_latest_number_or_id(judge: Judge) -> None:
    def read(workflow: str, version: str) -> tuple[str, str]:
        found = judge.strictly(
            extend_ai.WorkflowVersion, lambda: judge.sdk.workflow_versions.retrieve(workflow, version)
        )
        return found.id, found.version

    workflow = judge.sandbox.state()["workflows"][0]["id"]
    ids = {each.version: each.id for each in judge.sdk.workflow_versions.list(workflow).data}
    newest = str(max(int(version) for version in ids if version != "draft"))
    assert read(workflow, "draft") == (ids["draft"], "draft")
    assert read(workflow, "latest") == read(workflow, newest) == read(workflow, ids[newest]) == (ids[newest], newest)
    assert read(workflow, "1") == (ids["1"], "1")
    with pytest.raises(extend_ai.NotFoundError):
        judge.sdk.workflow_versions.retrieve(workflow, "99")
    unpublished = judge.sdk.workflows.create(name="New").id
    assert read(unpublished, "latest")[1] == "draft"
