"""All manifests come from one description: they say what it says, and nothing that is secret."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import tomlkit
import yaml
from click.testing import CliRunner

from extend_mcp import __version__
from extend_mcp.client_config.clients import CLIENTS, input_id, published
from extend_mcp.settings import Settings
from release.__main__ import main
from release.description import REGISTRY_NAME, REPOSITORY, SUMMARY, Description, Variable, describe
from release.manifests import MANIFESTS, NOT_VALIDATED, render_all
from release.plugins import cursor_link, vscode_link

ROOT = Path(__file__).parents[2]
KEY = "EXTEND_API_KEY"
# These formats have no place for settings: one lists a plugin, the other leaves them to the caller.
WITHOUT_SETTINGS = {
    "claude-plugin/.claude-plugin/marketplace.json",
    "agent-plugins/plugin.json",
    "agent-plugins/mcp.json",
    "codex-plugin/.codex-plugin/plugin.json",
    *(path for path in render_all(describe()) if path.endswith("SKILL.md")),
}
# These tell every setting that is offered; the others are blocks to copy, and hold the key alone.
WITH_ALL_SETTINGS = {
    "registry/server.json",
    "bundle/manifest.json",
    "claude-plugin/extend-mcp/.claude-plugin/plugin.json",
    "gemini/gemini-extension.json",
    "docker/server.yaml",
    "README.md",
}


def documents(description: Description) -> dict[str, Any]:
    """Each manifest as data, and the page as its lines."""
    read = {"json": json.loads, "toml": lambda text: tomlkit.parse(text).unwrap(), "yaml": yaml.safe_load}
    return {
        path: text.splitlines() if path.endswith(".md") else read[path.rpartition(".")[2]](text)
        for path, text in render_all(description).items()
    }


def differences(old: Any, new: Any, at: str = "") -> list[tuple[str, Any, Any]]:
    """Return where two documents differ: the places, and their values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys((*old, *new))
        return [each for key in keys for each in differences(old.get(key), new.get(key), f"{at}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            each
            for number, (a, b) in enumerate(zip(old, new, strict=True))
            for each in differences(a, b, f"{at}/{number}")
        ]
    return [] if old == new else [(at, old, new)]


def test_what_is_committed_is_what_is_rendered() -> None:
    folder = ROOT / "manifests"
    there = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert there == render_all(describe())


def test_the_name_in_the_registry_is_marked_in_the_readme_and_the_page_of_the_package_agrees() -> None:
    [marked] = re.findall(r"<!-- mcp-name: (\S+) -->", (ROOT / "README.md").read_text())
    assert marked == REGISTRY_NAME == documents(describe())["registry/server.json"]["name"]
    assert len(SUMMARY) <= 100
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]
    assert project["urls"]["Repository"] == REPOSITORY
    assert project["name"] == describe().package


def test_the_blocks_of_the_readme_are_the_clients_own() -> None:
    shown = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    ]
    assert shown == [CLIENTS["claude-desktop"].document(published())]


def _unpacked(document: Any) -> str:
    """The text of a document, with the base64 of Cursor's link decoded."""
    return re.sub(
        r"(?<=config=)[\w%-]+", lambda found: base64.b64decode(unquote(found[0])).decode(), json.dumps(document)
    )


def test_all_versions_agree() -> None:
    marked = describe()
    other = documents(dataclasses.replace(marked, version="9.8.7"))
    for path, document in documents(marked).items():
        found = re.findall(r'"version": "([^"]+)"', json.dumps(document))
        assert set(found) <= {__version__}
        # Each version in a manifest is the package's.
        assert _unpacked(other[path]) == _unpacked(document).replace(__version__, "9.8.7")
    shown = [*map(_unpacked, documents(marked).values()), (ROOT / "README.md").read_text()]
    assert not [text for text in shown if re.search(r'uvx extend-mcp(?!==)|\["extend-mcp"', text)]


def test_a_setting_is_described_as_the_settings_describe_it() -> None:
    for variable in describe().variables:
        [field] = [each for each in Settings.model_fields.values() if each.validation_alias == variable.name]
        assert variable.help == field.description
        assert variable.secret == ("SecretStr" in str(field.annotation))
    assert [each.name for each in describe().variables if each.secret] == [KEY]


def test_renaming_the_key_changes_every_manifest_that_tells_settings_and_nothing_else() -> None:
    before = describe()
    key = dataclasses.replace(before.variable(KEY), name="EXTEND_OTHER_KEY")
    after = Description(before.version, tuple(key if each.name == KEY else each for each in before.variables))
    old, new = documents(before), documents(after)
    # The one for a hosted server asks for the key as a header and names no variable.
    assert {path for path in old if old[path] != new[path]} == set(old) - WITHOUT_SETTINGS - {"self-hosted/server.json"}

    def renamed(text: str) -> str:
        for made in (lambda name: name, lambda name: Variable(name, "").id, input_id):
            text = text.replace(made(KEY), made("EXTEND_OTHER_KEY"))
        return text.replace("API key", "Other key") if "API key" in text else text

    for path in old:
        if path == "README.md":
            continue  # Cursor's link is packed, so its letters change with it.
        text = json.dumps(new[path]).replace("API key", "Other key")
        assert text == renamed(json.dumps(old[path])), path


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("EXTEND_REGION", {"help": "Where the account lives."}),
        ("EXTEND_REGION", {"default": "eu"}),
        ("EXTEND_WORKSPACE_ID", {"secret": True}),
        ("EXTEND_MCP_TOOLSETS", {"default": None}),
        (KEY, {"help": "The key."}),
    ],
)
def test_changing_one_setting_changes_what_tells_it_and_nothing_else(name: str, changed: dict[str, Any]) -> None:
    before = describe()
    variable = dataclasses.replace(before.variable(name), **changed)
    old, new = documents(before), documents(before.replacing(variable))
    moved = {path for path in old if old[path] != new[path]}
    assert moved <= set(old) - WITHOUT_SETTINGS
    if "help" in changed:
        assert moved >= WITH_ALL_SETTINGS
    others = {each.name for each in before.variables} - {name}
    for path in moved - {"README.md"}:
        for place, one, other in differences(old[path], new[path]):
            about = f"{place} {json.dumps(one)} {json.dumps(other)}"
            # A list that got an item also contains the others, unchanged.
            if not isinstance(one, list):
                assert not any(re.search(rf"\b{other_name}\b", about) for other_name in others), (path, place)


SECRET_IS_MARKED = {
    "registry/server.json": lambda d: d["packages"][0]["environmentVariables"][0]["isSecret"],
    "self-hosted/server.json": lambda d: d["remotes"][0]["headers"][0]["variables"]["key"]["isSecret"],
    "bundle/manifest.json": lambda d: d["user_config"]["api_key"]["sensitive"],
    "claude-plugin/extend-mcp/.claude-plugin/plugin.json": lambda d: d["userConfig"]["api_key"]["sensitive"],
    "vscode/.vscode/mcp.json": lambda d: d["inputs"][0]["password"],
    "gemini/gemini-extension.json": lambda d: d["settings"][0]["sensitive"],
    "docker/server.yaml": lambda d: d["config"]["secrets"][0]["env"] == KEY,
    "codex/config.toml": lambda d: d["mcp_servers"]["extend"]["env_vars"] == [KEY],
    "goose/config.yaml": lambda d: d["extensions"]["extend"]["env_keys"] == [KEY],
}


@pytest.mark.parametrize("path", SECRET_IS_MARKED)
def test_a_secret_is_marked_where_the_format_can(path: str) -> None:
    assert SECRET_IS_MARKED[path](documents(describe())[path]) is True


def test_no_manifest_holds_a_value_for_a_secret() -> None:
    for path, document in documents(describe()).items():
        text = json.dumps(document)
        for value in re.findall(rf'"{KEY}": "([^"]*)"', text):
            assert value.startswith("${"), path
        assert "sk_" not in text


def test_what_is_not_validated_says_so_and_is_what_no_validator_reads() -> None:
    checked = (ROOT / ".ci" / "manifests").read_text()
    for manifest in MANIFESTS:
        folder = manifest.path.partition("/")[0]
        assert (folder in checked) != manifest.checked.startswith(NOT_VALIDATED), manifest.path


def test_the_links_carry_the_entries() -> None:
    query = parse_qs(urlsplit(cursor_link(describe())).query)
    assert query["name"] == ["extend"]
    document = documents(describe())
    assert (
        json.loads(base64.b64decode(query["config"][0])) == document["cursor/.cursor/mcp.json"]["mcpServers"]["extend"]
    )
    text = json.loads(unquote(vscode_link(describe()).partition("?")[2]))
    assert text == {
        "name": "extend",
        **document["vscode/.vscode/mcp.json"]["servers"]["extend"],
        "inputs": document["vscode/.vscode/mcp.json"]["inputs"],
    }


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["manifests", "--output", str(folder), *arguments])
    return result.exit_code, result.output


def test_the_folder_is_rendered_and_a_difference_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    assert run(folder)[0] == 0
    assert run(folder, "--check") == (0, "")
    (folder / "cursor" / ".cursor" / "mcp.json").write_text("{}")
    (folder / "stray.json").write_text("{}")
    (folder / "codex" / "config.toml").unlink()
    code, text = run(folder, "--check")
    assert code == 1
    assert all(name in text for name in ("mcp.json", "stray.json", "config.toml"))
    assert "server.json" not in text
    run(folder)
    assert (folder / "cursor" / ".cursor" / "mcp.json").read_text() == render_all(describe())["cursor/.cursor/mcp.json"]
