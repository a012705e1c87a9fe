from datetime import datetime, timedelta, timezone

import pytest

from extend_mcp.sandbox import SandboxClock


class Source:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_starts_at_the_time_of_its_source() -> None:
    assert SandboxClock(source=lambda: 0.0).now() == datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("speed", [0.0, 1.0, 60.0])
def test_speed_multiplies_the_time_of_the_source(speed: float) -> None:
    source = Source()
    clock = SandboxClock(speed, source)
    before = clock.now()
    source.seconds += 10
    assert clock.now() - before == timedelta(seconds=10 * speed)


def test_skipped_seconds_are_simulated_ones() -> None:
    clock = SandboxClock(60.0, lambda: 1000.0)
    before = clock.now()
    assert clock.advance(90) - before == timedelta(seconds=90)
    assert clock.now() - before == timedelta(seconds=90)


def test_never_runs_backwards_when_its_source_does() -> None:
    source = Source()
    clock = SandboxClock(source=source)
    source.seconds += 5
    later = clock.now()
    source.seconds -= 100
    assert clock.now() == later


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_refuses_to_skip_negative_or_infinite_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        SandboxClock().advance(seconds)


def test_refuses_a_negative_speed() -> None:
    with pytest.raises(ValueError, match="negative"):
        SandboxClock(speed=-1)
