"""Figures from what was measured, as Markdown, and what is wrong with them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loadkit.rounds import Target

MOST_OF_BASELINE = 0.01
"""The part of a baseline's calls that may fail."""


@dataclass(frozen=True)
class Limits:
    """What is asked for.

    Attributes:
        least: lowest ratio of our throughput to the baseline's.
        most_growth: highest growth of our memory over the second half, as a fraction.
    """

    least: float
    most_growth: float


@dataclass(frozen=True)
class Memory:
    """Megabytes held after warming up, after half of the calls, and after the last one; and the most of all."""

    start: float
    middle: float
    end: float
    peak: float

    @property
    def growth(self) -> float:
        """Growth over the second half, as a fraction."""
        return (self.end - self.middle) / self.middle


def memory_of(target: Target) -> Memory:
    """Read the samples of a run."""
    half = target.memory[-1][0] / 2
    return Memory(
        start=target.memory[0][1],
        middle=next(held for calls, held in target.memory if calls >= half),
        end=target.memory[-1][1],
        peak=max(held for _, held in target.memory),
    )


def cpu_per_thousand(target: Target) -> float:
    """Processor seconds of the server for 1,000 calls."""
    calls = sum(len(each.latencies) for each in target.rounds)
    return 1000 * sum(each.cpu for each in target.rounds) / calls


def throughput_ratios(ours: Target, bare: Target) -> list[float]:
    """Our throughput over the baseline's, pair by pair."""
    return [one.throughput / other.throughput for one, other in zip(ours.rounds, bare.rounds, strict=True)]


def markdown(ours: Target, bare: Target) -> str:
    """The tables and the ratios."""
    lines = [
        "| server | calls | errors | calls/s | p50 ms | p95 ms | p99 ms | CPU s per 1,000 | busy | KB per answer |",
        "|---|---|---|---|---|---|---|---|---|---|",
        _load_row(ours),
        _load_row(bare),
        "",
        "| server | RSS start MB | middle MB | end MB | peak MB | growth over the second half |",
        "|---|---|---|---|---|---|",
        _memory_row(ours),
        _memory_row(bare),
        "",
    ]
    ratios = throughput_ratios(ours, bare)
    cpu = cpu_per_thousand(bare) / cpu_per_thousand(ours)
    span = f"median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"
    lines += [
        f"throughput, ours to bare, pair by pair over {len(ratios)}: {span}  ",
        f"calls for the same CPU, ours to bare: {cpu:.2f}  ",
    ]
    lines += [
        f"errors of {target.name}: {', '.join(f'{count} x {fault}' for fault, count in target.faults.most_common())}  "
        for target in (ours, bare)
        if target.faults
    ]
    return "\n".join(lines)


def faults(ours: Target, bare: Target, limits: Limits) -> list[str]:
    """What misses ``limits``. Many errors of the baseline count too: they would make it look fast."""
    found = [f"{ours.name}: {ours.faults.total()} errors"] if ours.faults.total() else []
    # It repeats no read whose connection was just being closed, which happens now and then.
    if bare.faults.total() > MOST_OF_BASELINE * sum(len(each.latencies) for each in bare.rounds):
        found.append(f"{bare.name}: {bare.faults.total()} errors")
    growth = memory_of(ours).growth
    if growth >= limits.most_growth:
        found.append(f"memory grew by {growth:.1%} over the second half; under {limits.most_growth:.1%} is asked")
    ratio = statistics.median(throughput_ratios(ours, bare))
    if ratio < limits.least:
        found.append(f"throughput is {ratio:.2f} of the baseline's; at least {limits.least:.2f} is asked")
    return found


def _load_row(target: Target) -> str:
    latencies = [latency for each in target.rounds for latency in each.latencies]
    cuts = statistics.quantiles(latencies, n=100)
    seconds = sum(each.seconds for each in target.rounds)
    busy = sum(each.cpu for each in target.rounds) / seconds
    received = sum(each.received for each in target.rounds) / len(latencies)
    return (
        f"| {target.name} | {len(latencies):,} | {target.faults.total()} | {len(latencies) / seconds:.0f} "
        f"| {cuts[49] * 1000:.0f} | {cuts[94] * 1000:.0f} | {cuts[98] * 1000:.0f} "
        f"| {cpu_per_thousand(target):.2f} | {busy:.0%} | {received / 1000:.1f} |"
    )


def _memory_row(target: Target) -> str:
    memory = memory_of(target)
    return (
        f"| {target.name} | {memory.start:.1f} | {memory.middle:.1f} | {memory.end:.1f} | {memory.peak:.1f} "
        f"| {memory.growth:+.1%} |"
    )
