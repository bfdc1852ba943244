"""Paired comparisons: against statsmodels, scipy, hand enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from llmeval.stats import mcnemar_exact, paired_difference, permutation_test, tango_interval
from llmeval.stats.paired import tango_statistic

Floats = NDArray[np.float64]

tables = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 40))


def _outcomes(lost: int, gained: int, equal: int) -> tuple[Floats, Floats]:
    a = np.array([1.0] * lost + [0.0] * gained + [1.0] * equal)
    b = np.array([0.0] * lost + [1.0] * gained + [1.0] * equal)
    return a, b


def test_graded_scores_get_the_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(40)
    b = a + rng.normal(0.1, 0.2, 40)
    expected = stats.ttest_rel(b, a).confidence_interval()
    estimate = paired_difference(a, b)
    assert estimate.value == pytest.approx(np.mean(b - a))
    assert estimate.ci95 == pytest.approx((expected.low, expected.high))
    assert (estimate.method, estimate.n) == ("student-t", 40)


def test_clustered_error_is_that_of_a_regression_on_a_constant() -> None:
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 25, 200)
    b = rng.random(200) + 0.3 * rng.normal(size=25)[clusters]
    a = rng.random(200)
    fit = sm.OLS(b - a, np.ones(200)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    estimate = paired_difference(a, b, clusters)
    assert estimate.stderr == pytest.approx(fit.bse[0], rel=1e-12)
    low, high = estimate.ci95 or (0, 0)
    # statsmodels takes G-1 degrees of freedom too
    assert (low, high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)


@given(tables)
def test_score_statistic_is_the_likelihoods(table: tuple[int, int, int]) -> None:
    lost, gained, equal = table
    n, difference = lost + gained + equal, 0.07

    def loss(share_lost: float) -> float:
        shares = np.array([share_lost, share_lost + difference, 1 - 2 * share_lost - difference])
        return -float(np.array([lost, gained, equal]) @ np.log(np.maximum(shares, 1e-300)))

    best = optimize.minimize_scalar(
        loss, bounds=(0, (1 - difference) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    if lost == 0 and loss(0.0) <= loss(best):
        best = 0.0
    variance = (2 * best + difference - difference**2) / n
    expected = ((gained - lost) / n - difference) / np.sqrt(variance)
    assert tango_statistic(lost, gained, n, difference) == pytest.approx(expected, rel=1e-4)


@given(tables)
def test_interval_of_outcomes_is_what_the_score_test_does_not_reject(
    table: tuple[int, int, int],
) -> None:
    lost, gained, equal = table
    n = lost + gained + equal
    low, high = tango_interval(lost, gained, n)
    assert -1 <= low < (gained - lost) / n < high <= 1
    for bound in (low, high):
        if abs(bound) < 1:
            assert abs(tango_statistic(lost, gained, n, bound)) == pytest.approx(1.95996, abs=1e-4)


def test_interval_of_outcomes_in_closed_form() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    # Without discordant pairs the score test solves to z^2 / (n + z^2).
    assert tango_interval(0, 0, 44) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), abs=1e-9)
    # Only losses: a single share, whose score interval is Wilson's.
    wilson = stats.binomtest(5, 40).proportion_ci(method="wilson")
    assert tango_interval(5, 0, 40)[0] == pytest.approx(-wilson.high, abs=1e-9)


@settings(max_examples=40)
@given(tables)
def test_swapping_sides_negates_the_difference(table: tuple[int, int, int]) -> None:
    a, b = _outcomes(*table)
    for clusters in (None, np.arange(len(a)) // 2):
        there, back = paired_difference(a, b, clusters), paired_difference(b, a, clusters)
        assert there.value == pytest.approx(-(back.value or 0.0))
        assert (there.stderr, there.status) == (pytest.approx(back.stderr), back.status)
        if there.ci95 and back.ci95:
            assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]), abs=1e-6)
            assert there.ci95[0] <= (there.value or 0.0) <= there.ci95[1]


@given(st.permutations(range(12)), st.permutations(range(4)))
def test_neither_order_nor_names_of_clusters_matter(order: list[int], names: list[int]) -> None:
    rng = np.random.default_rng(3)
    a, b, clusters = rng.random(12), rng.random(12), np.arange(12) % 4
    first = paired_difference(a, b, clusters)
    second = paired_difference(a[order], b[order], np.array(names)[clusters[order]])
    assert second.stderr == pytest.approx(first.stderr)
    p, q = (
        permutation_test(d, c)
        for d, c in ((b - a, clusters), ((b - a)[order], np.array(names)[clusters[order]]))
    )
    assert p == q


def test_no_or_few_discordant_pairs_never_make_certainty() -> None:
    same = np.ones(60)
    one = same.copy()
    one[0] = 0
    clusters = np.arange(60) // 3
    for a, b in ((same, same), (same, one)):
        flat, clustered = paired_difference(a, b), paired_difference(a, b, clusters)
        for estimate, units in ((flat, 60), (clustered, 20)):
            assert estimate.status == "ok" and estimate.ci95 is not None
            # Among so many units, losses of this share stay unseen in one sample of twenty.
            assert estimate.ci95[0] < -(1 - 0.05 ** (1 / units))
    graded = paired_difference([0.5, 0.25], [0.5, 0.25])
    assert (graded.value, graded.ci95, graded.status) == (0.0, None, "degenerate")
    rounded = paired_difference([0.1, 0.2, 0.7], [0.2, 0.3, 0.8])  # 0.1 but for the last digit
    assert (rounded.ci95, rounded.status) == (None, "degenerate")


def test_nothing_and_one_are_not_estimable() -> None:
    assert paired_difference([], []).status == "empty"
    assert paired_difference([], []).value is None
    one = paired_difference([0.0, 1.0], [1.0, 1.0], ["a", "a"])
    assert (one.value, one.stderr, one.ci95, one.status) == (0.5, None, None, "single")
    alone = paired_difference([1.0], [1.0])
    assert (alone.stderr, alone.status) == (None, "single")


def test_pairs_must_be_pairs_of_numbers() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        paired_difference([np.nan], [1.0])
    with pytest.raises(ValueError, match="fit"):
        tango_interval(3, 3, 5)


@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.3])
def test_interval_of_outcomes_covers(discordance: float) -> None:
    rng = np.random.default_rng(4)
    truth = -0.4 * discordance
    shares = [(discordance - truth) / 2, (discordance + truth) / 2, 1 - discordance]
    drawn = rng.multinomial(120, shares, size=4000)
    seen: dict[tuple[int, int], tuple[float, float]] = {}
    covered = 0
    for lost, gained, _ in drawn.tolist():
        low, high = seen.setdefault((lost, gained), tango_interval(lost, gained, 120))
        covered += low <= truth <= high
    assert 0.935 <= covered / 4000 <= 0.985


def test_clustered_interval_of_rare_losses_covers() -> None:
    rng = np.random.default_rng(5)
    clusters, missed = np.repeat(np.arange(80), 3), 0
    for _ in range(80):
        b = 1.0 - np.repeat(rng.random(80) < 0.03, 3)  # whole passages are lost
        low, high = paired_difference(np.ones(240), b, clusters).ci95 or (0, 0)
        missed += not low <= -0.03 <= high
    assert missed / 80 <= 0.05  # Student's misses in 10%


@pytest.mark.parametrize(
    "differ, method", [(19, "gaffke, clustered"), (20, "student-t, clustered")]
)
def test_students_interval_needs_twenty_clusters_that_differ(differ: int, method: str) -> None:
    b = np.ones(300)
    b[: 3 * differ] = 0  # whole clusters of three
    estimate = paired_difference(np.ones(300), b, np.arange(300) // 3)
    assert (estimate.method, estimate.clusters) == (method, 100)


def test_exact_mcnemar_is_published_and_statsmodels() -> None:
    assert mcnemar_exact(476, 147) == pytest.approx(2.11e-41, rel=5e-3)
    assert mcnemar_exact(2, 11) == pytest.approx(0.0225, abs=5e-5)
    for lost, gained in itertools.product(range(8), repeat=2):
        if lost + gained:
            expected = mcnemar([[5, lost], [gained, 7]], exact=True).pvalue
            assert mcnemar_exact(lost, gained) == pytest.approx(expected)


def test_without_discordant_pairs_there_is_nothing_to_test() -> None:
    assert mcnemar_exact(0, 0) is None
    assert permutation_test(np.zeros(30)) is None
    assert permutation_test([]) is None
    assert permutation_test([0.5, 1.0], ["a", "a"]) is None
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9).filter(any))
def test_few_clusters_are_enumerated(sums: list[int]) -> None:
    observed = abs(sum(sums))
    flips = itertools.product((1, -1), repeat=len(sums))
    totals = [abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in flips]
    expected = np.mean([total >= observed for total in totals])
    assert permutation_test(np.array(sums) / 10) == pytest.approx(expected)


def test_enumeration_is_scipys() -> None:
    differences = np.random.default_rng(6).normal(0.5, 1, 9)
    expected = stats.permutation_test(
        (differences, np.zeros(9)),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert permutation_test(differences) == pytest.approx(expected)


def test_clusters_flip_as_a_whole() -> None:
    # Two clusters of sums 3 and 1: |+-3 +-1| reaches 4 in two of four cases.
    assert permutation_test([1, 1, 1, 1], ["a", "a", "a", "b"]) == 0.5


@pytest.mark.parametrize("lost, gained", [(10, 25), (40, 30)])
def test_many_outcomes_are_drawn_and_agree_with_mcnemar(lost: int, gained: int) -> None:
    differences = np.repeat([-1.0, 1.0, 0.0], [lost, gained, 100])
    p = permutation_test(differences, resamples=40_000)
    assert p == pytest.approx(mcnemar_exact(lost, gained), abs=0.006)
    assert p == permutation_test(differences, resamples=40_000)  # the seed decides


def test_drawn_p_values_are_never_0() -> None:
    assert permutation_test(np.ones(200), resamples=999) == 1 / 1000
    with pytest.raises(ValueError, match="resamples"):
        permutation_test([1.0, 2.0], resamples=0)


@settings(max_examples=20)
@given(st.integers(13, 40), st.integers(0, 1000))
def test_drawn_p_values_of_graded_scores_are_near_the_t_tests(n: int, seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.2, 1, n)
    p = permutation_test(differences, resamples=4000)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.05)
