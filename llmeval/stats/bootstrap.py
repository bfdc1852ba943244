"""The bootstrap, vectorised: standard errors and intervals for statistics that are not means.

Rows are drawn with replacement; with clusters, whole clusters are. Nearly every corpus metric is a
function of *sums* of per-row statistics (cells of a confusion matrix, n-gram matches,
log-likelihoods), so a resample is a vector of counts times a matrix. Rows (or clusters) with equal
statistics are one *cell*: drawing how often each cell occurs is exactly drawing rows, at the cost
of the few cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.intervals import Estimate, Floats, Interval, Status, cluster_codes

Method = Literal["percentile", "bca"]
Score = Callable[[Floats], Floats]

RESAMPLES = 10_000
BATCH = 1_000_000  # counts held at once: 8 MB of float64, and about 24 MB while drawing
FEW = 8  # a multinomial draw costs about this many draws of a row per cell


@dataclass(frozen=True, slots=True)
class Cells:
    """What is resampled: distinct units and how many of each there are.

    Attributes:
        sums: [cells, d] per-unit sums of the statistics.
        multiplicity: [cells] how many units (rows or clusters) are alike; sums to `units`.
        units: rows, or clusters where rows are clustered.
    """

    sums: Floats
    multiplicity: NDArray[np.int64]
    units: int

    @property
    def total(self) -> Floats:
        """[1, d]: the sums over the whole sample."""
        return (self.multiplicity @ self.sums)[None, :]


def bootstrap(
    statistic: Callable[..., Floats],
    arrays: Sequence[ArrayLike],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: ArrayLike | None = None,
    ci: Method = "percentile",
) -> Estimate:
    """Return a statistic of weighted rows with its bootstrap standard error and interval.

    Args:
        statistic: ``statistic(counts, *arrays) -> [b]``, where counts is [b, n] and says how often
            each row occurs in each of b resamples; every row once gives the point estimate.
        arrays: what the statistic needs, each of length n along its first axis.
        resamples: how many resamples.
        seed: the result depends on it and on the data, and on nothing else.
        clusters: [n] labels; whole clusters are resampled.
        ci: ``percentile``, or Efron's bias-corrected and accelerated ``bca``.
    """
    columns = [np.asarray(array) for array in arrays]
    n = len(columns[0])
    codes = None if clusters is None else cluster_codes(clusters, n)
    units = n if codes is None else (int(codes.max()) + 1 if n else 0)

    def score(unit_counts: Floats) -> Floats:
        return statistic(unit_counts if codes is None else unit_counts[:, codes], *columns)

    alike = np.ones(units, dtype=np.int64)
    return _estimate(
        score,
        np.ones((1, units)),
        lambda rng: _draw_counts(rng, alike, resamples),
        lambda: _left_one_out(units),
        _Plan(n, units, codes is not None, seed, ci),
    )


def bootstrap_sums(
    score: Score,
    rows: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: ArrayLike | None = None,
    ci: Method = "percentile",
) -> Estimate:
    """Return a function of summed per-row statistics with its standard error and interval.

    Args:
        score: [b, d] sums -> [b] values.
        rows: [n, d] per-row statistics.
        resamples, seed, clusters, ci: as for `bootstrap`.
    """
    stats = np.asarray(rows, dtype=np.float64)
    codes = None if clusters is None else cluster_codes(clusters, len(stats))
    cells = collect_cells(stats, codes)
    return _estimate(
        score,
        cells.total,
        lambda rng: (c @ cells.sums for c in _draw_counts(rng, cells.multiplicity, resamples)),
        lambda: iter([(cells.total - cells.sums, cells.multiplicity)]),
        _Plan(len(stats), cells.units, codes is not None, seed, ci),
    )


def collect_cells(rows: Floats, codes: NDArray[np.intp] | None) -> Cells:
    """Sum the rows of each cluster, if any, and count units that are alike."""
    if codes is not None and len(rows):
        sums = np.zeros((int(codes.max()) + 1, rows.shape[1]))
        np.add.at(sums, codes, rows)
        rows = sums
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    return Cells(distinct, counts.astype(np.int64), len(rows))


@dataclass(frozen=True, slots=True)
class _Plan:
    n: int
    units: int
    clustered: bool
    seed: int
    ci: Method


def _estimate(
    score: Score,
    whole: Floats,
    draw: Callable[[np.random.Generator], Iterator[Floats]],
    jackknife: Callable[[], Iterator[tuple[Floats, NDArray[np.int64]]]],
    plan: _Plan,
) -> Estimate:
    """Score the whole sample, the resamples and, for BCa, the sample with each unit left out."""
    method = f"bootstrap, {plan.ci}" + (", clustered" if plan.clustered else "")
    clusters = plan.units if plan.clustered else None

    def bare(value: float | None, status: Status) -> Estimate:
        return Estimate(value, None, None, plan.n, method, clusters, status)

    if plan.n == 0:
        return bare(None, "empty")
    value = float(score(whole)[0])
    if not np.isfinite(value):
        return bare(None, "undefined")
    if plan.units == 1:
        return bare(value, "single")
    rng = np.random.default_rng(plan.seed)
    replicates = np.concatenate([score(batch) for batch in draw(rng)])
    if not np.isfinite(replicates).all():
        return bare(value, "undefined")
    if np.ptp(replicates) <= 1e-12 * max(1.0, abs(value)):
        return bare(value, "degenerate")
    levels = np.array([0.025, 0.975])
    if plan.ci == "bca":
        parts = [(score(batch), counts) for batch, counts in jackknife()]
        left_out = np.concatenate([scores for scores, _ in parts])
        weights = np.concatenate([counts for _, counts in parts])
        levels = _bca_levels(levels, value, replicates, left_out, weights)
    low, high = np.quantile(replicates, levels)
    interval: Interval = (float(low), float(high))
    return Estimate(value, float(replicates.std(ddof=1)), interval, plan.n, method, clusters)


def _bca_levels(
    levels: Floats, value: float, replicates: Floats, left_out: Floats, weights: NDArray[np.int64]
) -> Floats:
    """Return the percentiles that correct for bias and skewness (Efron 1987, section 3)."""
    from scipy.special import ndtr, ndtri

    # Ties with the value count half, as in scipy.stats.bootstrap: discrete statistics have many.
    below = (np.mean(replicates < value) + np.mean(replicates <= value)) / 2
    edge = 0.5 / len(replicates)
    bias = ndtri(np.clip(below, edge, 1 - edge))
    deviation = np.average(left_out, weights=weights) - left_out
    spread = float(weights @ deviation**2)
    acceleration = float(weights @ deviation**3) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + ndtri(levels)
    corrected: Floats = ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected


def _draw_counts(
    rng: np.random.Generator, multiplicity: NDArray[np.int64], resamples: int
) -> Iterator[Floats]:
    """Yield [<=batch, cells]: how often each cell occurs in each resample of all units."""
    cells, units = len(multiplicity), int(multiplicity.sum())
    if cells * FEW <= units:
        for size in _batches(resamples, cells):
            yield rng.multinomial(units, multiplicity / units, size=size).astype(np.float64)
        return
    cell_of_unit = np.repeat(np.arange(cells), multiplicity)
    for size in _batches(resamples, units):
        drawn = cell_of_unit[rng.integers(0, units, size=(size, units))]
        drawn += (np.arange(size) * cells)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * cells)
        yield counts.reshape(size, cells).astype(np.float64)


def _batches(total: int, width: int) -> Iterator[int]:
    """Yield sizes that add up to `total`, each at most `BATCH` numbers of `width` apiece."""
    size = max(1, BATCH // max(width, 1))
    for start in range(0, total, size):
        yield min(size, total - start)


def _left_one_out(units: int) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    start = 0
    for size in _batches(units, units):
        counts = np.ones((size, units))
        counts[np.arange(size), np.arange(start, start + size)] = 0.0
        yield counts, np.ones(size, dtype=np.int64)
        start += size
