"""The mean of a bounded quantity: a one-sided test whose error holds however rare the losses are.

Student's t takes the spread that was seen for the spread that there is. Where one answer in fifty
is lost, a sample often holds no loss or one, and t then finds the run as good as its baseline
several times as often as it may (bench/README.md, "The regression gate"). Gaffke's test adds one
unit at the worst value possible and asks how a random reweighting of the units would come out. For
0/1 outcomes it is the exact binomial (Clopper-Pearson) test; where all G units are equal to c it is
Markov's inequality: with a mean of 0 or less and nothing below w, the chance of that is at most
(w / (w - c))^G.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from llmeval.stats.intervals import Floats, Interval, cluster_codes, finite_rows

Side = Literal["above", "below"]  # of null: where the mean is, if its p-value is small

STEPS = 60  # of Newton's method at most; some ten are usual


@dataclass(frozen=True, slots=True)
class Totals:
    """What a mean over items is made of: independent units, alike ones counted.

    Attributes:
        sums: [m] the sum over a unit's items; a unit is a cluster, or an item that stands alone.
        sizes: [m] how many items it has.
        counts: [m] how many units are so.
    """

    sums: Floats
    sizes: Floats
    counts: Floats

    @property
    def units(self) -> float:
        """How many units there are."""
        return float(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean over items."""
        return float(self.counts @ self.sums) / float(self.counts @ self.sizes)


def collect_totals(values: ArrayLike, clusters: ArrayLike | None = None) -> Totals:
    """Sum the items of each cluster and count units that are alike.

    Args:
        values: [n] finite numbers.
        clusters: [n] labels; without them every item is a unit.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    rows = finite_rows(values)
    pairs = np.column_stack([rows, np.ones(len(rows))])
    if clusters is not None:
        codes = cluster_codes(clusters, len(rows))
        pairs = np.column_stack([np.bincount(codes, rows), np.bincount(codes)])
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    return Totals(distinct[:, 0], distinct[:, 1], counts.astype(np.float64))


def mean_pvalues(totals: Totals, null: float, bounds: Interval) -> tuple[float, float]:
    """Return the p-values of "the mean is at most null" and "the mean is at least null".

    By Gaffke's test, on units. The unit that is added is a whole cluster at a bound, as large as
    the cluster of an item drawn at random (the mean size weighted by size). Where only clusters
    larger than that are ever lost, and as a whole, the test errs more often than its level; adding
    one as large as the largest would hold even then, but find next to nothing where sizes vary.

    Args:
        totals: at least one unit.
        null: between the bounds.
        bounds: the least and greatest value that an item can have.
    """
    return _pvalue(totals, null, bounds, "above"), _pvalue(totals, null, bounds, "below")


def mean_interval(totals: Totals, bounds: Interval) -> Interval:
    """Return the 95% interval of the mean: what neither test of `mean_pvalues` rejects at 2.5%.

    Never of width zero: without any spread it is as wide as the number of units allows.

    Args:
        totals, bounds: as for `mean_pvalues`.
    """
    return mean_bound(totals, bounds, "above", 0.025), mean_bound(totals, bounds, "below", 0.025)


def mean_bound(totals: Totals, bounds: Interval, side: Side, level: float) -> float:
    """Return a one-sided confidence bound of the mean: where the test of `mean_pvalues` turns.

    Args:
        totals, bounds: as for `mean_pvalues`.
        side: ``above`` for the lower bound, ``below`` for the upper one.
        level: of the test, below 1/2.
    """
    from scipy.optimize import brentq

    low, high = bounds
    start = low if side == "above" else high
    end = min(max(totals.mean, low), high)

    def excess(null: float) -> float:
        return _pvalue(totals, null, bounds, side) - level

    # At a bound the test is void; just inside it, p tells on which side of the limit one is.
    inside = start + math.copysign(1e-9 * (high - low), end - start)
    if abs(end - start) <= 1e-9 * (high - low) or excess(inside) >= 0:
        return start
    return float(brentq(excess, inside, end, xtol=1e-10 * (high - low)))


def units_needed(
    totals: Totals, null: float, bounds: Interval, alpha: float, power: float
) -> float | None:
    """Return how many units would tell the mean from null, were they like those that are there.

    The number at which a sample whose mean lies z_power standard errors closer to null is still
    rejected at alpha. None where the mean is null, or no billion units would do.

    Args:
        totals, null, bounds: as for `mean_pvalues`.
        alpha: the one-sided level.
        power: the chance to find it.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    margin = totals.mean - null
    side: Side = "above" if margin > 0 else "below"
    residuals = totals.sums - totals.mean * totals.sizes
    size = float(totals.counts @ totals.sizes) / totals.units
    variance = float(totals.counts @ residuals**2) / totals.units / size**2
    bad_luck = float(ndtri(power)) * math.sqrt(variance) * math.copysign(1.0, margin)

    def excess(log_units: float) -> float:
        units = math.exp(log_units)
        shifted = totals.sums - bad_luck / math.sqrt(units) * totals.sizes
        scaled = Totals(shifted, totals.sizes, totals.counts * units / totals.units)
        return math.log(max(_pvalue(scaled, null, bounds, side), 1e-300) / alpha)

    most, least = math.log(1e9), math.log(2.0)
    at_null = abs(margin) <= 1e-12 * (bounds[1] - bounds[0])  # but for rounding
    if at_null or excess(most) > 0:
        return None
    return math.exp(brentq(excess, least, most, xtol=1e-6)) if excess(least) > 0 else 2.0


def check_bounds(values: Floats, bounds: Interval) -> None:
    """Check that the bounds are finite, in order and kept.

    Raises:
        ValueError: they are not.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite and in order, got {bounds}")
    slack = 1e-9 * (high - low)
    if len(values) and (values.min() < low - slack or values.max() > high + slack):
        raise ValueError(f"values from {values.min()} to {values.max()} exceed bounds {bounds}")


def _pvalue(totals: Totals, null: float, bounds: Interval, side: Side) -> float:
    size = float(totals.counts @ totals.sizes) / totals.units
    units = (totals.sums - null * totals.sizes) / size
    added = float(totals.counts @ totals.sizes**2) / totals.units / size**2
    if side == "above":
        return float(gaffke_pvalue(units, added * (bounds[0] - null), totals.counts))
    return float(gaffke_pvalue(-units, added * (null - bounds[1]), totals.counts))


def gaffke_pvalue(units: Floats, worst: ArrayLike, counts: ArrayLike = 1.0) -> Floats:
    """Return the p-value of H0 "the mean of what the units were drawn from is 0 or less".

    P(sum_i E_i u_i + E_0 worst <= 0) with independent standard exponential E (Gaffke 2005; the same
    bound in Learned-Miller and Thomas 2019, arXiv 1905.06208), by the saddlepoint approximation of
    Lugannani and Rice (1980): p-values below .1 of 0/1 outcomes come out .03% too small to 6% too
    large. That the error never exceeds the level is proved for two-valued units and a conjecture
    for others, to which no counterexample is known.

    Args:
        units: [..., G] independent units, none below `worst`.
        worst: [...] or a scalar, the least value that a unit could have had, below 0.
        counts: [..., G] or a scalar, how often each unit occurs; need not be whole.

    Returns:
        [...] p-values in [0, 1].
    """
    lowest = np.broadcast_to(np.asarray(worst, dtype=np.float64), units.shape[:-1])
    times = np.broadcast_to(np.asarray(counts, dtype=np.float64), units.shape)
    units = np.where(np.abs(units) < 1e-12 * np.abs(lowest[..., None]), 0.0, units)  # rounding
    smallest, largest = units.min(axis=-1), units.max(axis=-1)
    with np.errstate(all="ignore"):
        equal = (lowest / (lowest - largest)) ** times.sum(axis=-1)
        spread = _exponential_tail(
            np.concatenate([units, lowest[..., None]], axis=-1),
            np.concatenate([times, np.ones_like(lowest)[..., None]], axis=-1),
        )
    tail = np.where(smallest == largest, equal, spread)
    result: Floats = np.where(largest <= 0, 1.0, np.clip(tail, 0.0, 1.0))
    return result


def _exponential_tail(values: Floats, counts: Floats) -> Floats:
    """[...] P(sum_j Gamma(counts_j) values_j <= 0) for values [..., m] of both signs."""
    from scipy.special import ndtr

    point = _saddlepoint(values, counts)
    tilted = 1 - point[..., None] * values
    cumulant = -(counts * np.log(tilted)).sum(axis=-1)
    ratios = values / tilted
    second, third = (counts * ratios**2).sum(axis=-1), 2 * (counts * ratios**3).sum(axis=-1)
    root = np.sign(point) * np.sqrt(np.maximum(-2 * cumulant, 0.0))
    slope = point * np.sqrt(second)
    density = np.exp(-(root**2) / 2) / math.sqrt(2 * math.pi)
    # 1/root - 1/slope cancels near 0; its limit there is a sixth of the skewness.
    correction = np.where(np.abs(root) < 1e-3, third / second**1.5 / 6, 1 / root - 1 / slope)
    tail: Floats = ndtr(root) + density * correction
    return tail


def _saddlepoint(values: Floats, counts: Floats) -> Floats:
    """[...] the s at which the cumulant generating function -sum c log(1 - s v) is least.

    Newton's method on its derivative, which rises from -inf to inf between the two poles; halving
    the bracket where a step would leave it.
    """
    low, high = 1 / values.min(axis=-1), 1 / values.max(axis=-1)
    narrow = 1e-13 * (high - low)
    point: Floats = np.zeros_like(low)
    for _ in range(STEPS):
        ratios = values / (1 - point[..., None] * values)
        slope, bend = (counts * ratios).sum(axis=-1), (counts * ratios**2).sum(axis=-1)
        low, high = np.where(slope > 0, low, point), np.where(slope > 0, point, high)
        step = point - slope / bend
        after = np.where((low < step) & (step < high), step, (low + high) / 2)
        moved = np.abs(after - point)
        point = after
        if not (moved > narrow).any():  # rows that are void, all of one sign, are not waited for
            break
    return point
