"""Means whose rows do not all count alike: by weight, by stratum, and of parts with intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from llmeval.stats.intervals import (
    ROUNDING,
    Z95,
    Estimate,
    Status,
    cluster_codes,
    estimate_mean_by_t,
    finite_rows,
    t_interval,
)


def weighted_mean(
    values: ArrayLike, weights: ArrayLike, clusters: ArrayLike | None = None
) -> Estimate:
    """Return sum w x / sum w of the population that the rows were drawn from with their weights.

    Standard error by linearization: sqrt(G/(G-1) sum_g e_g^2) / sum w, where e_g sums w (x - mean)
    over cluster g (Sarndal, Swensson and Wretman 1992, section 5.7); Student's t with G-1 degrees
    of freedom. A row without clusters is its own. Rows of weight 0 are no rows.

    Args:
        values: [n] finite numbers.
        weights: [n] finite weights, none below 0, in any unit.
        clusters: [n] labels; rows with the same label are not independent.

    Raises:
        ValueError: a number is not finite, a weight is negative, or the lengths differ.
    """
    rows, loads = finite_rows(values), finite_rows(weights)
    if rows.shape != loads.shape:
        raise ValueError(f"expected a weight a value, got {len(loads)} for {len(rows)}")
    if (loads < 0).any():
        raise ValueError("a weight cannot be negative")
    codes = np.arange(len(rows)) if clusters is None else cluster_codes(clusters, len(rows))
    codes = codes[loads > 0]
    rows, loads = rows[loads > 0], loads[loads > 0]
    units = len(np.unique(codes))
    method = "weighted, student-t" + ("" if clusters is None else ", clustered")
    groups = None if clusters is None else units
    if units == 0:
        return Estimate(None, None, None, 0, method, groups, "empty")
    total = float(loads.sum())
    value = float(loads @ rows) / total
    if units == 1:
        return Estimate(value, None, None, len(rows), method, groups, "single")
    sums = np.bincount(codes, weights=loads * (rows - value))
    stderr = math.sqrt(units / (units - 1) * float(sums @ sums)) / total
    if stderr <= ROUNDING * float(np.abs(rows).max()):
        return Estimate(value, 0.0, None, len(rows), method, groups, "degenerate")
    interval = t_interval(value, stderr, units - 1)
    return Estimate(value, stderr, interval, len(rows), method, groups)


def stratified_mean(
    values: ArrayLike,
    strata: Sequence[Hashable] | ArrayLike,
    shares: Mapping[Hashable, float],
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Return sum_h share_h * mean_h: the mean of a population in which stratum h has share_h.

    Standard error sqrt(sum share_h^2 se_h^2), Student's t with Satterthwaite's degrees of freedom
    (Cochran 1977, sections 5.3 and 5.4). For test sets that hold strata in other proportions than
    the population does.

    Args:
        values: [n] finite numbers.
        strata: [n] labels.
        shares: each stratum's share of the population, in any unit, above 0. A stratum without
            rows leaves the mean without a value (``incomplete``); one with a single row or cluster
            leaves it without an error.
        clusters: [n] labels, each within one stratum.

    Raises:
        ValueError: a value is not finite, lengths differ, a share is not above 0, a row's stratum
            has none, or a cluster lies in two strata.
    """
    rows, labels = finite_rows(values), list(np.asarray(strata).tolist())
    if len(labels) != len(rows):
        raise ValueError(f"expected {len(rows)} strata labels, got {len(labels)}")
    _check_shares(labels, shares)
    codes = None if clusters is None else cluster_codes(clusters, len(rows))
    if codes is not None:
        _check_nesting(labels, codes.tolist())
    places: dict[Hashable, list[int]] = {stratum: [] for stratum in shares}
    for place, label in enumerate(labels):
        places[label].append(place)
    total = math.fsum(shares.values())
    parts = []
    for stratum, share in shares.items():
        own = None if codes is None else codes[places[stratum]]
        parts.append((share / total, estimate_mean_by_t(rows[places[stratum]], own)))
    return _combine(parts, len(rows), clusters is not None)


def average_intervals(parts: Sequence[Estimate]) -> Estimate:
    """Return the plain mean of independent estimates, with the uncertainty that each one states.

    The interval combines the parts' own (method of variance estimates recovery, Zou and Donner
    2008, Statistics in Medicine 27, 1693-1702): value - sqrt(sum (v_i - low_i)^2) / k below, and so
    above. So an interval that is not symmetric stays so, and a part whose rows are all alike counts
    with its interval, not with a spread of 0. Its standard error is half of that interval by the
    normal quantile then. A part without an interval leaves the mean without one; so does one
    without either for the standard error.

    Args:
        parts: with their intervals at 95%; those of one kind are enough.
    """
    method, k = "mean of intervals", len(parts)
    total = sum(part.n for part in parts)
    values = [part.value for part in parts if part.value is not None]
    if len(values) < k or not values:
        status: Status = "incomplete" if parts else "empty"
        return Estimate(None, None, None, total, method, status=status)
    value = math.fsum(values) / k
    errors = [error for part in parts if (error := _own_stderr(part)) is not None]
    stderr = math.hypot(*errors) / k if len(errors) == k else None
    bounds = [part.ci95 for part in parts if part.ci95 is not None]
    if len(bounds) < k:
        return Estimate(value, stderr, None, total, method, status="incomplete")
    below = math.hypot(*(v - low for v, (low, _) in zip(values, bounds, strict=True))) / k
    above = math.hypot(*(high - v for v, (_, high) in zip(values, bounds, strict=True))) / k
    return Estimate(value, stderr, (value - below, value + above), total, method)


def _own_stderr(part: Estimate) -> float | None:
    """A spread of 0 among few rows does not prove that there is none; the interval says more."""
    if part.stderr:
        return part.stderr
    return None if part.ci95 is None else (part.ci95[1] - part.ci95[0]) / (2 * Z95)


def _combine(parts: Sequence[tuple[float, Estimate]], n: int, clustered: bool) -> Estimate:
    method = "stratified, student-t" + (", clustered" if clustered else "")
    groups = sum(part.clusters or 0 for _, part in parts) if clustered else None
    if n == 0:
        return Estimate(None, None, None, 0, method, groups, "empty")
    value = 0.0
    for share, part in parts:
        if part.value is None:
            return Estimate(None, None, None, n, method, groups, "incomplete")
        value += share * part.value
    errors = []
    for share, part in parts:
        if part.stderr is None:
            return Estimate(value, None, None, n, method, groups, "incomplete")
        units = part.n if part.clusters is None else part.clusters
        errors.append((share * part.stderr, units))
    largest = max(error for error, _ in errors)
    if largest == 0:
        return Estimate(value, 0.0, None, n, method, groups, "degenerate")
    # Only ratios matter to the degrees of freedom, and fourth powers of what is tiny vanish.
    variances = [((error / largest) ** 2, units) for error, units in errors]
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / (units - 1) for variance, units in variances)
    stderr = largest * math.sqrt(total)
    return Estimate(value, stderr, t_interval(value, stderr, freedom), n, method, groups)


def _check_shares(labels: Sequence[Hashable], shares: Mapping[Hashable, float]) -> None:
    for stratum, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise ValueError(f"the share of stratum {stratum!r} must be above 0, got {share}")
    for label in labels:
        if label not in shares:
            raise ValueError(f"stratum {label!r} has no share")


def _check_nesting(labels: Sequence[Hashable], clusters: Sequence[Hashable]) -> None:
    home: dict[Hashable, Hashable] = {}
    for label, cluster in zip(labels, clusters, strict=True):
        if home.setdefault(cluster, label) != label:
            raise ValueError(f"a cluster lies in two strata: {home[cluster]!r} and {label!r}")
