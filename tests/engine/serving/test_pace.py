"""Rate limits a minute are kept and used; a pause holds for its time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.engine.serving.pace import Pace


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def send(pace: Pace, clock: Clock, seconds: float, tokens: int = 0) -> list[float]:
    """Send whenever it is allowed, for so long; return when."""
    end, sent = clock.now + seconds, []
    while True:
        clock.now += max(pace.wait(), 0.0)
        if clock.now >= end:
            clock.now = end
            return sent
        pace.take(tokens)
        sent.append(clock.now)


def minutes(sent: list[float]) -> Iterator[int]:
    """Yield how many were sent in the minute that begins with each of them."""
    for i, start in enumerate(sent):
        yield bisect_left(sent, start + 60.0 - 1e-6) - i


def test_without_limits_nothing_waits() -> None:
    pace, clock = Pace(), Clock()
    pace = Pace(clock=clock)
    for _ in range(1000):
        assert pace.wait() <= 0.0
        pace.take(10**6)
    assert not pace.counts_tokens


@pytest.mark.parametrize("requests", [6, 30, 60, 500, 10_000])
def test_no_minute_has_more_requests_than_the_limit_and_a_seconds_share(requests: int) -> None:
    clock = Clock()
    sent = send(Pace(requests, clock=clock), clock, 180.0)
    assert max(minutes(sent)) <= requests + requests / 60 + 1
    assert len(sent) >= 3 * requests  # and the limit is used


def test_calls_are_spread_over_the_minute() -> None:
    clock = Clock()
    sent = send(Pace(120, clock=clock), clock, 60.0)
    for second in range(60):
        assert sum(second <= t - 1000.0 < second + 1 for t in sent) <= 4


def test_time_in_which_nothing_was_asked_is_not_saved_up() -> None:
    clock = Clock()
    pace = Pace(60, clock=clock)
    send(pace, clock, 5.0)
    clock.now += 3600.0
    sent = send(pace, clock, 60.0)
    assert len(sent) <= 62


@pytest.mark.parametrize(("tokens", "each"), [(6000, 10), (6000, 700), (100_000, 3000)])
def test_no_minute_has_more_tokens_than_the_limit_and_one_call(tokens: int, each: int) -> None:
    clock = Clock()
    pace = Pace(tokens=tokens, clock=clock)
    assert pace.counts_tokens
    sent = send(pace, clock, 300.0, each)
    assert max(minutes(sent)) * each <= tokens * 61 / 60 + each
    assert len(sent) * each >= 5 * tokens


def test_the_narrower_of_two_limits_counts() -> None:
    clock = Clock()
    assert len(send(Pace(600, 600, clock=clock), clock, 60.0, tokens=10)) <= 62
    clock = Clock()
    assert len(send(Pace(60, 10**9, clock=clock), clock, 60.0, tokens=10)) <= 62


def test_tokens_beyond_what_was_thought_are_waited_for() -> None:
    clock = Clock()
    pace = Pace(tokens=600, clock=clock)  # ten a second
    pace.take(10)
    pace.correct(590)  # it took a minute's worth
    assert pace.wait() == pytest.approx(60.0 - 1.0)


def test_tokens_that_were_not_taken_after_all_may_be_taken_by_others() -> None:
    clock = Clock()
    pace = Pace(tokens=600, clock=clock)
    pace.take(6000)  # at most ten minutes' worth
    assert pace.wait() > 500.0
    clock.now += 30.0
    pace.correct(10 - 6000)
    assert pace.wait() <= 0.0


def test_a_pause_holds_for_its_time_and_the_longest_counts() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    pace.pause(10.0)
    pace.pause(3.0)
    assert pace.wait() == pytest.approx(10.0)
    clock.now += 5.0
    pace.pause(20.0)
    assert pace.wait() == pytest.approx(20.0)
    clock.now += 20.0
    assert pace.wait() <= 0.0
    assert pace.paused_seconds == pytest.approx(25.0)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=20))
def test_paused_seconds_are_those_in_which_nothing_may_go_out(
    pauses: list[tuple[float, float]],
) -> None:
    """Against the length of the union of the intervals."""
    clock = Clock(0.0)
    pace, union, end = Pace(clock=clock), 0.0, 0.0
    for wait, seconds in pauses:
        clock.now += wait
        pace.pause(seconds)
        union += max(0.0, clock.now + seconds - max(end, clock.now))
        end = max(end, clock.now + seconds)
        assert max(0.0, pace.wait()) == pytest.approx(max(0.0, end - clock.now), abs=1e-9)
    assert pace.paused_seconds == pytest.approx(union, abs=1e-9)


@given(
    st.integers(1, 600),
    st.lists(st.tuples(st.integers(1, 400), st.integers(-400, 400)), min_size=5, max_size=60),
)
def test_tokens_stay_under_the_limit_whatever_the_estimates_were(
    tokens: int, calls: list[tuple[int, int]]
) -> None:
    """Each call is thought to take some tokens and takes others, as is known at once."""
    clock = Clock(0.0)
    pace, taken = Pace(tokens=tokens, clock=clock), list[tuple[float, int]]()
    for thought, more in calls:
        clock.now += max(0.0, pace.wait())
        pace.take(thought)
        pace.correct(max(more, -thought))
        taken.append((clock.now, max(0, thought + more)))
    for i, (start, _) in enumerate(taken):
        for j in range(i + 1, len(taken)):
            # what is in the bucket when a call goes out is at most a second's share
            before_last = sum(n for _, n in taken[i:j])
            seconds = taken[j][0] - start
            assert before_last <= tokens / 60 * (seconds + 1.0) + 1e-6
