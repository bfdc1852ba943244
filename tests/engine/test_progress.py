"""Rate and time left, by a clock that a test moves."""

from __future__ import annotations

import pytest

from llmeval.engine import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_before_anything_is_done() -> None:
    clock = Clock()
    meter = Meter(10, clock=clock)
    assert (meter.rate, meter.seconds_left) == (0.0, None)
    clock.now += 5
    assert (meter.rate, meter.seconds_left) == (0.0, None)


def test_an_even_pace() -> None:
    clock = Clock()
    meter = Meter(100, clock=clock)
    for _ in range(20):
        clock.now += 0.25
        meter.advance()
    assert meter.rate == pytest.approx(4.0)
    assert meter.seconds_left == pytest.approx(80 / 4)


def test_several_samples_at_once_count_all() -> None:
    clock = Clock()
    meter = Meter(100, clock=clock)
    clock.now += 10
    meter.advance(30)
    assert meter.done == 30
    assert meter.rate == pytest.approx(3.0)


def test_samples_replayed_at_the_start_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    meter = Meter(11_000, clock=clock)
    clock.now += 1
    meter.advance(10_000)
    for _ in range(180):
        clock.now += 1
        meter.advance()
    assert meter.rate == pytest.approx(1.0)
    assert meter.seconds_left == pytest.approx(820)


def test_the_rate_falls_while_nothing_happens() -> None:
    clock = Clock()
    meter = Meter(100, clock=clock)
    clock.now += 10
    meter.advance(10)
    clock.now += 10
    assert meter.rate == pytest.approx(0.5)


def test_the_end_is_zero_seconds_away() -> None:
    clock = Clock()
    meter = Meter(2, clock=clock)
    clock.now += 1
    meter.advance(2)
    assert meter.seconds_left == 0


def test_marks_do_not_pile_up() -> None:
    clock = Clock()
    meter = Meter(10**6, clock=clock)
    for _ in range(100_000):
        clock.now += 0.01
        meter.advance()
    assert len(meter._marks) < 200
