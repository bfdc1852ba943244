"""A run takes no more than it may: dollars, requests, minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import BudgetReached, Interrupted, UsageError
from llmeval.engine.budget import Budget, Limits


class Clock:
    now = 500.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", ["usd", "requests", "minutes"])
@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), True])
def test_a_limit_of_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"--max-{name}: must be more than 0"):
        Limits(**{name: value})


def test_no_limits_are_never_reached() -> None:
    budget = Budget()
    budget.hold(10**9, 1e9)
    budget.spend(10**9, 1e9)
    assert budget.reached(10**9, 1e9) is None
    assert not budget.is_late
    assert not budget.limits.any
    assert Limits(minutes=1).any


def test_requests_are_counted_with_those_that_are_being_asked() -> None:
    budget = Budget(Limits(requests=10))
    budget.spend(4, None)
    budget.hold(5, None)
    assert budget.reached(1) is None
    assert budget.reached(2) is not None
    budget.release(5, None)
    assert budget.reached(6) is None


def test_dollars_are_counted_with_those_that_are_being_spent() -> None:
    budget = Budget(Limits(usd=1.0))
    budget.spend(1, 0.5)
    budget.hold(1, 0.25)
    assert budget.reached(1, 0.25) is None
    assert budget.reached(1, 0.26) is not None
    budget.release(1, 0.25)
    budget.spend(1, 0.01)
    assert budget.reached(1, 0.26) is None


def test_dollars_that_are_spent_end_what_costs_nothing_known() -> None:
    budget = Budget(Limits(usd=1.0))
    assert budget.reached(1, None) is None
    budget.spend(1, 1.0)
    assert budget.reached(1, None) is not None


def test_minutes_are_those_of_this_attempt() -> None:
    clock = Clock()
    budget = Budget(Limits(minutes=2), clock)
    clock.now += 119.0
    assert budget.reached() is None
    clock.now += 1.0
    assert budget.is_late
    assert budget.reached() is not None


@pytest.mark.parametrize(
    ("limits", "where", "said"),
    [
        (Limits(requests=3), "--max-requests", "3 of 3 requests"),
        (Limits(usd=0.25), "--max-usd", r"\$0.5000 of \$0.25"),
        (Limits(minutes=1.5), "--max-minutes", "1.5 minutes"),
    ],
)
def test_what_was_reached_is_said_with_the_option_that_raises_it(
    limits: Limits, where: str, said: str
) -> None:
    clock = Clock()
    budget = Budget(limits, clock)
    budget.spend(3, 0.5)
    clock.now += 90.0
    reached = budget.reached()
    assert isinstance(reached, BudgetReached)
    assert isinstance(reached, Interrupted)  # the same command continues
    assert reached.exit_code == 130
    assert reached.where == where
    with pytest.raises(BudgetReached, match=said):
        raise reached


calls = st.lists(
    st.tuples(st.integers(1, 5), st.floats(0, 2), st.booleans()), min_size=1, max_size=40
)


@given(st.integers(1, 30), st.floats(0.1, 10), calls)
def test_no_bound_is_run_over_where_nothing_costs_more_than_thought(
    requests: int, usd: float, asked: list[tuple[int, float, bool]]
) -> None:
    """Calls go out while they may; some are answered at once, the others in the end."""
    budget = Budget(Limits(requests=requests, usd=usd))
    flying: list[tuple[int, float]] = []
    for count, cost, at_once in asked:
        if budget.reached(count, cost) is not None:
            continue
        budget.hold(count, cost)
        flying.append((count, cost))
        if at_once:
            land(budget, *flying.pop(0))
    for count, cost in flying:
        land(budget, count, cost)
    assert budget.requests <= requests
    assert budget.usd <= usd + 1e-9
    assert budget.held_requests == 0
    assert budget.held_usd == pytest.approx(0.0, abs=1e-9)


def land(budget: Budget, count: int, cost: float) -> None:
    budget.release(count, cost)
    budget.spend(count, cost)
