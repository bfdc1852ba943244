"""Means, standard errors and intervals: against lm-eval, scipy, hand computation and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmeval.stats.intervals import (
    clopper_pearson_interval,
    cluster_codes,
    clustered_stderr,
    estimate_mean,
    estimate_mean_by_t,
    wilson_interval,
)


def test_standard_error_is_lm_evals() -> None:
    from lm_eval.api.metrics import mean_stderr

    values = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    assert estimate_mean(values).stderr == pytest.approx(mean_stderr(values), rel=1e-12)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(case: tuple[int, int]) -> None:
    successes, n = case
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_of_a_textbook_case() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.8, 0.95, 0.999]),
)
def test_clopper_pearson_interval_is_scipys(case: tuple[int, int], level: float) -> None:
    successes, n = case
    expected = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    interval = clopper_pearson_interval(successes, n, level)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_of_nothing_knows_nothing_and_refuses_nonsense() -> None:
    assert clopper_pearson_interval(0, 0) == (0.0, 1.0)
    for successes, n, level in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(ValueError, match="got"):
            clopper_pearson_interval(successes, n, level)


def test_differences_that_happen_to_be_0_and_1_get_students_interval() -> None:
    values = [0.0, 1.0, 0.0, 0.0, 1.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert estimate_mean_by_t(values).ci95 == pytest.approx((expected.low, expected.high))
    assert estimate_mean_by_t([0.0, 0.0]).status == "degenerate"


def test_other_values_get_students_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 25)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    estimate = estimate_mean(values)
    assert estimate.ci95 == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (estimate.method, estimate.n, estimate.status) == ("student-t", 25, "ok")


def test_nothing_measured_has_no_value() -> None:
    for estimate in (estimate_mean([]), estimate_mean([], clusters=[])):
        assert (estimate.value, estimate.stderr, estimate.ci95) == (None, None, None)
        assert estimate.status == "empty"


def test_one_row_or_one_cluster_has_no_standard_error() -> None:
    one = estimate_mean([1.0])
    assert (
        one.stderr is None and one.ci95 is not None and one.ci95[0] == pytest.approx(0.2065, 1e-3)
    )
    assert estimate_mean([0.5]).ci95 is None
    cluster = estimate_mean([0, 1, 1], ["a", "a", "a"])
    assert cluster.value == pytest.approx(2 / 3)
    assert (cluster.stderr, cluster.ci95) == (None, None)
    assert (one.status, cluster.status, cluster.clusters) == ("single", "single", 1)


def test_all_correct_never_claims_certainty() -> None:
    flat = estimate_mean(np.ones(50))
    assert flat.ci95 is not None and flat.ci95[0] < 0.95
    clustered = estimate_mean(np.ones(50), np.repeat(np.arange(5), 10))
    assert clustered.ci95 is not None and clustered.ci95[0] < 0.6  # as 5 observations, not 50
    same = estimate_mean(np.full(50, 0.3))
    assert (same.ci95, same.status) == (None, "degenerate")


def test_clusters_that_are_alike_never_claim_certainty() -> None:
    # Half of each cluster is right: the clusters show no spread, and rounding is none.
    halves = estimate_mean([0, 1, 1, 0, 0, 1], ["a", "a", "b", "b", "c", "c"])
    assert halves.method == "wilson on clusters"
    assert halves.ci95 == pytest.approx(wilson_interval(1.5, 3))
    thirds = estimate_mean([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], ["a", "a", "a", "b", "b", "b"])
    assert (thirds.stderr, thirds.ci95, thirds.status) == (0.0, None, "degenerate")
    assert estimate_mean([0.1 + 0.2, 0.3, 0.3]).status == "degenerate"


def test_values_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate_mean([1.0, math.nan])
    with pytest.raises(ValueError, match="3 cluster labels"):
        estimate_mean([1.0, 0.0, 1.0], ["a", "b"])


def test_clustered_error_by_hand() -> None:
    # Mean 1/2; residual sums of the clusters +1, -1/2, -1/2: sqrt(3/2 * 1.5) / 6 = 1/4.
    values, clusters = [1, 1, 0, 0.5, 0, 0.5], ["a", "a", "b", "b", "c", "c"]
    assert clustered_stderr(values, clusters) == pytest.approx(0.25)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=40))
def test_clusters_of_one_row_are_independent_rows(values: list[float]) -> None:
    clustered = estimate_mean(values, range(len(values)))
    flat = estimate_mean(values)
    assert clustered.stderr == pytest.approx(flat.stderr, rel=1e-9, abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=40), st.integers(2, 5))
def test_copying_every_row_buys_no_precision_when_clustered(values: list[float], k: int) -> None:
    labels = np.arange(len(values))
    copied = clustered_stderr(np.repeat(values, k), np.repeat(labels, k))
    assert copied == pytest.approx(clustered_stderr(values, labels), abs=1e-12)


@given(st.permutations(range(12)))
def test_row_order_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(5)
    values, labels = rng.random(12), rng.integers(0, 4, 12)
    first, second = estimate_mean(values, labels), estimate_mean(values[order], labels[order])
    assert second.stderr == pytest.approx(first.stderr, rel=1e-12)
    assert second.ci95 == pytest.approx(first.ci95, rel=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_wilson_covers_the_truth(share: float) -> None:
    draws = np.random.default_rng(1).binomial(60, share, 4000)
    bounds = {int(k): wilson_interval(int(k), 60) for k in np.unique(draws)}
    covered = np.mean([bounds[int(k)][0] <= share <= bounds[int(k)][1] for k in draws])
    assert 0.92 <= covered <= 0.985


def test_clustered_interval_covers_where_the_naive_one_does_not() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(30), 8)
    truth, runs = 0.5, 600
    covered = {"clustered": 0, "naive": 0}
    for _ in range(runs):
        skill = rng.beta(1.5, 1.5, 30)  # rows of a cluster share a difficulty
        values = (rng.random(240) < skill[clusters]).astype(float)
        for name, labels in (("clustered", clusters), ("naive", None)):
            interval = estimate_mean(values, labels).ci95
            assert interval is not None
            covered[name] += interval[0] <= truth <= interval[1]
    assert 0.92 <= covered["clustered"] / runs <= 0.98
    assert covered["naive"] / runs < 0.85


def test_clusters_may_be_whole_passages() -> None:
    """As an array of texts these labels would take 8 GB."""
    passages = [f"{i % 500} " + "a long passage " * 1000 * (i == 7) for i in range(140_000)]
    codes = cluster_codes(passages, len(passages))
    assert len(set(codes.tolist())) == 501
    assert (codes[1:500:50] == codes[501:1000:50]).all()
    few = ["b", "a\0", "a", "b"]  # an array would drop the NUL
    assert cluster_codes(few, 4).tolist() == [2, 1, 0, 2]
