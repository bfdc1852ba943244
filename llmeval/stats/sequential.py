"""Night after night on the same items: evidence of a drop that may be looked at every morning.

The population is *these items, answered again*, against a pinned baseline. Item i has a fixed
baseline score b_i and tonight's score x_i, whose decoding noise is independent of other items and
nights. H0 says that the model is not worse than tolerated: mean E[x_i] >= mean b_i - tolerance.

For a bet lambda that was fixed beforehand, prod_i (1 - lambda (x_i - b_i + tolerance)) is an
e-value: factors are positive, independent and have expectations whose mean is at most 1 under H0,
so by the inequality of the means the product of the expectations is at most 1. Nights multiply,
and a uniform mixture over a fixed grid of bets is an e-value again (Waudby-Smith and Ramdas,
arXiv 2010.09686), and so is one over the night on which betting begins (`combine_nights`). By
Ville's inequality it ever reaches 1/alpha with probability at most alpha, however many nights there
are and whenever one stops.

What this does not cover: the noise of the pinned baseline itself. A lucky baseline run shifts the
null for ever, and the process will find that the model is "worse". `decoding_stderr` says how large
that shift can be; pin the mean of several repeats, or choose a tolerance well above it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from llmeval.stats.bounded import check_bounds
from llmeval.stats.intervals import Estimate, Floats, Interval, finite_rows, t_interval

STAKES = np.geomspace(0.005, 0.95, 12)
"""The fixed grid of bets, as shares of the largest bet that keeps every factor above 0."""

LARGEST = 1e300  # e-values beyond this are reported as this


def night_evidence(
    differences: ArrayLike, tolerance: float, bounds: Interval = (-1.0, 1.0)
) -> Floats:
    """Return [bets] log e-values of one night against "not worse than tolerated".

    Keep them night by night and hand all to `combine_nights`; of one night alone,
    `combine_evidence` tells the e-value.

    Args:
        differences: [n] tonight's score less the pinned baseline's, of each item; positive is
            better.
        tolerance: how much worse is still tolerated, in the metric's unit, above 0.
        bounds: the least and greatest difference possible, (-1, 1) for a metric in [0, 1].

    Raises:
        ValueError: there are no items, a difference is not finite or outside the bounds, the
            tolerance is not above 0, or the bounds are not finite.
    """
    rows = finite_rows(differences)
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be above 0, got {tolerance}")
    check_bounds(rows, bounds)
    if len(rows) == 0:
        raise ValueError("a night without items is no evidence: do not count it")
    largest = 1 / (bounds[1] + tolerance)
    values, counts = np.unique(np.minimum(rows, bounds[1]), return_counts=True)
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


def combine_nights(log_evidence: ArrayLike) -> float:
    """Return the e-value of all nights so far against "never worse than tolerated, on any night".

    A product over all nights forgets nothing: after a hundred good ones, which count against a
    drop, a real one would take weeks to be seen. So the bets are mixed over the night on which they
    begin, too: begun with night s = 1, 2, ... they have the weight 1 / (s (s + 1)), and what has
    not begun yet counts 1. The weights sum to 1, so this is an e-process again, and reaches 1/alpha
    ever with probability at most alpha. (Sums over beginnings are the e-detectors of Shin, Ramdas
    and Rinaldo, arXiv 2203.03532, which bound how often there are false alarms, not whether.)

    Args:
        log_evidence: [nights, bets] of `night_evidence`, oldest first; [0, bets] gives 1.

    Raises:
        ValueError: a value is not finite, or the shape is not [nights, bets].
    """
    table = np.asarray(log_evidence, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected [nights, bets], got shape {table.shape}")
    finite_rows(table.ravel())
    nights = len(table)
    since = np.cumsum(table[::-1], axis=0)[::-1]  # [nights, bets]: of each night and all after it
    begun = sum(
        combine_evidence(evidence) / (first * (first + 1))
        for first, evidence in enumerate(since, start=1)
    )
    return min(begun + 1 / (nights + 1), LARGEST)


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
