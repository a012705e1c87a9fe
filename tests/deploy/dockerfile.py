"""Reads a Dockerfile and its ignore file, as far as ours go: stages, their instructions, and what a build may copy."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its name in capitals, and the rest with lines joined and build arguments filled in."""

    name: str
    rest: str

    @property
    def flags(self) -> dict[str, str]:
        """Return the flags before the arguments, written ``--name=value``."""
        words = self.rest.split()
        return dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)

    @property
    def words(self) -> list[str]:
        """The arguments without flags, as a JSON list or split as a shell does."""
        text = re.sub(r"^(--\S+=\S+\s+)+", "", self.rest)
        if self.name == "HEALTHCHECK":
            text = text.removeprefix("CMD").strip()
        return json.loads(text) if text.startswith("[") else shlex.split(text)


@dataclass
class Stage:
    """The instructions from one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[Step]:
        """The instructions of that name, in order."""
        return [step for step in self.steps if step.name == name]

    def last(self, name: str) -> Step:
        """The last instruction of that name, which is the one that counts."""
        return self.all(name)[-1]

    @property
    def env(self) -> dict[str, str]:
        """Return the variables that ENV sets; ``$PATH`` is not expanded."""
        return dict(word.split("=", 1) for step in self.all("ENV") for word in step.words)


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Only ARG values of the file itself are known.

    Raises:
        ValueError: something that this reader does not understand.
    """
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    given: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name != name.upper() or not rest:
            raise ValueError(f"not an instruction: {line}")
        if name in ("FROM", "LABEL"):
            rest = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], rest)
        if name == "ARG":
            given.update([rest.split("=", 1)])
        elif name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append(Stage(base, alias))
        else:
            stages[-1].steps.append(Step(name, rest.strip()))
    return stages


class Ignored:
    """Return the paths that a build does not see: the last pattern that fits decides, and ``!`` lets in again."""

    def __init__(self, path: Path) -> None:
        lines = [line.strip() for line in path.read_text().splitlines()]
        patterns = [line for line in lines if line and not line.startswith("#")]
        self._rules = [(not line.startswith("!"), _pattern(line.lstrip("!"))) for line in patterns]

    def __call__(self, path: Path) -> bool:
        """Return whether a file, relative to the context, is left out."""
        # A pattern that fits a folder holds for what is in it.
        names = ["/".join(path.parts[:end]) for end in range(1, len(path.parts) + 1)]
        verdict = False
        for ignored, pattern in self._rules:
            if any(pattern.fullmatch(name) for name in names):
                verdict = ignored
        return verdict


def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(re.sub(r"\\\[(\w+)\\\]", r"[\1]", escaped))
