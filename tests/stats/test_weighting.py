"""Weighted and stratified means: against statsmodels, plain means and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from llmeval.stats import (
    Estimate,
    average_intervals,
    estimate_mean,
    estimate_mean_by_t,
    stratified_mean,
    weighted_mean,
)

rows = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=2, max_size=30).filter(
    lambda pairs: np.ptp([value for value, _ in pairs]) > 1e-3
)


@given(rows)
def test_weighted_mean_is_a_weighted_regression_on_a_constant(
    pairs: list[tuple[float, float]],
) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    fit = sm.WLS(values, np.ones(len(values)), weights=weights).fit(cov_type="HC1", use_t=True)
    estimate = weighted_mean(values, weights)
    assert estimate.value == pytest.approx(fit.params[0])
    assert estimate.stderr == pytest.approx(fit.bse[0], rel=1e-6)
    assert estimate.ci95 == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-6, abs=1e-9)


def test_clustered_weighted_error_is_statsmodels() -> None:
    rng = np.random.default_rng(0)
    values, weights, clusters = rng.random(90), rng.random(90), rng.integers(0, 15, 90)
    fit = sm.WLS(values, np.ones(90), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    estimate = weighted_mean(values, weights, clusters)
    assert estimate.stderr == pytest.approx(fit.bse[0], rel=1e-9)
    assert estimate.clusters == 15


@given(rows, st.floats(0.01, 100))
def test_unit_of_the_weights_does_not_matter(pairs: list[tuple[float, float]], unit: float) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    one, other = weighted_mean(values, weights), weighted_mean(values, weights * unit)
    assert one.value == pytest.approx(other.value)
    assert one.stderr == pytest.approx(other.stderr)
    plain, equal = estimate_mean_by_t(values), weighted_mean(values, np.full(len(values), unit))
    assert equal.stderr == pytest.approx(plain.stderr)
    assert equal.ci95 == pytest.approx(plain.ci95)


def test_rows_of_no_weight_are_no_rows() -> None:
    with_zeros = weighted_mean([1, 2, 9, 4], [1, 1, 0, 2])
    assert with_zeros == weighted_mean([1, 2, 4], [1, 1, 2])
    assert with_zeros.n == 3


def test_weighted_means_that_cannot_be_told() -> None:
    assert weighted_mean([], []).status == "empty"
    assert weighted_mean([1.0], [0.0]).value is None
    assert weighted_mean([1.0, 2.0], [1, 1], ["a", "a"]).status == "single"
    flat = weighted_mean([0.3, 0.3], [1, 2])
    assert (flat.value, flat.ci95, flat.status) == (0.3, None, "degenerate")
    alike = weighted_mean([0, 1, 1, 0], [1, 1, 1, 1], ["a", "a", "b", "b"])
    assert (alike.value, alike.ci95, alike.status) == (0.5, None, "degenerate")
    for weights in ([1.0], [-1.0, 1.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match=r"weight|finite"):
            weighted_mean([1.0, 2.0], weights)


def test_stratified_mean_by_hand() -> None:
    # Means 2 and 5, variances 1/3 and 2/2 of the means: weights 1/4 and 3/4.
    estimate = stratified_mean([1, 2, 3, 4, 6], ["a", "a", "a", "b", "b"], {"a": 1, "b": 3})
    assert estimate.value == pytest.approx(0.25 * 2 + 0.75 * 5)
    parts = [0.25**2 * 1 / 3, 0.75**2 * 1.0]
    assert estimate.stderr == pytest.approx(math.sqrt(sum(parts)))
    df = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    half = stats.t.ppf(0.975, df) * math.sqrt(sum(parts))
    assert estimate.ci95 == pytest.approx((4.25 - half, 4.25 + half))


def test_one_stratum_is_the_plain_mean() -> None:
    values = np.random.default_rng(1).normal(size=20)
    clusters = np.arange(20) // 2
    for labels in (None, clusters):
        plain, whole = (
            estimate_mean_by_t(values, labels),
            stratified_mean(values, ["x"] * 20, {"x": 7.0}, labels),
        )
        assert (whole.value, whole.stderr) == pytest.approx((plain.value, plain.stderr))
        assert whole.ci95 == pytest.approx(plain.ci95)


def test_interval_covers_the_population_not_the_sample() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        values = np.concatenate([rng.normal(0, 1, 40), rng.normal(3, 2, 12)])
        strata = ["common"] * 40 + ["rare"] * 12
        low, high = stratified_mean(values, strata, {"common": 0.5, "rare": 0.5}).ci95 or (9, 9)
        covered += low <= 1.5 <= high
    assert 0.925 <= covered / 600 <= 0.975


def test_strata_that_leave_a_gap() -> None:
    shares = {"a": 0.5, "b": 0.5}
    assert stratified_mean([], [], shares).status == "empty"
    lacking = stratified_mean([1.0, 2.0], ["a", "a"], shares)
    assert (lacking.value, lacking.status) == (None, "incomplete")
    single = stratified_mean([1.0, 2.0, 4.0], ["a", "a", "b"], shares)
    assert (single.value, single.stderr, single.status) == (2.75, None, "incomplete")
    flat = stratified_mean([1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b"], shares)
    assert (flat.value, flat.ci95, flat.status) == (1.5, None, "degenerate")


def test_strata_that_do_not_fit_are_refused() -> None:
    for strata, shares, clusters in (
        (["a"], {"a": 1.0}, None),
        (["a", "c"], {"a": 1.0}, None),
        (["a", "b"], {"a": 1.0, "b": 0.0}, None),
        (["a", "b"], {"a": 1.0, "b": 1.0}, ["p", "p"]),
    ):
        with pytest.raises(ValueError, match=r"labels|share|two strata"):
            stratified_mean([1.0, 2.0], strata, shares, clusters)


# -- means of intervals ----------------------------------------------------------------------------


def test_square_and_add_is_newcombes_interval_of_a_difference() -> None:
    """Their mean with one side turned around is half of Newcombe's difference (method 10)."""
    one, other = estimate_mean([1] * 56 + [0] * 14), estimate_mean([1] * 48 + [0] * 32)
    assert other.value is not None and other.ci95 is not None
    turned = Estimate(-other.value, other.stderr, (-other.ci95[1], -other.ci95[0]), other.n, "")
    found = average_intervals([one, turned])
    low, high = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    assert found.ci95 == pytest.approx((low / 2, high / 2))
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II, contrast (a): 56/70 - 48/80.
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.stderr == pytest.approx(math.hypot(one.stderr or 9, other.stderr or 9) / 2)


def test_rows_that_are_all_alike_are_uncertain_in_a_mean_too() -> None:
    large, tiny = estimate_mean([1, 0] * 500), estimate_mean([1] * 5)
    assert tiny.stderr == 0 and tiny.ci95 is not None
    found = average_intervals([large, tiny])
    assert found.ci95 is not None and found.stderr is not None
    assert found.ci95[0] < 0.75 - (1 - tiny.ci95[0]) / 2
    assert found.stderr >= (1 - tiny.ci95[0]) / 2 / 1.96 / 2


def test_a_mean_covers_though_some_of_its_parts_are_small_and_easy() -> None:
    """About as often as Wilson's interval of a small part; by standard errors 86 of 100 times."""
    rng = np.random.default_rng(0)
    shares, sizes, covered = (0.6, 0.9, 0.95), (200, 20, 5), 0
    for _ in range(1000):
        parts = [estimate_mean(rng.random(n) < p) for p, n in zip(shares, sizes, strict=True)]
        low, high = average_intervals(parts).ci95 or (9, 9)
        covered += low <= sum(shares) / 3 <= high
    assert covered / 1000 >= 0.92


def test_means_of_intervals_that_cannot_be_told() -> None:
    known, bare = estimate_mean([1, 0, 1]), Estimate(0.5, None, None, 1, "student-t")
    assert average_intervals([]).status == "empty"
    assert average_intervals([known, Estimate(None, None, None, 0, "none")]).value is None
    found = average_intervals([known, bare])
    assert found.value == pytest.approx((2 / 3 + 0.5) / 2)
    assert (found.stderr, found.ci95, found.status) == (None, None, "incomplete")
    alike = Estimate(0.5, 0.0, None, 9, "student-t", status="degenerate")
    assert average_intervals([known, alike]).stderr is None
