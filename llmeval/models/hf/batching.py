"""How rows become batches: cut by rows or by a token budget, and halved when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from llmeval.core.responses import Failure

Row = TypeVar("Row")
Result = TypeVar("Result")

# Padded positions of one batch. Scoring on a CPU is fastest while a batch stays in its caches;
# generation pays per step, so it wants many rows.
SCORING_BUDGET = {"cpu": 2048, "gpu": 32768}
GENERATION_BUDGET = {"cpu": 8192, "gpu": 32768}


@dataclass(frozen=True, slots=True)
class Cutter:
    """When a batch is full.

    Args:
        rows: most rows of a batch; None leaves it to the budget.
        budget: most padded positions (rows x width) of a batch where ``rows`` is None.
    """

    rows: int | None
    budget: int

    def cut(self, sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
        """Cut units in the order given into batches of indices.

        Args:
            sizes: (rows, width in tokens) of each unit; a unit is never divided, so one that is
                too large for any batch is a batch of its own.
        """
        batches: list[list[int]] = []
        rows = width = 0
        for index, (unit_rows, unit_width) in enumerate(sizes):
            rows, width = rows + unit_rows, max(width, unit_width)
            if not batches or not self._fits(rows, width):
                batches.append([])
                rows, width = unit_rows, unit_width
            batches[-1].append(index)
        return batches

    def _fits(self, rows: int, width: int) -> bool:
        return rows <= self.rows if self.rows is not None else rows * width <= self.budget


class MemoryGuard:
    """Runs rows in forward passes that fit the memory; remembers how many fitted.

    Args:
        limit: most rows of a pass to begin with; None for no limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit

    def run(
        self, rows: Sequence[Row], compute: Callable[[Sequence[Row]], Sequence[Result]]
    ) -> list[Result | Failure]:
        """Compute all rows; a row that does not even fit alone becomes a failure."""
        results: list[Result | Failure] = []
        while len(results) < len(rows):
            size = min(self.limit or len(rows), len(rows) - len(results))
            try:
                results.extend(compute(rows[len(results) : len(results) + size]))
                continue
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
            _free_memory()
            if size == 1:
                results.append(Failure("out of memory for a single sequence"))
            else:
                self.limit = size // 2
        return results

    def run_whole(
        self, compute: Callable[[int], Result], on_failure: Callable[[], object]
    ) -> Result | Failure:
        """Compute something in passes of at most ``limit``; begin anew with half where that fails.

        Args:
            compute: called with the limit, which must have been given.
            on_failure: lets go of what holds memory.
        """
        assert self.limit is not None
        while True:
            try:
                return compute(self.limit)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
            on_failure()
            _free_memory()
            if self.limit == 1:
                return Failure("out of memory for a single token")
            self.limit //= 2


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
