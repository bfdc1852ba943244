"""Many tests at once: adjusted p-values. A test without a p-value stays in the family.

What could not be tested counts as one more hypothesis, so that a task that fails to be measured
never makes the others look more significant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for the family-wise error rate (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, never falls below its predecessor and is at
    most 1. Reject where the result is at most alpha: the chance of any false rejection is at
    most alpha, however the tests depend on each other.

    Args:
        pvalues: None where nothing could be tested; it stays None and counts in m.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    order = _order(pvalues)
    adjusted: list[float | None] = [None] * len(pvalues)
    floor = 0.0
    for rank, (p, index) in enumerate(order):
        floor = max(floor, min(1.0, (len(pvalues) - rank) * p))
        adjusted[index] = floor
    return adjusted


def holm_levels(pvalues: Sequence[float | None], alpha: float) -> list[float | None]:
    """Return the level that Holm's procedure held each test against.

    The k-th smallest p-value of m is held against alpha / (m - k + 1) as long as all before it were
    rejected; what comes after the first that was not, against the same level as that one. So a
    p-value is at most its level just where `holm` makes it at most alpha.

    Args:
        pvalues: as for `holm`.
        alpha: the family-wise error rate.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    levels: list[float | None] = [None] * len(pvalues)
    left, open_still = len(pvalues), True
    for p, index in _order(pvalues):
        levels[index] = alpha / left
        open_still = open_still and left * p <= alpha
        left -= open_still
    return levels


def benjamini_hochberg(pvalues: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995).

    The k-th smallest of m is multiplied by m / k and never exceeds its successor. Reject where the
    result is at most q: among independent or positively dependent tests, a share of at most q of
    the rejections is false on average.

    Args:
        pvalues: None where nothing could be tested; it stays None and counts in m.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    order = _order(pvalues)
    adjusted: list[float | None] = [None] * len(pvalues)
    ceiling = 1.0
    for rank in range(len(order), 0, -1):
        p, index = order[rank - 1]
        ceiling = min(ceiling, len(pvalues) / rank * p)
        adjusted[index] = ceiling
    return adjusted


def _order(pvalues: Sequence[float | None]) -> list[tuple[float, int]]:
    """The p-values that are there, smallest first, each with its position."""
    known = [(float(p), index) for index, p in enumerate(pvalues) if p is not None]
    for p, index in known:
        if math.isnan(p) or not 0 <= p <= 1:
            raise ValueError(f"p-value {index} is {p}; it must lie between 0 and 1")
    return sorted(known)
