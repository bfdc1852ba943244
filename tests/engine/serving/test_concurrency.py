"""How many calls a server takes is found out by its latency, its rate and what it says."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.engine.serving.concurrency import Concurrency

START = 16  # calls in flight at the beginning, in these tests


@pytest.fixture(autouse=True, scope="module")
def _small_start() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmeval.engine.serving.concurrency.START", START)
        yield


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """A queue: ``capacity`` calls at once take ``latency`` each; more of them wait their turn.

    Args:
        overload: calls in flight beyond which a further one is refused at once.
    """

    def __init__(
        self, capacity: int, latency: float = 1.0, overload: int | None = None, most: int = 512
    ) -> None:
        self.clock = Clock()
        self.limits: list[int] = []
        self.concurrency = Concurrency(most, self.clock)
        self._capacity, self._latency, self._overload = capacity, latency, overload
        self._free = [0.0] * capacity  # when each worker is done with what it has
        self._calls: list[tuple[float, float, bool]] = []  # end, begin, refused
        self.refused = 0

    def answer(self, count: int, limit_of_askers: int = 10**9) -> None:
        """Keep as many calls in flight as allowed until so many have come back."""
        for _ in range(count):
            while len(self._calls) < min(self.concurrency.limit, limit_of_askers):
                self._send()
            end, begin, refused = heapq.heappop(self._calls)
            self.clock.now = max(self.clock.now, end)
            if refused:
                self.refused += 1
                self.concurrency.note_overload(begin)
            else:
                self.concurrency.note_answer(end - begin, len(self._calls) + 1)
            self.limits.append(self.concurrency.limit)

    def _send(self) -> None:
        now = self.clock.now
        if self._overload is not None and len(self._calls) >= self._overload:
            heapq.heappush(self._calls, (now + 0.01, now, True))
            return
        free = heapq.heappop(self._free)
        end = max(now, free) + self._latency
        heapq.heappush(self._free, end)
        heapq.heappush(self._calls, (end, now, False))


def end_round(concurrency: Concurrency, clock: Clock, latency: float, rate: float) -> None:
    """Answer a whole round at a latency and a rate, with all places taken."""
    count = max(concurrency.limit, 8)
    clock.now += count / rate
    for _ in range(count):
        concurrency.note_answer(latency, concurrency.limit)


@pytest.mark.parametrize(("most", "start"), [(1, 1), (5, 5), (16, 16), (64, START), (4096, START)])
def test_it_begins_with_some_where_so_many_are_allowed(most: int, start: int) -> None:
    assert Concurrency(most).limit == start


def test_slow_start_doubles_a_round_while_latency_holds() -> None:
    clock = Clock()
    concurrency, limits = Concurrency(512, clock), []
    for _ in range(6):
        end_round(concurrency, clock, 1.0, concurrency.limit)
        limits.append(concurrency.limit)
    assert limits == [32, 64, 128, 256, 512, 512]
    assert concurrency.highest == 512


def test_latency_that_rises_without_more_rate_takes_the_limit_back() -> None:
    clock = Clock()
    concurrency = Concurrency(512, clock)
    end_round(concurrency, clock, 1.0, 16)
    end_round(concurrency, clock, 1.0, 32)
    assert concurrency.limit == 64
    end_round(concurrency, clock, 2.0, 32)  # twice the calls, twice the latency, the same rate
    assert concurrency.limit == 32
    for _ in range(5):
        end_round(concurrency, clock, 1.0, 32)
    assert concurrency.limit == 32  # it rests before it tries again


def test_latency_that_rises_with_the_rate_is_no_reason_to_stop() -> None:
    """A batching server: each call takes longer, all of them together take less."""
    clock = Clock()
    concurrency = Concurrency(512, clock)
    for latency, rate in ((1.0, 16), (1.2, 26), (1.6, 40), (2.4, 53), (4.0, 64)):
        end_round(concurrency, clock, latency, rate)
    assert concurrency.limit == 512


def test_after_slow_start_it_tries_little_by_little_and_rests() -> None:
    clock = Clock()
    concurrency = Concurrency(4096, clock)
    end_round(concurrency, clock, 1.0, 16)
    end_round(concurrency, clock, 3.0, 16)
    limits = []
    for _ in range(12):
        end_round(concurrency, clock, 1.0, concurrency.limit)
        limits.append(concurrency.limit)
    assert limits[:8] == [16] * 8
    growth = [b / a for a, b in itertools.pairwise(limits[7:])]
    assert all(1.0 < g <= 1.3 for g in growth)


def test_an_overload_halves_once_for_all_that_were_in_flight() -> None:
    clock = Clock()
    concurrency = Concurrency(64, clock)
    end_round(concurrency, clock, 1.0, 16)
    end_round(concurrency, clock, 1.0, 32)
    assert concurrency.limit == 64
    sent = clock.now
    clock.now += 1.0
    for _ in range(64):  # they all went out before the limit was halved
        concurrency.note_overload(sent)
    assert concurrency.limit == 32
    clock.now += 1.0
    for _ in range(32):  # these went out after it
        concurrency.note_overload(clock.now - 0.5)
    assert concurrency.limit == 16


def test_a_refusal_now_and_then_is_no_overload() -> None:
    """One call in ten is turned away, whatever the limit is."""
    clock = Clock()
    concurrency = Concurrency(512, clock)
    for i in range(20_000):
        clock.now += 1 / concurrency.limit
        if i % 10:
            concurrency.note_answer(1.0, concurrency.limit)
        else:
            concurrency.note_overload(clock.now)
    assert concurrency.limit == 512


def test_a_server_that_turns_away_nearly_all_is_asked_one_at_a_time() -> None:
    clock = Clock()
    concurrency = Concurrency(64, clock)
    for _ in range(500):
        clock.now += 1.0
        concurrency.note_overload(clock.now)
    assert concurrency.limit == 1


def test_in_an_outage_one_call_finds_out_and_then_it_starts_anew() -> None:
    clock = Clock()
    concurrency = Concurrency(512, clock)
    for _ in range(4):
        end_round(concurrency, clock, 1.0, concurrency.limit)
    concurrency.note_outage()
    assert concurrency.limit == 1
    limits = []
    for _ in range(5):
        end_round(concurrency, clock, 1.0, concurrency.limit)
        limits.append(concurrency.limit)
    assert limits == [2, 4, 8, 16, 32]


def test_too_few_questions_say_nothing_about_the_server() -> None:
    """Two calls at a time are fast; that is no reason to allow more of them."""
    server = Server(capacity=100)
    server.answer(500, limit_of_askers=2)
    assert server.concurrency.limit == START


@pytest.mark.parametrize("capacity", [1, 4, 12, 40, 100, 300])
@pytest.mark.parametrize("latency", [0.02, 1.0, 30.0])
def test_it_settles_near_the_capacity_of_a_server_that_queues(
    capacity: int, latency: float
) -> None:
    """Never a quarter of what the server would do at once, nor a queue of many times that."""
    server = Server(capacity, latency)
    server.answer(60 * max(capacity, 16))
    settled = server.limits[-20 * max(capacity, 16) :]
    assert min(settled) >= min(0.7 * capacity, START)
    assert max(settled) <= max(3.5 * capacity, START + 5)


@pytest.mark.parametrize("capacity", [40, 100, 300])
def test_it_does_not_give_away_the_rate_of_a_server(capacity: int) -> None:
    server = Server(capacity)
    server.answer(40 * capacity)
    began, count = server.clock.now, 20 * capacity
    server.answer(count)
    assert count / (server.clock.now - began) >= 0.85 * capacity  # its rate is one a second each


@pytest.mark.parametrize("overload", [3, 20, 50])
def test_it_stays_near_what_a_server_refuses(overload: int) -> None:
    server = Server(capacity=200, overload=overload)
    server.answer(4000)
    settled = server.limits[-2000:]
    assert max(settled) <= 2 * overload + 2
    assert sum(settled) / len(settled) >= 0.4 * overload
    assert server.refused < 1000


def test_a_server_that_becomes_slower_is_asked_no_more_than_before() -> None:
    """Not every rise of latency is ours: the limit stays, and the rate with it."""
    clock = Clock()
    concurrency = Concurrency(64, clock)
    for _ in range(3):
        end_round(concurrency, clock, 1.0, concurrency.limit)
    assert concurrency.limit == 64
    for _ in range(30):
        end_round(concurrency, clock, 5.0, concurrency.limit / 5)
    assert concurrency.limit >= 32


events = st.one_of(
    st.tuples(st.just("answer"), st.floats(0.0, 1e4), st.integers(0, 5000)),
    st.tuples(st.just("overload"), st.floats(0.0, 1.0), st.just(0)),
    st.tuples(st.just("outage"), st.just(0.0), st.just(0)),
    st.tuples(st.just("round"), st.floats(0.0, 1e4), st.floats(1e-3, 1e5)),
)


@settings(max_examples=200)
@given(st.integers(1, 4096), st.lists(events, max_size=60))
def test_the_limit_is_at_least_one_and_at_most_what_is_allowed(
    most: int, happened: Sequence[tuple[str, float, float]]
) -> None:
    clock = Clock()
    concurrency = Concurrency(most, clock)
    for what, value, more in happened:
        clock.now += 0.001
        before = concurrency.limit
        match what:
            case "answer":
                concurrency.note_answer(value, int(more))
            case "overload":
                concurrency.note_overload(clock.now - value)
                assert concurrency.limit <= before
            case "outage":
                concurrency.note_outage()
            case "round":
                end_round(concurrency, clock, value, more)
        assert 1 <= concurrency.limit <= most
        assert concurrency.limit <= concurrency.highest <= most
