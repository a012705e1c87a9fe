"""Read memory, file descriptors and tasks of a process over time, and compute their growth."""

from __future__ import annotations

import os
import signal
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from kit.processes import resident_mb


@dataclass(frozen=True)
class Reading:
    """One reading of a process.

    Attributes:
        seconds: since the soak began.
        resident_mb: memory held in RAM.
        files: open file descriptors.
        tasks: of the event loop; None before the first report.
        blocks: Python memory blocks in use; None likewise.
    """

    seconds: float
    resident_mb: float
    files: int
    tasks: int | None
    blocks: int | None = None


@dataclass
class Watch:
    """The readings of one process that `watched.py` runs.

    Args:
        name: for the report.
        file: where the process reports its id and its tasks.
    """

    name: str
    file: Path
    readings: list[Reading] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    gone: bool = False

    def look(self) -> Reading | None:
        """Take a reading and request the next report; return None if the process is gone."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        if not lines:
            return None
        pid = int(lines[0].split()[1])
        proc = Path("/proc") / str(pid)
        try:
            resident = resident_mb(pid)
            files = len(os.listdir(proc / "fd"))  # noqa: PTH208 - links, most of which lead to no path
            os.kill(pid, signal.SIGUSR1)
        except OSError:
            self.gone = True
            return None
        report = lines[-1].split() if len(lines) > 1 else []
        tasks, blocks = (int(report[1]), int(report[3])) if len(report) == 4 else (None, None)
        reading = Reading(time.monotonic() - self.begun, resident, files, tasks, blocks)
        self.readings.append(reading)
        return reading

    def spans(self) -> list[list[Reading]]:
        """Return the readings in ten spans of equal length, or nothing for fewer than ten readings."""
        size = len(self.readings) // 10
        return [self.readings[at * size : (at + 1) * size] for at in range(10)] if size else []


def growth(values: list[list[float]]) -> float:
    """Return the growth over the second half, as a part of the value at its beginning.

    Args:
        values: a list for each of ten spans. The median of each counts, so that one busy moment does not.
    """
    middle, end = statistics.median(values[5]), statistics.median(values[9])
    return (end - middle) / middle
