"""Two runs on the same items: the difference of their means, and tests that there is none.

The population of every standard error here is *new items like these* (new clusters, where items
are clustered), answered once by each side. To say that two runs differ on just these items, only
decoding noise counts: see `llmeval.stats.sequential.decoding_stderr`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from llmeval.stats.bounded import collect_totals, mean_interval
from llmeval.stats.intervals import (
    ROUNDING,
    Z95,
    Estimate,
    Floats,
    Interval,
    Status,
    cluster_codes,
    estimate_mean_by_t,
    finite_rows,
    is_binary,
)

FEW_CLUSTERS = 20  # that differ; with fewer, Student's interval misses far too often
EXACT_CLUSTERS = 12  # up to here all 2^G sign flips are enumerated
BATCH = 2_000_000  # binomial draws held at once
BINOMIAL_COST = 8  # signs, that a binomial draw takes the time of


def paired_difference(a: ArrayLike, b: ArrayLike, clusters: ArrayLike | None = None) -> Estimate:
    """Return the mean of b - a over items that both answered.

    Standard error of the mean difference with ddof=1, or clustered, and Student's t with N-1 or
    G-1 degrees of freedom (Miller 2024, arXiv 2411.00640). Where both sides are 0/1 and items are
    independent, the interval is Tango's score interval (1998), which stays honest where few pairs
    or none are discordant; where 0/1 items are clustered and fewer than `FEW_CLUSTERS` clusters
    differ, it is Gaffke's (`llmeval.stats.bounded`), wider and never of width zero. Other scores
    without any spread have no interval (``degenerate``).

    Args:
        a, b: [n] finite scores of the same items, in the same order.
        clusters: [n] labels; items with the same label are not independent.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    first, second = finite_rows(a), finite_rows(b)
    if first.shape != second.shape:
        raise ValueError(f"expected pairs, got {len(first)} and {len(second)} values")
    differences = _round_alike(second - first, first)
    binary = is_binary(first) and is_binary(second)
    if clusters is None:
        return _difference_of_independent(differences, binary)
    return _difference_of_clustered(differences, clusters, binary)


def tango_interval(lost: int, gained: int, n: int) -> Interval:
    """Return Tango's (1998) 95% score interval for (gained - lost) / n of n paired 0/1 outcomes.

    Statistics in Medicine 17, 891-908: the differences d that the score test, whose variance is
    estimated under d, does not reject.
    """
    if not 0 <= lost + gained <= n or min(lost, gained) < 0 or n < 1:
        raise ValueError(f"{lost} lost and {gained} gained do not fit {n} pairs")
    return -_tango_upper(gained, lost, n), _tango_upper(lost, gained, n)


def mcnemar_exact(lost: int, gained: int) -> float | None:
    """Return the two-sided p-value of McNemar's exact test that items are lost as often as gained.

    Twice the smaller binomial(lost + gained, 1/2) tail, at most 1 (McNemar 1947). For independent
    items; where they are clustered, use `permutation_test`. None where no pair is discordant.

    Args:
        lost: items that only the first side got right.
        gained: items that only the second side got right.
    """
    if min(lost, gained) < 0:
        raise ValueError(f"counts cannot be negative: {lost} lost, {gained} gained")
    if lost + gained == 0:
        return None
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


def permutation_test(
    differences: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> float | None:
    """Return the two-sided p-value of the hypothesis that differences are symmetric about 0.

    The signs of whole clusters are flipped (Fisher's randomization test for pairs). With up to
    `EXACT_CLUSTERS` clusters that differ at all, every assignment of signs is counted; with more,
    `resamples` random ones, and the p-value is (hits + 1) / (resamples + 1), which is never 0
    (Phipson and Smyth 2010). None where there is one cluster or none, or none differs.

    Args:
        differences: [n] finite differences of pairs.
        clusters: [n] labels; without them every item stands alone.
        resamples: random assignments of signs.
        seed: the result depends on it and on the data, and on nothing else.

    Raises:
        ValueError: a value is not finite, the lengths differ, or resamples is below 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    rows = finite_rows(differences)
    sums = rows
    if clusters is not None:
        codes = cluster_codes(clusters, len(rows))
        sums = np.bincount(codes, weights=rows).astype(np.float64)
    moved = np.abs(sums[sums != 0])
    if len(sums) < 2 or len(moved) == 0:
        return None
    # Sums in another order differ in the last digits; a tie must still count as a tie.
    reached = abs(float(sums.sum())) - 1e-9 * float(moved.sum())
    if len(moved) <= EXACT_CLUSTERS:
        return float(np.mean(np.abs(_all_signs(len(moved)) @ moved) >= reached))
    drawn = sum_with_random_signs(moved[:, None], resamples, np.random.default_rng(seed))
    hits = int(np.sum(np.abs(drawn) >= reached))
    return (hits + 1) / (resamples + 1)


def _all_signs(units: int) -> Floats:
    """[2^units, units] of +1 and -1."""
    bits = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    return (bits * 2.0 - 1.0).astype(np.float64)


def sum_with_random_signs(rows: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return [resamples, d] sums of [units, d] rows, each taken with a random sign.

    Of rows that are alike, how many are taken with a plus is binomial. Where few are, a random byte
    picks the sum of eight rows from a table of all their signs: an eighth of the random numbers,
    and of the additions.
    """
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    sums = np.zeros((resamples, rows.shape[1]))
    if len(kinds) * BINOMIAL_COST <= len(rows):
        batch = max(1, BATCH // len(kinds))
        for start in range(0, resamples, batch):
            part = sums[start : start + batch]
            part += (2 * rng.binomial(counts, 0.5, (len(part), len(kinds))) - counts) @ kinds
        return sums
    signs = _all_signs(8)
    for start in range(0, len(rows), 8):
        eight = rows[start : start + 8]
        sums += (signs[:, : len(eight)] @ eight)[rng.integers(0, 256, resamples, dtype=np.uint8)]
    return sums


def _round_alike(differences: Floats, first: Floats) -> Floats:
    """Make differences equal that differ only by rounding: .3 - .2 and .2 - .1 show no spread."""
    if len(differences) == 0:
        return differences
    noise = ROUNDING * float(np.abs(first).max())
    alike = np.abs(differences - differences[0]) <= noise
    return np.where(alike, differences[0], differences)


def _difference_of_independent(differences: Floats, binary: bool) -> Estimate:
    n = len(differences)
    if not binary or n == 0:
        return estimate_mean_by_t(differences)
    lost, gained = int(np.sum(differences < 0)), int(np.sum(differences > 0))
    stderr = float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    interval = tango_interval(lost, gained, n)
    status: Status = "ok" if n > 1 else "single"
    return Estimate((gained - lost) / n, stderr, interval, n, "tango", status=status)


def _difference_of_clustered(differences: Floats, clusters: ArrayLike, binary: bool) -> Estimate:
    estimate = estimate_mean_by_t(differences, clusters)
    if not binary or estimate.stderr is None:
        return estimate
    totals = collect_totals(differences, clusters)
    if estimate.stderr > 0 and totals.counts @ (totals.sums != 0) >= FEW_CLUSTERS:
        return estimate
    interval = mean_interval(totals, (-1.0, 1.0))
    return replace(estimate, ci95=interval, method="gaffke, clustered", status="ok")


def _tango_upper(lost: int, gained: int, n: int) -> float:
    """Return the largest d with (gained - lost)/n at most Z95 standard errors below it."""
    difference = (gained - lost) / n
    if gained == n:
        return 1.0
    low, high = difference, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if tango_statistic(lost, gained, n, middle) < -Z95:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def tango_statistic(lost: int, gained: int, n: int, difference: float) -> float:
    """Return the score statistic of H0: P(gained) - P(lost) = difference, standard normal there."""
    # The likelihood of the two discordant shares under H0 is largest at the root of a quadratic.
    linear = (2 * n - gained + lost) * difference - lost - gained
    root = math.sqrt(max(0.0, linear**2 + 8 * n * lost * difference * (1 - difference)))
    share_lost = (root - linear) / (4 * n)
    variance = n * (2 * share_lost + difference * (1 - difference))
    score = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if score == 0 else math.copysign(math.inf, score)
    return score / math.sqrt(variance)
