"""A mean with its uncertainty: standard error, 95% interval, n, and how they were made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

Status = Literal["ok", "empty", "single", "degenerate", "undefined", "incomplete"]
"""Why an uncertainty is missing, where it is.

- ``ok``: value, standard error and interval all stand.
- ``empty``: nothing was measured; there is no value either.
- ``single``: one row or one cluster, from which no spread can be told.
- ``degenerate``: no spread was seen (every row or resample alike), which does not prove that there
  is none; an interval of width zero would say so.
- ``undefined``: the statistic, or one of its resamples, is not a number.
- ``incomplete``: a part that the value is made of has no value or no standard error.
"""

ROUNDING = 1e-12  # spread below this share of the values is what rounding leaves, not spread
Z95 = 1.959963984540054  # the standard normal's 97.5% quantile


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty, its n and its status.

    Attributes:
        value: the point estimate; None where nothing was measured.
        stderr: its standard error, in the value's unit; None where it cannot be told.
        ci95: the two-sided 95% interval; None where it cannot be told.
        n: how many rows went in.
        method: how the interval was made, e.g. ``wilson`` or ``student-t, clustered``.
        clusters: how many clusters the rows fall into; None where rows count as independent.
        status: ``ok``, or why an uncertainty is missing (see `Status`).
    """

    value: float | None
    stderr: float | None
    ci95: Interval | None
    n: int
    method: str
    clusters: int | None = None
    status: Status = "ok"


def estimate_mean(values: ArrayLike, clusters: ArrayLike | None = None) -> Estimate:
    """Return the mean of the population that the rows were drawn from.

    Independent rows: standard error s/sqrt(n) with ddof=1, as lm-eval reports it; Wilson's score
    interval where every value is 0 or 1, Student's t otherwise. With clusters: the clustered
    standard error and t with G-1 degrees of freedom (Miller 2024, arXiv 2411.00640), cut to [0, 1]
    for 0/1 data.

    Args:
        values: [n] finite numbers; booleans count as 0/1.
        clusters: [n] labels of any sortable type; rows with the same label are not independent.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    rows = finite_rows(values)
    return _estimate_mean(rows, clusters, is_binary(rows))


def estimate_mean_by_t(values: ArrayLike, clusters: ArrayLike | None = None) -> Estimate:
    """Return the mean as `estimate_mean` does, with Student's interval also for 0/1 values.

    For values that are no outcomes, such as differences of pairs, even if all happen to be 0 or 1.
    """
    return _estimate_mean(finite_rows(values), clusters, binary=False)


def wilson_interval(successes: float, n: float) -> Interval:
    """Return Wilson's (1927) 95% score interval for a binomial share.

    Args:
        successes: how many of n; both may be fractional (an effective sample size).
        n: above 0.
    """
    share = successes / n
    shrink = 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / shrink
    half = Z95 / shrink * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    # The exact bounds at 0 and n successes are 0 and 1; rounding must not cross them.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def clopper_pearson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval for a binomial share (Clopper and Pearson 1934).

    It covers at least as often as it says, whatever the share; Wilson's is shorter and covers so
    only on average. Of no trials it is (0, 1): nothing is known.

    Args:
        successes: how many of n.
        n: independent trials, 0 or more.
        confidence: between 0 and 1.

    Raises:
        ValueError: successes are not within 0..n, or the confidence is not within (0, 1).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 to {n} successes, got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, n - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def t_interval(value: float, stderr: float, df: float) -> Interval:
    """Return Student's 95% interval, value +- t(.975, df) * stderr."""
    from scipy.special import stdtrit  # scipy.stats would cost a second of start-up

    half = float(stdtrit(df, 0.975)) * stderr
    return value - half, value + half


def clustered_stderr(values: ArrayLike, clusters: ArrayLike) -> float | None:
    """Return sqrt(G/(G-1) * sum_g e_g^2) / N, where e_g is the sum of cluster g's residuals.

    Miller 2024 (arXiv 2411.00640) with the G/(G-1) correction for few clusters, as a regression on
    a constant with ``cov_type="cluster"`` in statsmodels. None for fewer than two clusters.
    """
    rows = finite_rows(values)
    return _clustered_stderr(rows, cluster_codes(clusters, len(rows)))


def cluster_codes(clusters: ArrayLike, n: int) -> NDArray[np.intp]:
    """Return [n] integers 0..G-1 in place of cluster labels, in the labels' order.

    Raises:
        ValueError: there are not n labels.
    """
    if isinstance(clusters, list) and len(clusters) == n and n and isinstance(clusters[0], str):
        # An array of texts has room for the longest n times, and a label may be a whole passage.
        place = {label: code for code, label in enumerate(sorted(set(clusters)))}
        return np.fromiter((place[label] for label in clusters), np.intp, n)
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"expected {n} cluster labels, got an array of shape {labels.shape}")
    codes: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    return codes


def finite_rows(values: ArrayLike) -> Floats:
    """Return the values as [n] floats.

    Raises:
        ValueError: there is more than one dimension, or a value is not finite.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1:
        raise ValueError(f"expected one dimension, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("values must be finite: leave unscored rows out before estimating")
    return rows


def is_binary(rows: Floats) -> bool:
    """Return whether every value is 0 or 1."""
    return bool(((rows == 0) | (rows == 1)).all())


def _estimate_mean(rows: Floats, clusters: ArrayLike | None, binary: bool) -> Estimate:
    if clusters is None:
        return _mean_of_independent(rows, binary)
    return _mean_of_clustered(rows, cluster_codes(clusters, len(rows)), binary)


def _mean_of_independent(rows: Floats, binary: bool) -> Estimate:
    n = len(rows)
    if n == 0:
        return Estimate(None, None, None, 0, "none", status="empty")
    value = float(rows.mean())
    stderr = float(rows.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    status: Status = "ok" if n > 1 else "single"
    if binary:
        ci = wilson_interval(float(rows.sum()), n)
        return Estimate(value, stderr, ci, n, "wilson", status=status)
    if stderr is None:
        return Estimate(value, None, None, n, "student-t", status=status)
    if np.ptp(rows) <= ROUNDING * np.abs(rows).max():
        return Estimate(value, 0.0, None, n, "student-t", status="degenerate")
    return Estimate(value, stderr, t_interval(value, stderr, n - 1), n, "student-t")


def _mean_of_clustered(rows: Floats, codes: NDArray[np.intp], binary: bool) -> Estimate:
    n = len(rows)
    groups = int(codes.max()) + 1 if n else 0
    method = "student-t, clustered"
    if n == 0:
        return Estimate(None, None, None, 0, "none", 0, "empty")
    value = float(rows.mean())
    stderr = _clustered_stderr(rows, codes)
    if stderr is None:
        return Estimate(value, None, None, n, method, groups, "single")
    if stderr == 0:
        if not binary:
            return Estimate(value, stderr, None, n, method, groups, "degenerate")
        # All clusters alike: how strongly a cluster's rows hang together cannot be told, so take
        # the worst case, in which a whole cluster is one observation.
        ci = wilson_interval(value * groups, groups)
        return Estimate(value, stderr, ci, n, "wilson on clusters", groups)
    low, high = t_interval(value, stderr, groups - 1)
    if binary:
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(value, stderr, (low, high), n, method, groups)


def _clustered_stderr(rows: Floats, codes: NDArray[np.intp]) -> float | None:
    if len(rows) == 0 or (groups := int(codes.max()) + 1) < 2:
        return None
    residuals = np.bincount(codes, weights=rows - rows.mean(), minlength=groups)
    stderr = float(np.sqrt(groups / (groups - 1) * np.square(residuals).sum())) / len(rows)
    return stderr if stderr > ROUNDING * float(np.abs(rows).max()) else 0.0
