"""The pages agree with the program and with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import configuration, examples

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "manifests" / "README.md", ROOT / "llms.txt"])


async def test_every_tool_answers_as_the_page_of_examples_shows() -> None:
    assert examples.PAGE.read_text() == examples.page(await examples.examples()), "python -m tests.docs.examples"


async def test_the_report_is_as_its_page_shows() -> None:
    page = examples.REPORT_PAGE.read_text()
    assert page == await examples.with_report(page), "python -m tests.docs.examples"


def test_the_tables_of_settings_are_as_they_are_written() -> None:
    page = configuration.PAGE.read_text()
    assert page == configuration.written(page), "python -m tests.docs.configuration"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    index = (ROOT / "llms.txt").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "README.md":
            assert f"({page.name})" in listed, page.name
            assert f"(docs/{page.name})" in index, page.name


def test_what_troubleshooting_quotes_is_what_the_program_says() -> None:
    """Each message in the tables' first columns is in the source, word for word."""
    source = "\n".join(file.read_text() for file in (ROOT / "extend_mcp").rglob("*.py"))
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = [
        each for row in re.findall(r"^\| ([^|]+)\|", text, re.MULTILINE) for each in re.findall(r"`([^`]+)`", row)
    ]
    assert len(quoted) > 15
    for message in quoted:
        known = message.removeprefix("Extend answered ") if re.fullmatch(r"Extend answered \d{3}", message) else message
        assert known in source, message
