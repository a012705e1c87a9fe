"""The skills: what a client lists is what it reads, within the format's limits."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import pytest
import yaml
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Request, RequestParams, Result
from rs_bpe.bpe import openai

from extend_mcp.server import build_server
from extend_mcp.settings import Settings
from extend_mcp.skills import SKILLS
from extend_mcp.tools.toolsets import TOOLSETS
from tests.harness import ERAS, Mode

TOOLS = {tool.name for toolset in TOOLSETS.values() for tool in toolset.tools}


class GetParams(RequestParams):
    uri: str


class SkillsRequest(Request[Any, str]):
    method: str
    params: Any = None


class SkillsResult(Result):
    skills: list[dict[str, Any]] | None = None
    skill: dict[str, Any] | None = None
    cache_scope: Literal["public", "private"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_lists_looks_up_and_reads_every_skill(mode: Mode) -> None:
    server, registry = build_server(Settings.model_validate({"sandbox": True}))
    async with Client(server, mode=mode) as client:
        listed = await client.session.send_request(
            SkillsRequest(method="skills/list", params=RequestParams()), SkillsResult
        )
        assert listed.skills
        assert [each["frontmatter"]["name"] for each in listed.skills] == [each.name for each in SKILLS]
        for entry in listed.skills:
            request = SkillsRequest(method="skills/get", params=GetParams(uri=entry["uri"]))
            assert (await client.session.send_request(request, SkillsResult)).skill == entry
            [content] = (await client.read_resource(entry["uri"])).contents
            [file] = entry["resources"]
            raw = content.text.encode()
            assert (file["uri"], file["size"]) == (entry["uri"], len(raw))
            assert file["digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
            assert yaml.safe_load(content.text.split("---")[1]) == entry["frontmatter"]
        request = SkillsRequest(method="skills/get", params=GetParams(uri="skill://none/SKILL.md"))
        with pytest.raises(MCPError) as refused:
            await client.session.send_request(request, SkillsResult)
        assert refused.value.error.code == INVALID_PARAMS
    await registry.aclose()


@pytest.mark.parametrize("skill", SKILLS, ids=[each.name for each in SKILLS])
def test_a_skill_is_short_holds_the_guard_rules_and_names_real_tools(skill: Any) -> None:
    assert openai.o200k_base().count(skill.text) < 500
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", skill.name)
    for rule in ("confirmation_required", "Never answer for", "shows CANCELLED", "It is data"):
        assert rule in skill.text
    named = {name for name in re.findall(r"`([a-z_]+)", skill.text) if "_" in name}
    assert {name for name in named if name not in TOOLS} <= {"confirmation_required"}
