"""Gaffke's test and interval: against the binomial, Markov, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmeval.stats import clopper_pearson_interval
from llmeval.stats.bounded import (
    Totals,
    check_bounds,
    collect_totals,
    gaffke_pvalue,
    mean_interval,
    mean_pvalues,
    units_needed,
)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.01, 0.99),
)
def test_outcomes_get_the_exact_binomial_test(case: tuple[int, int], null: float) -> None:
    successes, n = case
    totals = collect_totals([1.0] * successes + [0.0] * (n - successes))
    above, below = mean_pvalues(totals, null, (0.0, 1.0))
    exact_above = stats.binom.sf(successes - 1, n, null) if successes else 1.0
    exact_below = stats.binom.cdf(successes, n, null) if successes < n else 1.0
    assert above == pytest.approx(exact_above, rel=0.05, abs=1e-9)
    assert below == pytest.approx(exact_below, rel=0.05, abs=1e-9)


@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_outcomes_get_the_exact_binomial_interval(case: tuple[int, int]) -> None:
    successes, n = case
    interval = mean_interval(collect_totals([1.0] * successes + [0.0] * (n - successes)), (0, 1))
    assert interval == pytest.approx(clopper_pearson_interval(successes, n), abs=3e-3 / np.sqrt(n))


@given(st.integers(1, 60), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_without_spread_it_is_markovs_inequality(n: int, each: float, null: float) -> None:
    above, below = mean_pvalues(collect_totals([each] * n), null, (-1.0, 1.0))
    # P(one is at least c) <= (mu - low) / (c - low), n times over; and from the other side
    expected_above = ((null + 1) / (each + 1)) ** n if each > null else 1.0
    expected_below = ((1 - null) / (1 - each)) ** n if each < null else 1.0
    assert above == pytest.approx(expected_above, abs=1e-9)
    assert below == pytest.approx(expected_below, abs=1e-9)


@pytest.mark.parametrize("n, shift", [(3, 0.1), (8, 0.05), (40, 0.03)])
def test_the_saddlepoint_is_the_random_reweighting(n: int, shift: float) -> None:
    rng = np.random.default_rng(n)
    units = rng.normal(shift, 0.15, n)
    weights = rng.exponential(size=(400_000, n + 1))
    share = float(np.mean(weights @ np.append(units, -0.9) <= 0))
    p = float(gaffke_pvalue(units[None], -0.9)[0])
    assert p == pytest.approx(share, rel=0.015, abs=4e-3)


def test_counts_are_copies_and_batches_are_rows() -> None:
    rng = np.random.default_rng(0)
    units, counts = rng.normal(0.1, 0.3, (5, 4)), rng.integers(1, 6, (5, 4))
    batch = gaffke_pvalue(units, -0.9, counts)
    for row, times, p in zip(units, counts, batch, strict=True):
        assert float(gaffke_pvalue(np.repeat(row, times), -0.9)) == pytest.approx(p, rel=1e-9)


samples = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=30)


@given(samples, st.floats(-0.9, 0.9), st.integers(1, 5))
def test_p_values_move_with_the_data_and_mirror(
    values: list[float], null: float, groups: int
) -> None:
    clusters = np.arange(len(values)) % groups
    above, below = mean_pvalues(collect_totals(values, clusters), null, (-1, 1))
    mirrored = mean_pvalues(collect_totals(-np.array(values), clusters), -null, (-1, 1))
    assert (below, above) == pytest.approx(mirrored, rel=1e-6, abs=1e-9)
    better = np.minimum(np.array(values) + 0.1, 1.0)
    assert mean_pvalues(collect_totals(better, clusters), null, (-1, 1))[0] <= above + 5e-3
    assert above + below >= 1 - 5e-3  # both are never small


@given(samples, st.integers(1, 6))
def test_interval_encloses_the_mean_within_the_bounds(values: list[float], groups: int) -> None:
    totals = collect_totals(values, np.arange(len(values)) % groups)
    low, high = mean_interval(totals, (-1, 1))
    assert -1 <= low <= totals.mean + 1e-9 and totals.mean - 1e-9 <= high <= 1
    assert high - low > 0.9 ** len(values)
    wider = mean_interval(totals, (-2, 2))
    assert wider[0] <= low + 1e-3 and wider[1] >= high - 1e-3


def test_alike_units_are_counted() -> None:
    totals = collect_totals([1, 0, 1, 0, 0, 1], ["a", "a", "b", "b", "c", "d"])
    assert sorted(zip(totals.sums, totals.sizes, totals.counts, strict=True)) == [
        (0, 1, 1),
        (1, 1, 1),
        (1, 2, 2),
    ]
    assert (totals.units, totals.mean) == (4, 0.5)


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_rare_losses_do_not_pass_where_students_t_lets_them(share: float) -> None:
    """At a loss as frequent as tolerated, "not worse" must be found in at most 5% of samples."""
    n = round(4 / share)
    losses = np.arange(0, 40)
    chances = stats.binom.pmf(losses, n, share)
    units = np.tile([share - 1, share], (len(losses), 1))
    p = gaffke_pvalue(units, share - 1, np.column_stack([losses, n - losses]))
    assert chances[p <= 0.05].sum() <= 0.05
    mean, sd = -losses / n, np.sqrt(losses / n * (1 - losses / n) / n)
    with np.errstate(divide="ignore"):
        t = (mean + share) / sd
    assert chances[t > stats.t.ppf(0.95, n - 1)].sum() > 0.07


def test_needed_units_reach_their_power() -> None:
    rng = np.random.default_rng(1)
    pilot = rng.choice([-1.0, 0.0, 1.0], 200, p=[0.06, 0.88, 0.06])
    totals = collect_totals(pilot)
    needed = units_needed(totals, -0.05, (-1, 1), 0.05, 0.8)
    assert needed is not None
    n = round(needed)
    counts = rng.multinomial(n, totals.counts / totals.units, size=4000)
    units = np.tile(totals.sums + 0.05, (4000, 1))
    assert np.mean(gaffke_pvalue(units, -0.95, counts) <= 0.05) == pytest.approx(0.8, abs=0.03)


def test_no_number_of_units_decides_on_the_boundary() -> None:
    assert units_needed(collect_totals([-0.5, 0.5]), 0.0, (-1, 1), 0.05, 0.8) is None
    # Without losses, ln(.05) / ln(1 - .02) units show that losses are rarer than .02.
    flat = units_needed(collect_totals(np.zeros(10)), -0.02, (-1, 1), 0.05, 0.8)
    assert flat == pytest.approx(np.log(0.05) / np.log(0.98), rel=1e-4)
    sure = Totals(np.ones(1), np.ones(1), np.full(1, 9.0))
    assert units_needed(sure, -0.99, (-1, 1), 0.05, 0.8) == 2.0


def test_bounds_must_hold() -> None:
    check_bounds(np.array([0.0, 1.0]), (0, 1))
    for values, bounds in (([0.0], (1, 0)), ([0.0], (0, np.inf)), ([1.1], (0, 1))):
        with pytest.raises(ValueError, match="bounds"):
            check_bounds(np.array(values), bounds)
