"""Paired differences added up over tasks: of groups, and of averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llmeval.stats import Pairwise
from llmeval.stats.discordance import sign_flip_floor


class PairTotals:
    """The weighted mean of paired differences over tasks, for every pair of R rows.

    Tasks are independent strata: variances add up. Degrees of freedom are Welch and Satterthwaite's
    (sum v)^2 / sum(v^2 / df), as in `llmeval.stats.pool`. As in a single task, a p-value is never
    below what flipping the signs of all items or clusters that differ can give.
    """

    def __init__(self, size: int) -> None:
        shape = (size, size)
        self._difference, self._weight = np.zeros(shape), np.zeros(shape)
        self._variance, self._spread = np.zeros(shape), np.zeros(shape)
        self._n = np.zeros(shape, dtype=np.int64)
        self._differing = np.zeros(shape, dtype=np.int64)
        self._parts = np.zeros(size, dtype=np.int64)

    def add(self, rows: Sequence[int], pairwise: Pairwise, weight: float | None) -> None:
        """Add a task.

        Args:
            rows: the positions of the K rows that were compared.
            pairwise: [K, K]; pairs without an estimate leave the total of the pair without one.
            weight: of the task; None for the number of items that both rows have.
        """
        place = np.ix_(rows, rows)
        weights = pairwise.n.astype(float) if weight is None else np.full(pairwise.n.shape, weight)
        variance = (weights * pairwise.stderr) ** 2
        self._difference[place] += weights * pairwise.difference
        self._variance[place] += variance
        self._spread[place] += variance**2 / pairwise.df
        # A fixed weight counts a task once: it scales the task, it does not prefer it.
        self._weight[place] += weights if weight is None else 1.0
        self._n[place] += pairwise.n
        self._differing[place] += pairwise.differing
        self._parts[list(rows)] += 1

    def rows(self, parts: int) -> tuple[int, ...]:
        """Return the rows that so many tasks have been added for."""
        return tuple(np.flatnonzero(self._parts == parts).tolist())

    def compare(self, rows: Sequence[int]) -> Pairwise:
        """Return the comparisons of some rows."""
        from scipy.special import stdtr

        place = np.ix_(rows, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = self._difference[place] / self._weight[place]
            stderr = np.sqrt(self._variance[place]) / self._weight[place]
            df = self._variance[place] ** 2 / self._spread[place]
            p = 2 * stdtr(df, -np.abs(difference / stderr))
        differing = self._differing[place]
        p = np.maximum(p, sign_flip_floor(differing))  # NaN stays NaN
        return Pairwise(difference, stderr, df, p, self._n[place], differing)


def settle(pairwise: Pairwise) -> Pairwise:
    """Give pairs a standard error and a p-value whose items all differ by the same.

    Where every item differs by the same d, each of u items or clusters has the same sign: the exact
    two-sided p-value of flipping signs is 2 / 2^u, and 1 where d = 0. The standard error, of scores
    between 0 and 1, is that of Bonett and Price (2012, Journal of Educational and Behavioral
    Statistics 37) for no discordant pair, sqrt(2) / (u + 2), rather than 0.
    """
    alike = np.isnan(pairwise.stderr) & ~np.isnan(pairwise.df)
    if not alike.any():
        return pairwise
    units = pairwise.df + 1
    exact = np.where(pairwise.difference == 0, 1.0, np.exp2(1 - units))
    return replace(
        pairwise,
        stderr=np.where(alike, np.sqrt(2) / (units + 2), pairwise.stderr),
        p=np.where(alike, exact, pairwise.p),
    )


def take(pairwise: Pairwise, rows: Sequence[int]) -> Pairwise:
    """Return the comparisons of some of the rows."""
    place = np.ix_(rows, rows)
    return Pairwise(
        pairwise.difference[place],
        pairwise.stderr[place],
        pairwise.df[place],
        pairwise.p[place],
        pairwise.n[place],
        pairwise.differing[place],
    )
