"""Shares with their Monte Carlo intervals, and rows of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmeval.stats import clopper_pearson_interval

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Share:
    """How many of n simulated runs came out so."""

    hits: int
    n: int

    @classmethod
    def of(cls, came_out: NDArray[np.bool_]) -> Share:
        """Count."""
        return cls(int(came_out.sum()), len(came_out))

    def exceeds(self, level: float) -> bool:
        """Tell whether the true share is above the level, at 99.9% confidence (rows are many)."""
        return clopper_pearson_interval(self.hits, self.n, 0.998)[0] > level

    def __str__(self) -> str:
        low, high = clopper_pearson_interval(self.hits, self.n)
        return f"{self.hits / self.n:.1%} ({low * 100:.1f}-{high * 100:.1f})"


def write_row(first: str, *cells: object, head: bool = False) -> Iterator[str]:
    """One row; a head is followed by its rule."""
    yield f"| {first} | " + " | ".join(map(str, cells)) + " |"
    if head:
        yield "| --- |" + " ---: |" * len(cells)
