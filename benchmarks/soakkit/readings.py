"""What a process holds over time: memory, file descriptors, tasks; and whether that grew."""

from __future__ import annotations

import os
import signal
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

_MEGABYTE = 2**20


@dataclass(frozen=True)
class Reading:
    """One look at a process.

    Attributes:
        seconds: since the soak began.
        resident_mb: memory held in RAM.
        files: open file descriptors.
        tasks: of the event loop; None while it has not told any.
        blocks: of Python memory, in use; None likewise.
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
        file: where the process tells its id and its tasks.
    """

    name: str
    file: Path
    readings: list[Reading] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    gone: bool = False

    def look(self) -> Reading | None:
        """Take a reading, and ask for the next count of tasks; None when the process is gone."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        if not lines:
            return None
        pid = int(lines[0].split()[1])
        proc = Path("/proc") / str(pid)
        try:
            pages = int((proc / "statm").read_text().split()[1])
            files = len(os.listdir(proc / "fd"))  # noqa: PTH208 - a list of links, most of which lead to no path
            os.kill(pid, signal.SIGUSR1)
        except OSError:
            self.gone = True
            return None
        resident = pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE
        told = lines[-1].split() if len(lines) > 1 else []
        tasks, blocks = (int(told[1]), int(told[3])) if len(told) == 4 else (None, None)
        reading = Reading(time.monotonic() - self.begun, resident, files, tasks, blocks)
        self.readings.append(reading)
        return reading

    def spans(self) -> list[list[Reading]]:
        """The readings in ten spans of equal length; of fewer than ten readings none."""
        size = len(self.readings) // 10
        return [self.readings[at * size : (at + 1) * size] for at in range(10)] if size else []


def growth(values: list[list[float]]) -> float:
    """Growth over the second half, as a part of what was held at its beginning.

    Args:
        values: a list for each of ten spans; the median of each counts, so that one busy moment does not.
    """
    middle, end = statistics.median(values[5]), statistics.median(values[9])
    return (end - middle) / middle
