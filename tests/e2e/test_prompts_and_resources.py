"""Every prompt, resource and completion through a real client and a real child process, over both protocols."""

from __future__ import annotations

import pytest
from mcp.client.client import Client
from mcp_types import PromptReference, ResourceTemplateReference

from tests.e2e.test_eras import VERSIONS, child
from tests.harness import ERAS, Box, Mode, example_run

RUN = "workflow_run_resourcesE2E000001"


@pytest.mark.parametrize("mode", ERAS)
async def test_each_one_works(box: Box, mode: Mode) -> None:
    box.load({**example_run(RUN, "PROCESSING"), "batchId": "batch_e2e0001"})
    workflow = box.workflow()
    arguments = {
        "run_id": RUN,
        "batch_id": "batch_e2e0001",
        "workflow": "Invoice Processing",
        "workflow_id": workflow,
        "step": "1",
        "since": "7d",
    }
    async with Client(child(box), mode=mode) as client:
        assert client.protocol_version == VERSIONS[mode]
        prompts = (await client.list_prompts()).prompts
        assert len(prompts) == 7
        for prompt in prompts:
            given = {each.name: arguments[each.name] for each in prompt.arguments or [] if each.name in arguments}
            messages = (await client.get_prompt(prompt.name, given)).messages
            text = "\n".join(str(message.content) for message in messages)
            assert "1." in text, prompt.name
            assert "could not be read" not in text, prompt.name
        templates = (await client.list_resource_templates()).resource_templates
        uris = [template.uri_template.format(**arguments) for template in templates]
        for uri in [*uris, "extend://account"]:
            [contents] = (await client.read_resource(uri)).contents
            assert len(contents.text) > 50, uri  # type: ignore[union-attr]
        prompt_ref = PromptReference(type="ref/prompt", name="investigate_run")
        found = await client.complete(prompt_ref, {"name": "run_id", "value": "workflow_run_resourcesE2E"})
        assert found.completion.values == [RUN]
        template_ref = ResourceTemplateReference(type="ref/resource", uri="extend://batches/{batch_id}")
        found = await client.complete(template_ref, {"name": "batch_id", "value": "batch_e2e"})
        assert found.completion.values == ["batch_e2e0001"]
