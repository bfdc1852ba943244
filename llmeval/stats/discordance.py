"""Where runs differ at all, for all pairs of runs: how often, and what the signs alone say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmeval.stats.intervals import Floats

ENOUGH = 64  # units that differ; the p-value that more of them could give is below 1e-18
_BLOCK = 128  # units compared before pairs that differ enough are left out


def find_step(values: Floats) -> float | None:
    """Return how far apart the only two values of a table are: 1 for outcomes of 0 and 1.

    None where there are more values, or fewer; NaN counts as no value.
    """
    if np.isnan(values).all():
        return None
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    two = ((values == low) | (values == high) | np.isnan(values)).all()
    return high - low if two and high > low else None


def compare_signs(gained: NDArray[np.int64], differing: NDArray[np.int64]) -> Floats:
    """Return the two-sided p-values of McNemar's exact test; NaN where nothing differs.

    Args:
        gained: [K, K] antisymmetric about half of `differing`: items that only the first run has.
        differing: [K, K] symmetric: items that one of the two has and the other has not.
    """
    from scipy.special import bdtr

    p = np.full(differing.shape, np.nan)
    above = np.triu_indices(len(p), 1)  # p is the same below the diagonal
    n = differing[above]
    smaller = np.minimum(gained[above], n - gained[above])
    p[above] = np.where(
        n > 0, np.minimum(1.0, 2 * bdtr(smaller.astype(np.float64), n, 0.5)), np.nan
    )
    p.T[above] = p[above]
    return p


def sign_flip_floor(differing: NDArray[np.int64]) -> Floats:
    """Return the least two-sided p-value that flipping the signs of so many units can give."""
    floor: Floats = np.minimum(1.0, np.exp2(1.0 - differing))
    return floor


def count_differing(values: Floats, rounding: float) -> NDArray[np.int64]:
    """Return [K, K] in how many units two runs differ; those that differ in `ENOUGH` are not
    counted to the end.

    Args:
        values: [K, N] NaN where a run has none.
        rounding: values no further apart than this are equal.
    """
    k, size = values.shape
    counts = np.zeros((k, k), dtype=np.int64)
    for run in range(k - 1):
        others = np.arange(run + 1, k)
        for start in range(0, size, _BLOCK):
            block = slice(start, start + _BLOCK)
            unlike = np.abs(values[others, block] - values[run, block]) > rounding
            counts[run, others] += np.count_nonzero(unlike, axis=1)
            others = others[counts[run, others] < ENOUGH]
            if not len(others):
                break
    return counts + counts.T
