"""The bootstrap: against scipy.stats.bootstrap, scikit-learn, sacrebleu and exact results."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from llmeval.stats.bootstrap import bootstrap, bootstrap_sums
from llmeval.stats.corpus import (
    bootstrap_f1,
    bootstrap_mcc,
    bootstrap_median,
    bootstrap_perplexity,
)
from llmeval.stats.intervals import Floats

RNG = np.random.default_rng(7)
SKEWED = RNG.exponential(2.0, 60)


def weighted_mean(counts: Floats, values: Floats) -> Floats:
    means: Floats = counts @ values / counts.sum(axis=1)
    return means


@pytest.mark.parametrize("ci", ["percentile", "bca"])
def test_intervals_are_scipys(ci: str) -> None:
    ours = bootstrap(weighted_mean, [SKEWED], resamples=60_000, seed=1, ci=ci)  # type: ignore[arg-type]
    theirs = stats.bootstrap(
        (SKEWED,), np.mean, n_resamples=60_000, method=ci, rng=np.random.default_rng(2), batch=5000
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.ci95 == pytest.approx(tuple(theirs.confidence_interval), abs=0.02 * width)
    assert ours.stderr == pytest.approx(theirs.standard_error, rel=0.02)


@pytest.mark.parametrize("ci", ["percentile", "bca"])
def test_sums_and_counts_give_the_same_answer(ci: str) -> None:
    by_counts = bootstrap(weighted_mean, [SKEWED], resamples=500, seed=3, ci=ci)  # type: ignore[arg-type]
    by_sums = bootstrap_sums(
        lambda sums: sums[:, 0] / sums[:, 1],
        np.column_stack([np.sort(SKEWED), np.ones(60)]),
        resamples=20_000,
        seed=3,
        ci=ci,  # type: ignore[arg-type]
    )
    assert by_sums.value == pytest.approx(by_counts.value)
    assert by_sums.stderr == pytest.approx(by_counts.stderr, rel=0.15)
    assert by_sums.ci95 == pytest.approx(by_counts.ci95, rel=0.1)


def test_the_seed_decides_and_nothing_else() -> None:
    first = bootstrap_mcc([0, 1, 1, 0, 1] * 9, [0, 1, 0, 0, 1] * 9, seed=5, resamples=300)
    np.random.default_rng().random()
    assert first == bootstrap_mcc([0, 1, 1, 0, 1] * 9, [0, 1, 0, 0, 1] * 9, seed=5, resamples=300)
    assert first != bootstrap_mcc([0, 1, 1, 0, 1] * 9, [0, 1, 0, 0, 1] * 9, seed=6, resamples=300)


def test_resampling_cells_is_resampling_rows() -> None:
    # 20 rows in 2 cells are drawn by multinomial; the share of ones is Binomial(20, .3) / 20.
    rows = np.array([[1.0]] * 6 + [[0.0]] * 14)
    estimate = bootstrap_sums(lambda sums: sums[:, 0] / 20, rows, resamples=100_000, seed=0)
    assert estimate.stderr == pytest.approx(np.sqrt(0.3 * 0.7 / 20), rel=0.01)
    assert estimate.ci95 == tuple(stats.binom.ppf([0.025, 0.975], 20, 0.3) / 20)


def test_whole_clusters_are_resampled() -> None:
    # Rows of a cluster are copies: the error is that of 12 observations however many the copies.
    values = RNG.normal(size=12)
    expected = values.std() / np.sqrt(12)
    rows = np.repeat(values, 5)
    labels = np.repeat([f"doc{i}" for i in range(12)], 5)
    for estimate in (
        bootstrap(weighted_mean, [rows], clusters=labels, resamples=20_000),
        bootstrap_sums(
            lambda sums: sums[:, 0] / sums[:, 1],
            np.column_stack([rows, np.ones(60)]),
            clusters=labels,
            resamples=20_000,
        ),
    ):
        assert estimate.stderr == pytest.approx(expected, rel=0.03)
        assert (estimate.n, estimate.clusters) == (60, 12)


def test_what_cannot_be_told_is_not_claimed() -> None:
    assert bootstrap_f1([], []).status == "empty"
    assert bootstrap_f1([1], [1]).status == "single"
    assert bootstrap_f1([1, 0], [1, 1], clusters=["a", "a"]).status == "single"
    perfect = bootstrap_f1([1, 0] * 20, [1, 0] * 20)
    assert (perfect.value, perfect.stderr, perfect.ci95) == (1.0, None, None)
    assert perfect.status == "degenerate"
    assert bootstrap_perplexity([-1.0, -2.0], [0, 0]).status == "undefined"


labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=40)
@given(labels)
def test_point_values_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    golds, preds = zip(*pairs, strict=True)
    mcc = bootstrap_mcc(golds, preds, resamples=2)
    assert mcc.value == pytest.approx(metrics.matthews_corrcoef(golds, preds), abs=1e-12)
    macro = bootstrap_f1(golds, preds, average="macro", resamples=2)
    expected = metrics.f1_score(golds, preds, average="macro", zero_division=0.0)
    assert macro.value == pytest.approx(expected, abs=1e-12)
    binary = bootstrap_f1(golds, preds, positive=1, resamples=2)
    is_one = [g == 1 for g in golds], [p == 1 for p in preds]
    assert binary.value == pytest.approx(metrics.f1_score(*is_one, zero_division=0.0), abs=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (bootstrap_mcc, metrics.matthews_corrcoef),
        (bootstrap_f1, metrics.f1_score),
        (
            lambda g, p, **kw: bootstrap_f1(g, p, average="macro", **kw),
            lambda g, p: metrics.f1_score(g, p, average="macro"),
        ),
    ],
)
def test_spread_is_that_of_resampled_rows(ours, theirs) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(11)
    golds = rng.integers(0, 2, 80)
    preds = np.where(rng.random(80) < 0.75, golds, 1 - golds)
    draws = rng.integers(0, 80, size=(600, 80))
    replicates = [theirs(golds[i], preds[i]) for i in draws]
    estimate = ours(golds, preds, resamples=20_000)
    assert estimate.value == pytest.approx(theirs(golds, preds))
    assert estimate.stderr == pytest.approx(np.std(replicates), rel=0.12)
    assert estimate.ci95 == pytest.approx(tuple(np.quantile(replicates, [0.025, 0.975])), abs=0.05)


def test_perplexities_are_lm_evals() -> None:
    from lm_eval.api.metrics import bits_per_byte, perplexity, weighted_perplexity

    lls, sizes = RNG.normal(-60, 9, 40), RNG.integers(10, 40, 40)
    items = list(zip(lls, sizes, strict=True))
    assert bootstrap_perplexity(lls / 50).value == pytest.approx(perplexity(list(lls / 50)))
    assert bootstrap_perplexity(lls, sizes).value == pytest.approx(weighted_perplexity(items))
    bits = bootstrap_perplexity(lls, sizes, unit="bits", ci="bca")
    assert bits.value == pytest.approx(bits_per_byte(items))
    assert bits.value is not None
    # The delta method's standard error of a ratio of means.
    residual = -lls / np.log(2) - bits.value * sizes
    expected = residual.std() / np.sqrt(40) / sizes.mean()
    assert bits.stderr == pytest.approx(expected, rel=0.05)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30))
def test_median_is_lm_evals(values: list[int]) -> None:
    from lm_eval.api.metrics import median

    assert bootstrap_median(values, resamples=20).value == median(values)


def test_median_interval_is_the_exact_bootstraps() -> None:
    # The resampled upper median of 1..n is at most j with probability P(Bin(n, j/n) > n // 2).
    n = 51
    estimate = bootstrap_median(np.arange(1, n + 1), resamples=40_000)
    at_most = stats.binom.sf(n // 2, n, np.arange(n + 1) / n)
    exact = np.searchsorted(at_most, 0.025), np.searchsorted(at_most, 0.975)
    assert estimate.ci95 == pytest.approx(exact, abs=1)


def test_large_inputs_stay_fast_and_small() -> None:
    rng = np.random.default_rng(0)
    golds, preds = rng.integers(0, 2, (2, 100_000))
    rows = np.column_stack([rng.normal(size=20_000), np.ones(20_000)])
    tracemalloc.start()
    start = time.process_time()
    bootstrap_mcc(golds, preds, resamples=100_000)
    bootstrap_sums(lambda sums: sums[:, 0] / sums[:, 1], rows, resamples=500)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 200e6
