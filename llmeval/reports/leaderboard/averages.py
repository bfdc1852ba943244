"""The average over columns: of which, how it is made, and each row's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from llmeval.reports.leaderboard.board import Average, Column, Row
from llmeval.reports.leaderboard.entries import Measured
from llmeval.stats import Estimate, average_intervals


@dataclass(frozen=True, slots=True)
class Averaging:
    """How the average is made.

    Args:
        columns: whose values it is of.
        normalized: of (value - chance) / (1 - chance) instead of values.
    """

    columns: tuple[Column, ...]
    normalized: bool

    def missing(self, row: Row) -> tuple[str, ...]:
        """Return the columns that a row has no number in."""
        return tuple(
            column.key
            for column in self.columns
            if (cell := row.cells.get(column.key)) is None or cell.measured.value is None
        )

    def average(self, row: Row) -> Average | None:
        """Return a row's average; only a row that has every column has one.

        The columns are taken as independent; each brings its own interval (`average_intervals`).
        """
        if self.missing(row):
            return None
        parts = [self._part(row.cells[column.key].measured) for column in self.columns]
        if row.kind == "reference":
            values = [part.value for part in parts if part.value is not None]
            whole = len(values) == len(parts)
            return Average(sum(values) / len(values), None, None) if whole else None
        found = average_intervals(parts)
        return None if found.value is None else Average(found.value, found.stderr, found.ci95)

    def _part(self, measured: Measured) -> Estimate:
        value, stderr, interval = measured.value, measured.stderr, measured.ci95
        if self.normalized and value is not None:
            chance = measured.chance or 0.0
            scale = 1 - chance
            if scale <= 0:  # nothing is above such a chance
                return Estimate(None, None, None, measured.n, "none", status="undefined")
            value = (value - chance) / scale
            stderr = None if stderr is None else stderr / scale
            if interval is not None:
                interval = ((interval[0] - chance) / scale, (interval[1] - chance) / scale)
        return Estimate(value, stderr, interval, measured.n, measured.method)

    def weights(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return what a difference in each column is multiplied with in the average."""
        weights = {}
        for column in self.columns:
            cells = [row.cells[column.key] for row in rows if column.key in row.cells]
            known = [c.measured.chance for c in cells if c.measured.chance is not None]
            chance = median(known) if known and self.normalized else 0.0
            weights[column.key] = 1 / (1 - chance) if chance < 1 else math.nan
        return weights

    def names(self) -> str:
        """Return the names of the columns."""
        return ", ".join(column.key for column in self.columns)

    def describe(self) -> str:
        """Say what the average is."""
        of = " of (value - chance) / (1 - chance), chance 0 where none is known,"
        kind = f"unweighted mean{of if self.normalized else ''} over {len(self.columns)} columns"
        return f"{kind} ({self.names()}); a row that lacks one of them has none"


def choose_averaging(columns: Sequence[Column], normalized: bool) -> Averaging | None:
    """Return how to average; None where there is nothing to average."""
    averaged = tuple(column for column in columns if column.averaged)
    return (
        Averaging(averaged, normalized) if len(averaged) > 1 or (averaged and normalized) else None
    )
