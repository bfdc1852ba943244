"""Counting and testing with little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

TESTED = 0.005
"""What the tests of one check come to in a run, all tasks and groups together.

One false alarm in 200 healthy runs: a check that cries wolf is switched off.
"""


class FrequentKeys(Generic[Key]):
    """The most frequent keys of a long sequence, in bounded memory.

    Misra and Gries (1982), "Finding repeated elements": with ``size`` counters each count is too
    low by n / (size + 1) at most, so whatever makes up a larger share is among them.
    """

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._counts: dict[Key, int] = {}
        self.n = 0

    def add(self, key: Key) -> None:
        self.n += 1
        counts = self._counts
        if key in counts:
            counts[key] += 1
        elif len(counts) < self._size:
            counts[key] = 1
        else:
            self._counts = {k: count - 1 for k, count in counts.items() if count > 1}

    def __contains__(self, key: Key) -> bool:
        return key in self._counts

    def top(self) -> tuple[Key, int] | None:
        """Return the most frequent key and how often it came, at least; None for no keys."""
        return max(self._counts.items(), key=lambda item: item[1], default=None)


def few(count: float, n: float, p: float) -> float:
    """Return the chance of ``count`` or fewer of n at probability p; fractions are taken.

    The binomial distribution by the regularised incomplete beta function, I_{1-p}(n-k, k+1).
    Where the probabilities differ between trials, their mean gives an upper bound in both tails
    (Hoeffding 1956), so a test by it is conservative.
    """
    from scipy.special import betainc

    if count >= n:
        return 1.0
    return float(betainc(n - count, count + 1, 1 - p))


def many(count: float, n: float, p: float) -> float:
    """Return the chance of ``count`` or more of n at probability p."""
    return 1.0 if count <= 0 else few(n - count, n, 1 - p)


def top(counts: Counter[Key]) -> Key:
    """Return the most frequent key; of equals, the first that came."""
    return counts.most_common(1)[0][0]
