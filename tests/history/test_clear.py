"""`extend-mcp history clear`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from extend_mcp.cli import main
from extend_mcp.history.store import RunStore
from extend_mcp.runs.statistics import Selection
from tests.history.test_store import ANN, fill, run

CONTENTS = {"text": b"not a database" * 100, "foreign": b"SQLite format 3\0" + b"\0" * 4080}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "runs.db"
    monkeypatch.setenv("EXTEND_MCP_HISTORY", str(path))
    return path


def cleared() -> str:
    result = CliRunner().invoke(main, ["history", "clear"])
    return f"{result.exit_code} {result.output}"


def test_it_removes_the_runs_and_the_damaged_files(file: Path) -> None:
    store = RunStore(str(file))
    fill(store, ANN, [run(1), run(2)])
    damaged = file.with_name("runs.db.damaged-20261125-120000-000000")
    damaged.touch()
    assert cleared() == f"0 Removed 2 runs of 1 accounts from {file}.\nRemoved {damaged}.\n"
    assert not damaged.exists()
    # A server that has the file open continues with an empty one.
    assert store.select(ANN, Selection()) == []
    fill(store, ANN, [run(1)])
    assert len(store.select(ANN, Selection())) == 1


def test_there_may_be_nothing_to_remove(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cleared() == f"0 {file} does not exist: no runs are kept.\n"
    assert not file.exists()
    monkeypatch.setenv("EXTEND_MCP_HISTORY", "memory")
    assert cleared() == "0 EXTEND_MCP_HISTORY is memory: no file holds runs.\n"


@pytest.mark.parametrize("kind", CONTENTS)
def test_it_refuses_a_file_that_is_no_file_of_kept_runs(file: Path, kind: str) -> None:
    file.write_bytes(CONTENTS[kind])
    file.chmod(0o644)
    assert "nothing was removed" in cleared()
    assert file.read_bytes() == CONTENTS[kind]
    assert file.stat().st_mode & 0o777 == 0o644
