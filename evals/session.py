"""Questions answered from a shell: rooms that outlive a command, and the calls made so far."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mcp_types import Tool

from evals.account import Account
from evals.grade import Attempt, Key, grade
from evals.question import Question
from evals.questions import BANK
from evals.room import Call, Room, watched
from evals.run import Verdict

FOLDER = Path("build/evals")
"""Holds ``rooms.json``, a file for each question that calls were made for, and the processes' output."""


class Session:
    """Hold what ``call`` and ``grade`` share."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._rooms: dict[str, dict[str, Any]] = _read(folder / "rooms.json", {})

    async def tools(self, question: Question) -> list[Tool]:
        """Return the tools of a question's server."""
        async with watched(self.room(question), question.person) as spy:
            return await spy.tools()

    async def call(self, question: Question, tool: str, arguments: dict[str, Any]) -> str:
        """Call a tool for a question and note it."""
        before = self._attempt(question.name)
        async with watched(self.room(question), question.person) as spy:
            text = await spy.call(tool, arguments)
        attempt = replace(before, calls=before.calls + spy.calls, requests=before.requests + spy.requests)
        attempt.ended = time.time()
        _write(self._folder / f"{question.name}.json", asdict(attempt))
        if spy.requests and attempt.changes:
            # From now on the room is this question's own, since its facts are no longer those of others.
            self._rooms[question.name] = self._rooms.get(question.name) or self._rooms.pop(question.scenario)
            _write(self._folder / "rooms.json", self._rooms)
        return text

    def grade(self, answers: dict[str, str]) -> list[Verdict]:
        """Grade answers by question."""
        verdicts = []
        for name, answer in answers.items():
            question, attempt = BANK[name], self._attempt(name)
            attempt.answer = answer
            account = Account(self.room(question).sandbox)
            key = Key.at(question, account, attempt)
            account.close()
            verdicts.append(Verdict(question, key, attempt, grade(question, key, attempt)))
        return verdicts

    def end(self) -> None:
        """End all processes and forget all calls."""
        for room in self._rooms.values():
            Room(**room).close()
        self._rooms = {}
        for file in self._folder.glob("*.json"):
            file.unlink()

    def room(self, question: Question) -> Room:
        """Return a question's own room, else that of its scenario, which is opened if need be."""
        known = self._rooms.get(question.name) or self._rooms.get(question.scenario)
        if known and Room(**known).is_open():
            return Room(**known)
        room = Room.open(question.scenario, self._folder)
        self._rooms[question.scenario] = asdict(room)
        _write(self._folder / "rooms.json", self._rooms)
        return room

    def _attempt(self, name: str) -> Attempt:
        saved = _read(self._folder / f"{name}.json", {"question": name, "answer": ""})
        return Attempt(**{**saved, "calls": [Call(**each) for each in saved.get("calls", [])]})


def _read(file: Path, default: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else default
    return found


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=1))
