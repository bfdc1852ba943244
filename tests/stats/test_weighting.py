"""Weighted and stratified means: against statsmodels, plain means and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmeval.stats import estimate_mean_by_t, stratified_mean, weighted_mean

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
