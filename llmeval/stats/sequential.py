"""Night after night on the same items: evidence of a drop that may be looked at every morning.

The population is *these items, answered again*, against a pinned baseline. Item i has a fixed
baseline score b_i and tonight's score x_i, whose decoding noise is independent of other items and
nights. H0 says that the model is not worse than tolerated: mean E[x_i] >= mean b_i - tolerance.

For a bet lambda that was fixed beforehand, prod_i (1 - lambda (x_i - b_i + tolerance)) is an
e-value: factors are positive, independent and have expectations whose mean is at most 1 under H0,
so by the inequality of the means the product of the expectations is at most 1. Nights multiply,
and a uniform mixture over a fixed grid of bets is an e-value again (Waudby-Smith and Ramdas,
arXiv 2010.09686). By Ville's inequality it ever reaches 1/alpha with probability at most alpha,
however many nights there are and whenever one stops.

What this does not cover: the noise of the pinned baseline itself. A lucky baseline run shifts the
null for ever, and the process will find that the model is "worse". `decoding_stderr` says how large
that shift can be; pin the mean of several repeats, or choose a tolerance well above it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from llmeval.stats.intervals import Estimate, Floats, Interval, finite_rows, t_interval

STAKES = np.geomspace(0.005, 0.95, 12)
"""The fixed grid of bets, as shares of the largest bet that keeps every factor above 0."""

LARGEST = 1e300  # e-values beyond this are reported as this


def night_evidence(
    differences: ArrayLike, tolerance: float, bounds: Interval = (-1.0, 1.0)
) -> Floats:
    """Return [bets] log e-values of one night against "not worse than tolerated".

    Add them to the running state, a vector of as many zeros at the start, and hand that to
    `combine_evidence`.

    Args:
        differences: [n] tonight's score less the pinned baseline's, of each item; positive is
            better.
        tolerance: how much worse is still tolerated, in the metric's unit, above 0.
        bounds: the least and greatest difference possible, (-1, 1) for a metric in [0, 1].

    Raises:
        ValueError: there are no items, a difference is not finite or outside the bounds, the
            tolerance is not above 0, or the bounds are not finite.
    """
    rows = bounded_rows(differences, tolerance, bounds)
    if len(rows) == 0:
        raise ValueError("a night without items is no evidence: do not count it")
    largest = 1 / (bounds[1] + tolerance)
    values, counts = np.unique(rows, return_counts=True)
    factors = np.log1p(-np.outer(STAKES * largest, values + tolerance))
    evidence: Floats = factors @ counts
    return evidence


def combine_evidence(log_evidence: ArrayLike) -> float:
    """Return the e-value of the uniform mixture over bets: alarm where it reaches 1/alpha.

    Args:
        log_evidence: [bets] log e-values of one night, or summed over nights.

    Raises:
        ValueError: a value is not finite, or there are none.
    """
    logs = finite_rows(log_evidence)
    if len(logs) == 0:
        raise ValueError("no evidence to combine")
    top = float(logs.max())
    log_mean = top + math.log(float(np.exp(logs - top).mean()))
    return math.exp(min(log_mean, math.log(LARGEST)))


def decoding_stderr(repeats: ArrayLike, *, averaged: int = 1) -> Estimate:
    """Return the mean score over these very items, with the standard error that decoding causes.

    sqrt(sum_i s_i^2 / averaged) / n, where s_i^2 is the variance (ddof=1) within item i over its
    repeats. No sampling of items is in it: it is how far a run over the same items moves by itself.

    Args:
        repeats: [n, r] scores of n items, each answered r >= 2 times independently.
        averaged: how many answers an item's score is the mean of: 1 for a single run such as a
            pinned baseline, r for the mean of all repeats.

    Raises:
        ValueError: a score is not finite, the shape is not [n, r], or averaged is below 1.
    """
    table = np.asarray(repeats, dtype=np.float64)
    if table.ndim != 2 or averaged < 1:
        raise ValueError(f"expected [items, repeats] and averaged >= 1, got {table.shape}")
    finite_rows(table.ravel())
    n, r = table.shape
    if n == 0 or r == 0:
        return Estimate(None, None, None, 0, "decoding", status="empty")
    value = float(table.mean())
    if r == 1:
        return Estimate(value, None, None, n, "decoding", status="single")
    stderr = math.sqrt(float(table.var(axis=1, ddof=1).sum()) / averaged) / n
    if stderr == 0:
        return Estimate(value, 0.0, None, n, "decoding", status="degenerate")
    return Estimate(value, stderr, t_interval(value, stderr, n * (r - 1)), n, "decoding")


def bounded_rows(differences: ArrayLike, tolerance: float, bounds: Interval) -> Floats:
    """Return the differences as floats, after checking them, the tolerance and the bounds.

    Raises:
        ValueError: as in `night_evidence`.
    """
    rows = finite_rows(differences)
    low, high = bounds
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be above 0, got {tolerance}")
    if not (math.isfinite(low) and math.isfinite(high) and low < 0 < high):
        raise ValueError(f"bounds must be finite and enclose 0, got {bounds}")
    if len(rows) and (rows.min() < low - 1e-9 or rows.max() > high + 1e-9):
        raise ValueError(f"differences from {rows.min()} to {rows.max()} exceed bounds {bounds}")
    return np.clip(rows, low, high)
