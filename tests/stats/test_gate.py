"""The regression gate: verdicts, exact reasoning without spread, families, and its error rates."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llmeval.stats import Verdict, decide, gate
from llmeval.stats.bounded import gaffke_pvalue

PASS, REGRESSED, INCONCLUSIVE = Verdict.PASS, Verdict.REGRESSED, Verdict.INCONCLUSIVE


def test_clear_cases() -> None:
    rng = np.random.default_rng(0)
    same = rng.choice([-1, 0, 1], 3000, p=[0.02, 0.96, 0.02])
    worse = rng.choice([-1, 0, 1], 3000, p=[0.2, 0.7, 0.1])
    results = [gate.test_noninferiority(d, 0.02) for d in (same, worse, same[:30])]
    assert decide(results) == [PASS, REGRESSED, INCONCLUSIVE]
    assert decide([]) == []


@pytest.mark.parametrize("n, verdict", [(148, INCONCLUSIVE), (149, PASS)])
def test_identical_answers_pass_when_enough_items_were_asked(n: int, verdict: Verdict) -> None:
    # Losses in 2% of items stay unseen among n items with probability .98^n: .0503, .0493.
    result = gate.test_noninferiority(np.zeros(n), 0.02)
    assert result.p_noninferior == pytest.approx(0.98**n)
    assert (decide([result])[0], result.needed_n) == (verdict, 149)
    low, high = result.difference.ci95 or (0, 0)
    assert low == pytest.approx(-high) and low == pytest.approx(-(1 - 0.025 ** (1 / n)), abs=1e-6)


def test_clusters_are_the_units_of_what_stayed_unseen() -> None:
    result = gate.test_noninferiority(np.zeros(150), 0.02, np.arange(150) // 5)
    assert result.p_noninferior == pytest.approx(0.98**30)
    assert result.needed_n == math.ceil(5 * math.log(0.05) / math.log(0.98))
    alone = gate.test_noninferiority(np.zeros(150), 0.02, np.arange(150))
    assert alone.p_noninferior == pytest.approx(0.98**150)


def test_equal_losses_are_judged_exactly() -> None:
    # Were the mean -.02 or more, half the items could still be at -.5 by Markov: 1.02 / 1.5.
    result = gate.test_noninferiority(np.full(20, -0.5), 0.02)
    assert result.p_inferior == pytest.approx((1.02 / 1.5) ** 20)
    assert (result.p_noninferior, decide([result])) == (1.0, [REGRESSED])
    boundary = gate.test_noninferiority(np.full(500, -0.25), 0.25)
    assert (boundary.p_noninferior, boundary.p_inferior, boundary.needed_n) == (1.0, 1.0, None)


def test_what_cannot_be_told_is_inconclusive_and_counts_in_the_family() -> None:
    empty = gate.test_noninferiority([], 0.02)
    single = gate.test_noninferiority([0.0, 0.0], 0.02, ["a", "a"])
    flat = gate.test_noninferiority([-3.0, -3.0], 0.02, bounds=None)
    for result, status in ((empty, "empty"), (single, "single"), (flat, "degenerate")):
        assert (result.p_noninferior, result.p_inferior, result.needed_n) == (None, None, None)
        assert result.status == status
    good = gate.test_noninferiority(np.zeros(180), 0.02)  # p = .026
    assert decide([good]) == [PASS]
    assert decide([good, empty]) == [INCONCLUSIVE, INCONCLUSIVE]


def test_unbounded_metrics_get_the_clustered_t_test() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(-0.5, 2.0, 60)
    result = gate.test_noninferiority(differences, 1.0, bounds=None)
    expected = stats.ttest_1samp(differences, -1.0, alternative="greater").pvalue
    assert result.p_noninferior == pytest.approx(expected)
    assert result.p_inferior == pytest.approx(1 - expected)
    assert result.difference.method == "student-t"
    sd, margin = differences.std(ddof=1), differences.mean() + 1.0
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    assert result.needed_n == math.ceil((z * sd / margin) ** 2)


def test_wrong_use_is_refused() -> None:
    for tolerance in (0.0, -0.1, math.nan, 1.0):
        with pytest.raises(ValueError, match="tolerance"):
            gate.test_noninferiority([0.0, 0.1], tolerance)
    with pytest.raises(ValueError, match="finite"):
        gate.test_noninferiority([0.0, math.nan], 0.1)
    with pytest.raises(ValueError, match="bounds"):
        gate.test_noninferiority([0.0, 3.0], 0.1)
    with pytest.raises(ValueError, match="alpha"):
        decide([], alpha=0.5)


differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.0, 0.5, 1.0]), min_size=2)


@given(differences, st.floats(0.01, 0.5))
def test_interval_and_tests_agree_and_never_contradict(values: list[float], tol: float) -> None:
    result = gate.test_noninferiority(values, tol)
    low, high = result.difference.ci95 or (0, 0)
    good, bad = result.p_noninferior or 0.0, result.p_inferior or 0.0
    if abs(good - 0.025) > 1e-4:
        assert (good < 0.025) == (low > -tol)
    if abs(bad - 0.025) > 1e-4:
        assert (bad < 0.025) == (high < -tol)
    assert good > 0.05 or bad > 0.05


units = st.one_of(differences, st.integers(20, 400).map(lambda n: [0.0] * n))


@settings(max_examples=60)
@given(st.lists(st.tuples(units, st.booleans()), min_size=1, max_size=5), st.floats(0.01, 0.5))
def test_the_tested_bounds_say_what_the_verdicts_say(
    tasks: list[tuple[list[float], bool]], tolerance: float
) -> None:
    results = [
        gate.test_noninferiority(values, tolerance, bounds=(-1.0, 1.0) if bounded else None)
        for values, bounded in tasks
    ]
    for verdict, bounds in zip(decide(results), gate.tested_bounds(results), strict=True):
        if bounds is None:
            assert verdict is INCONCLUSIVE
            continue
        low, high = bounds
        assert (verdict is PASS) == (low >= -tolerance)
        assert (verdict is REGRESSED) == (high <= -tolerance)


def test_the_tested_bounds_are_those_of_the_exact_tests_at_holms_levels() -> None:
    """Without any loss among n, the lower bound at level p is -(1 - p^(1/n))."""
    results = [gate.test_noninferiority(np.zeros(n), 0.02) for n in (1000, 100, 50)]
    assert decide(results) == [PASS, INCONCLUSIVE, INCONCLUSIVE]
    lows = [bounds[0] for bounds in gate.tested_bounds(results) if bounds]
    levels = (0.05 / 3, 0.05 / 2, 0.05 / 2)  # the first was rejected, two are left
    expected = [p ** (1 / n) - 1 for n, p in zip((1000, 100, 50), levels, strict=True)]
    assert lows == pytest.approx(expected, abs=1e-7)
    values = np.random.default_rng(1).normal(-0.5, 2.0, 60)
    ((low, high),) = filter(
        None, gate.tested_bounds([gate.test_noninferiority(values, 1, None, None)])
    )
    t = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((t.low, t.high))


@settings(max_examples=40)
@given(differences, st.integers(2, 4), st.randoms(use_true_random=False))
def test_neither_order_nor_names_of_clusters_matter(
    values: list[float], k: int, rng: random.Random
) -> None:
    labels = [f"passage {i % k}" for i in range(len(values))]
    pairs = list(zip(values, labels, strict=True))
    rng.shuffle(pairs)
    first = gate.test_noninferiority(values, 0.1, labels)
    second = gate.test_noninferiority(
        [v for v, _ in pairs], 0.1, [label[::-1] for _, label in pairs]
    )
    assert second.p_noninferior == pytest.approx(first.p_noninferior, rel=1e-6)
    if first.needed_n is None:
        assert second.needed_n is None
    else:
        assert second.needed_n == pytest.approx(first.needed_n, rel=1e-4)


@settings(max_examples=30)
@given(st.integers(20, 400), st.floats(0.01, 0.2), st.floats(0.0, 0.3))
def test_more_of_the_same_decides_more(n: int, tol: float, share: float) -> None:
    losses = round(share * n)
    once = np.repeat([-1.0, 0.0], [losses, n - losses])
    few, many = (gate.test_noninferiority(np.tile(once, k), tol) for k in (1, 3))
    if -once.mean() < tol:
        assert (many.p_noninferior or 0) <= (few.p_noninferior or 0) + 1e-9
    elif -once.mean() > tol:
        assert (many.p_inferior or 0) <= (few.p_inferior or 0) + 1e-9


def test_families_of_tasks_keep_their_error() -> None:
    """Of ten tasks that all lost just the tolerance, any passes in at most 5% of nights."""
    nights, tolerance, n = 2000, 0.04, 300
    counts = np.random.default_rng(2).multinomial(n, [0.06, 0.92, 0.02], (nights, 10))
    units = np.broadcast_to(np.array([-1.0, 0.0, 1.0]) + tolerance, counts.shape)
    p = gaffke_pvalue(units, tolerance - 1, counts)
    blank = gate.test_noninferiority(np.zeros(2), tolerance)
    results = [[replace(blank, p_noninferior=float(x), p_inferior=1.0) for x in row] for row in p]
    assert np.mean([PASS in decide(row) for row in results]) <= 0.05
    alone = np.mean([any(PASS in decide([task]) for task in row) for row in results])
    assert alone > 0.15  # without Holm
