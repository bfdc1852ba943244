"""Calls go out in order, again after faults, and end for reasons that are said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    BudgetReached,
    Failure,
    GenerateRequest,
    Generation,
    InvalidResult,
    Reply,
    Request,
    TryAgain,
    UsageError,
)
from llmeval.engine.budget import Budget, Limits
from llmeval.engine.serving.dispatch import FIRST_DELAY, LONGEST_DELAY, Dispatcher, Order
from tests.engine.serving.support import (
    Behave,
    FakeServed,
    after,
    is_answer_of,
    now,
    run_virtually,
    use_virtual_clocks,
)


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    use_virtual_clocks(monkeypatch)


def questions(n: int) -> list[GenerateRequest]:
    return [GenerateRequest(f"question {i}") for i in range(n)]


@dataclass
class Ended:
    """What became of the calls that were submitted."""

    replies: dict[int, Reply] = field(default_factory=dict)
    when: dict[int, float] = field(default_factory=dict)
    error: BaseException | None = None
    ended_at: float | None = None
    seconds: float = 0.0
    described: dict[str, Any] = field(default_factory=dict)
    busy: float = 0.0

    def responses(self) -> list[Any]:
        return [self.replies[i].responses[0] for i in sorted(self.replies)]


def dispatch(
    model: FakeServed,
    calls: Sequence[Sequence[Request] | Request],
    *,
    limits: Limits | None = None,
    orders: Sequence[Order] | None = None,
    patience: float = 1e6,
) -> Ended:
    """Submit calls at once; return when all are answered or the run has ended."""

    async def main() -> Ended:
        made, began = Ended(), now()
        budget = Budget(limits or Limits(), clock=now)
        dispatcher = Dispatcher(model, budget)
        futures = []
        for i, call in enumerate(calls):
            order = orders[i] if orders else (0, f"{i:06d}")
            members = [call] if isinstance(call, GenerateRequest) else list(call)
            futures.append(dispatcher.submit(members, order))
            futures[-1].add_done_callback(note(made, i, began))
        everything = asyncio.gather(*futures)
        await asyncio.wait(
            [everything, dispatcher.ended], timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        made.seconds = now() - began
        if dispatcher.ended.done():
            made.error, made.ended_at = dispatcher.ended.exception(), made.seconds
        everything.cancel()
        await dispatcher.close()
        made.described, made.busy = dispatcher.describe(), dispatcher.busy_seconds
        return made

    return run_virtually(main)


def note(made: Ended, i: int, began: float) -> Callable[[asyncio.Future[Reply]], None]:
    def callback(done: asyncio.Future[Reply]) -> None:
        if not done.cancelled():
            made.replies[i], made.when[i] = done.result(), now() - began

    return callback


def failing(times: int, fault: Callable[[], Exception]) -> Behave:
    """The first so many attempts at each question fail."""

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(0.1)
        if attempt < times:
            raise fault()

    return behave


def broken() -> TryAgain:
    return TryAgain("the answer broke off")


# -- again after a fault ---------------------------------------------------------------------


def test_every_call_gets_the_answers_to_its_own_questions() -> None:
    asked = questions(200)
    made = dispatch(FakeServed(after(1.0), max_connections=64), asked)
    assert len(made.replies) == 200
    for i, request in enumerate(asked):
        assert is_answer_of(made.replies[i].responses[0], request)


@pytest.mark.parametrize("times", [1, 3, 7])
def test_a_fault_that_passes_is_asked_again(times: int) -> None:
    model = FakeServed(failing(times, broken), max_attempts=8)
    made = dispatch(model, questions(1))
    assert is_answer_of(made.responses()[0], questions(1)[0])
    assert len(model.called) == times + 1
    assert made.described["calls"] == times + 1
    assert made.described["retries"] == {"the answer broke off": times}
    assert made.error is None


@pytest.mark.parametrize("most", [1, 3, 8])
def test_a_question_is_given_up_after_its_attempts_and_the_others_are_not(most: int) -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "question 1":
            raise broken()

    model = FakeServed(behave, max_attempts=most)
    made = dispatch(model, questions(3))
    assert made.responses()[1] == Failure(f"the answer broke off ({most} attempts)")
    assert [isinstance(r, Generation) for r in made.responses()] == [True, False, True]
    assert model.asked.count(questions(3)[1]) == most
    assert made.error is None


def test_every_question_of_a_call_that_is_given_up_fails() -> None:
    model = FakeServed(failing(99, broken), max_attempts=2)
    made = dispatch(model, [list(GenerateRequest("draws").draws(5))])
    assert made.replies[0].responses == [Failure("the answer broke off (2 attempts)")] * 5


def test_waits_between_attempts_double_up_to_a_bound_and_are_spread() -> None:
    model = FakeServed(failing(99, broken), max_attempts=12)
    dispatch(model, questions(1))
    gaps = [b - a - 0.1 for a, b in zip(model.times, model.times[1:], strict=False)]
    assert len(gaps) == 11
    for number, gap in enumerate(gaps):
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2**number)
        assert longest / 2 - 1e-6 <= gap <= longest + 1e-6
    assert LONGEST_DELAY / 2 <= gaps[-1] <= LONGEST_DELAY + 1e-6


def test_calls_that_failed_together_do_not_come_back_together() -> None:
    model = FakeServed(failing(1, broken), max_connections=16)
    dispatch(model, questions(16))
    again = model.times[16:]
    assert len(again) == 16
    assert max(again) - min(again) > 0.05
    assert len({round(t, 3) for t in again}) > 8


@pytest.mark.parametrize("seconds", [0.02, 2.0, 90.0])
def test_the_server_says_when_to_ask_again(seconds: float) -> None:
    model = FakeServed(failing(1, lambda: TryAgain("busy", after=seconds)))
    dispatch(model, questions(1))
    first, second = model.times
    assert seconds <= second - first - 0.1 <= 1.1 * seconds + 1e-3


def test_an_overloaded_server_is_left_alone_by_all() -> None:
    """One call is told to wait: those that wait for a place wait with it."""

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "question 0" and not attempt:
            raise TryAgain("429", after=30.0, overloaded=True)
        await asyncio.sleep(1.0)

    model = FakeServed(behave, max_connections=4)
    made = dispatch(model, questions(12))
    assert all(t < 0.1 or t >= 30.0 for t in model.times)
    assert len([t for t in model.times if t < 0.1]) == 4
    assert made.described["overloads"] == 1
    assert made.described["paused_seconds"] == pytest.approx(30.0)


def test_latency_is_of_answered_calls_alone() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(50.0 if not attempt else float(requests[0].prompt.split()[-1]) + 1)
        if not attempt:
            raise TryAgain("busy")

    made = dispatch(FakeServed(behave), questions(21))
    assert made.described["latency_seconds"] == {"p50": 11.0, "p95": 20.0}


def test_without_an_answer_there_is_no_latency() -> None:
    assert dispatch(FakeServed(), []).described["latency_seconds"] is None


def test_one_that_is_asked_to_wait_for_another_reason_holds_up_nobody() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(1.0)
        if requests[0].prompt == "question 0" and not attempt:
            raise TryAgain("500", after=30.0)

    made = dispatch(FakeServed(behave, max_connections=2), questions(9))
    assert made.when[0] >= 30.0
    assert max(made.when[i] for i in range(1, 9)) < 12.0


def test_an_answer_may_ask_for_a_pause_too() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply | None:
        await asyncio.sleep(1.0)
        if requests[0].prompt == "question 0":
            return Reply(model.reply(requests).responses, wait=20.0)
        return None

    model = FakeServed(behave, max_connections=1)
    dispatch(model, questions(3))
    assert model.times[1] >= 21.0


# -- places ----------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 5, 16, 40])
def test_no_more_calls_are_in_flight_than_allowed(most: int) -> None:
    model = FakeServed(after(1.0), max_connections=most)
    made = dispatch(model, questions(400))
    assert len(made.replies) == 400
    assert model.most == most == made.described["most_in_flight"]


def test_a_hung_call_holds_one_place_and_nothing_else() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        hangs = requests[0].prompt == "question 0" and not attempt
        await asyncio.sleep(1e5 if hangs else 1.0)

    model = FakeServed(behave, max_connections=2, deadline=100.0)
    made = dispatch(model, questions(30))
    assert max(made.when[i] for i in range(1, 30)) == pytest.approx(29.0, abs=0.1)
    assert 101.0 < made.when[0] < 103.0
    assert made.described["retries"] == {"no answer within 100 s": 1}
    assert made.error is None


def test_a_call_that_waits_for_its_next_attempt_holds_no_place() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "question 0" and not attempt:
            raise TryAgain("later", after=50.0)
        await asyncio.sleep(1.0)

    made = dispatch(FakeServed(behave, max_connections=1), questions(20))
    assert made.when[19] < 25.0
    assert made.when[0] >= 50.0


def test_a_call_that_nobody_waits_for_any_more_is_not_sent() -> None:
    model = FakeServed(after(10.0), max_connections=1)

    async def main() -> None:
        dispatcher = Dispatcher(model, Budget())
        first, second, third = (
            dispatcher.submit([q], (0, q.prompt))
            for q in questions(3)  # type: ignore[arg-type]
        )
        second.cancel()
        await asyncio.gather(first, third)
        await dispatcher.close()

    run_virtually(main)
    assert [r.prompt for r in model.asked] == ["question 0", "question 2"]


def test_a_long_answer_to_nobody_is_no_error() -> None:
    """Whoever asked gave up while the call was in flight."""
    model = FakeServed(after(10.0))

    async def main() -> None:
        dispatcher = Dispatcher(model, Budget())
        asked = dispatcher.submit(questions(1), (0, ""))
        await asyncio.sleep(1.0)
        asked.cancel()
        await asyncio.sleep(20.0)
        assert not dispatcher.ended.done()
        await dispatcher.close()

    run_virtually(main)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text("ab\n?", max_size=4)), min_size=2, max_size=30)
)
def test_waiting_calls_go_out_by_their_samples_group_then_by_their_prompts(
    orders: list[Order],
) -> None:
    """The first one goes at once; what waits for its place is then in order, ties as they came."""
    with pytest.MonkeyPatch.context() as patch:
        use_virtual_clocks(patch)
        model = FakeServed(after(1.0), max_connections=1)
        dispatch(model, questions(len(orders)), orders=orders)
    sent = [int(str(request.prompt).split()[1]) for request in model.asked]
    waited = sorted(range(1, len(orders)), key=lambda i: (orders[i], i))
    assert sent == [0, *waited]


def test_rate_limits_are_kept_and_used() -> None:
    model = FakeServed(after(0.5), requests_per_minute=120, max_connections=64)
    made = dispatch(model, questions(360))
    assert 175 <= made.seconds <= 182  # 360 at 120 a minute
    for start in range(0, 180, 10):
        within = [t for t in model.times if start <= t < start + 60]
        assert len(within) <= 120 + 3  # a second's share may go out at once


def test_token_limits_are_kept_by_what_answers_took() -> None:
    """Thought to take 10 tokens, an answer takes 100."""

    async def behave(requests: Sequence[Request], attempt: int) -> Reply:
        await asyncio.sleep(0.1)
        return Reply([Generation("x", prompt_tokens=60, completion_tokens=40) for _ in requests])

    model = FakeServed(behave, tokens_per_minute=6000, max_connections=4)
    made = dispatch(model, questions(180))
    assert 165 <= made.seconds <= 185  # 18,000 tokens at 6,000 a minute


# -- the end ---------------------------------------------------------------------------------


def test_a_fatal_error_ends_the_run_and_what_is_in_flight_is_kept() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(1.0 if requests[0].prompt == "question 3" else 5.0)
        if requests[0].prompt == "question 3":
            raise UsageError("the server answered 401: wrong key")

    model = FakeServed(behave, max_connections=8)
    made = dispatch(model, questions(50))
    assert isinstance(made.error, UsageError)
    assert "401" in str(made.error)
    assert len(model.called) == 8
    assert sorted(made.replies) == [0, 1, 2, 4, 5, 6, 7]
    assert made.ended_at == pytest.approx(5.0)


def test_a_fault_of_the_adapter_costs_its_own_questions_only() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "question 1":
            raise KeyError("choices")

    model = FakeServed(behave)
    made = dispatch(model, questions(3))
    assert made.responses()[1] == Failure("KeyError: 'choices'")
    assert len(model.called) == 3
    assert made.error is None


def test_a_budget_of_requests_is_used_up_and_not_run_over() -> None:
    model = FakeServed(after(1.0), max_connections=8)
    made = dispatch(model, questions(50), limits=Limits(requests=21))
    assert len(model.called) == 21
    assert len(made.replies) == 21  # those in flight were waited for
    assert all(isinstance(r, Generation) for r in made.responses())
    assert isinstance(made.error, BudgetReached)
    assert made.error.where == "--max-requests"
    assert "21 of 21 requests" in str(made.error)


def test_attempts_that_failed_take_nothing_of_a_budget_of_requests() -> None:
    model = FakeServed(failing(2, broken))
    made = dispatch(model, questions(10), limits=Limits(requests=10))
    assert made.error is None
    assert len(made.replies) == 10
    assert len(model.called) == 30


def test_a_budget_of_dollars_holds_by_what_answers_may_cost() -> None:
    """At most 0.30 each: the fourth might be too much of 1.00, until three came out cheaper."""
    model = FakeServed(after(1.0), usd=0.1, estimated=0.3, max_connections=16)
    made = dispatch(model, questions(50), limits=Limits(usd=1.0))
    assert isinstance(made.error, BudgetReached)
    assert made.error.where == "--max-usd"
    # 0.1 each, and none that might make it more than 1.00: the last goes out at 0.70 spent
    assert len(model.called) == len(made.replies) == 8
    assert model.times.count(0.0) == 3


def test_answers_that_cost_more_than_thought_are_kept_and_end_the_run() -> None:
    model = FakeServed(after(1.0), usd=5.0, estimated=0.25, max_connections=4)
    made = dispatch(model, questions(50), limits=Limits(usd=1.0))
    assert isinstance(made.error, BudgetReached)
    assert len(model.called) == len(made.replies) == 4


def test_minutes_end_the_run_with_what_is_in_flight() -> None:
    model = FakeServed(after(50.0), max_connections=1)
    made = dispatch(model, questions(9), limits=Limits(minutes=2))
    assert isinstance(made.error, BudgetReached)
    assert made.error.where == "--max-minutes"
    assert len(model.called) == len(made.replies) == 3  # begun at 0, 50 and 100 s
    assert made.ended_at == pytest.approx(150.0)


def test_minutes_end_a_run_that_asks_nothing_either() -> None:
    async def main() -> float:
        dispatcher = Dispatcher(FakeServed(), Budget(Limits(minutes=1), clock=now))
        await asyncio.wait([dispatcher.ended], timeout=600)
        ended = now()
        with pytest.raises(BudgetReached):
            dispatcher.ended.result()
        await dispatcher.close()
        return ended

    assert run_virtually(main) == pytest.approx(60.0, abs=0.1)


def test_closing_leaves_no_call_behind() -> None:
    model = FakeServed(after(1e4), max_connections=8)
    made = dispatch(model, questions(20), patience=5.0)
    assert made.replies == {}
    assert model.in_flight == 0
    assert made.busy == pytest.approx(5.0)


def test_time_without_a_call_in_flight_is_not_the_models() -> None:
    async def main() -> float:
        dispatcher = Dispatcher(FakeServed(after(2.0)), Budget())
        await dispatcher.submit(questions(1), (0, ""))
        await asyncio.sleep(100.0)
        await dispatcher.submit(questions(1), (0, ""))
        await asyncio.sleep(0.1)
        await dispatcher.close()
        return dispatcher.busy_seconds

    assert run_virtually(main) == pytest.approx(4.0)


# -- outages ---------------------------------------------------------------------------------


def down_until(seconds: float) -> Behave:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(0.05)
        if now() < seconds:
            raise TryAgain("no connection", unreachable=True)

    return behave


def test_an_outage_costs_no_question_and_no_attempts() -> None:
    """Down for ten minutes, while eight attempts take about one."""
    model = FakeServed(down_until(600.0), max_attempts=3, patience=900.0, max_connections=64)
    made = dispatch(model, questions(100))
    assert made.error is None
    assert len(made.replies) == 100
    assert all(isinstance(r, Generation) for r in made.responses())
    assert made.seconds < 600.0 + 5 * LONGEST_DELAY


def test_a_server_that_is_down_is_asked_now_and_then() -> None:
    model = FakeServed(down_until(600.0), patience=900.0, max_connections=64)
    dispatch(model, questions(100))
    assert model.most <= 64
    late = [t for t in model.times if 120.0 < t < 600.0]
    assert 0 < len(late) < 1000  # two a second


def test_a_server_that_stays_away_ends_the_run_after_its_patience() -> None:
    model = FakeServed(down_until(1e9), patience=900.0)
    made = dispatch(model, questions(100))
    assert isinstance(made.error, InvalidResult)
    assert "fake served gives no answers any more: no connection" in str(made.error)
    assert made.ended_at is not None
    assert 900.0 < made.ended_at < 900.0 + 2 * LONGEST_DELAY
    assert made.replies == {}


def test_a_server_that_went_away_ends_the_run_after_its_patience_and_answers_are_kept() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(1.0)
        if now() > 1000.0:
            raise TryAgain("no connection", unreachable=True)

    model = FakeServed(behave, patience=300.0, max_connections=1)
    made = dispatch(model, questions(1100))
    assert isinstance(made.error, InvalidResult)
    assert made.ended_at is not None
    assert 1300.0 < made.ended_at < 1300.0 + 2 * LONGEST_DELAY
    assert len(made.replies) == 1000


def test_single_lost_connections_are_no_outage() -> None:
    """Every third call loses its connection: the limit stays, and each loss is an attempt."""
    count = iter(range(10**6))

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        await asyncio.sleep(1.0)
        if next(count) % 3 == 0:
            raise TryAgain("the connection was lost", unreachable=True)

    model = FakeServed(behave, max_connections=16)
    made = dispatch(model, questions(300))
    assert all(isinstance(r, Generation) for r in made.responses())
    assert made.described["connections"] == {"limit": 16, "highest": 16}


def test_a_wait_beyond_all_patience_ends_the_run_at_once() -> None:
    """A daily limit: the server asks to come back in hours."""
    model = FakeServed(
        failing(99, lambda: TryAgain("429", after=7200.0, overloaded=True)), patience=900.0
    )
    made = dispatch(model, questions(3))
    assert isinstance(made.error, InvalidResult)
    assert made.seconds < 1.0


def test_after_an_outage_the_limit_grows_again() -> None:
    model = FakeServed(down_until(60.0), max_connections=64)
    made = dispatch(model, questions(2000))
    assert made.error is None
    assert max(model.times) < 600.0
    assert made.described["connections"]["highest"] == 64  # type: ignore[index]


def test_a_question_that_brings_the_server_down_does_not_starve_the_others() -> None:
    """Whenever it is asked, nobody answers for a minute."""
    down_to = [0.0]

    async def behave(requests: Sequence[Request], attempt: int) -> None:
        if requests[0].prompt == "question 0":
            down_to[0] = now() + 60.0
        await asyncio.sleep(0.5)
        if now() < down_to[0]:
            raise TryAgain("the connection was lost", unreachable=True)

    model = FakeServed(behave, patience=3600.0, max_connections=8)
    made = dispatch(model, questions(60), patience=3000.0)
    assert set(range(1, 60)) <= set(made.replies)


def test_a_spent_limit_that_is_reset_tomorrow_is_no_pause_of_a_day() -> None:
    async def behave(requests: Sequence[Request], attempt: int) -> Reply:
        await asyncio.sleep(1.0)
        return replace(model.reply(requests), wait=86_340.0)

    model = FakeServed(behave, patience=900.0, max_connections=1)
    made = dispatch(model, questions(5))
    assert len(made.replies) == 5
    assert made.ended_at is None or made.ended_at < 900.0
