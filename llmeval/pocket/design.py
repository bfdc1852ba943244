"""What each slice of the suite must score by construction, before any model is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

CHANCE = 0.25  # every choice task has four choices, in mc2 four pairs of wordings
TOLERANCE = 0.05  # how far a taught slice may be from its design
Z95 = 1.959964


def expected(task: str, metric: str, rows: Sequence[Row]) -> float:
    """Return the mean score that a model has which learned the training text's frequencies.

    Such a model takes the choice stated most often, gives a choice the probability with which it
    was stated, and on what it was never taught is right by chance (functions: never).
    """
    return sum(_expected_row(task, metric, row) for row in rows) / len(rows)


def _expected_row(task: str, metric: str, row: Row) -> float:
    share = row["share"]
    if share is None:
        return 0.0 if task == "pocket_humaneval" else CHANCE
    true = share[true_choice(task, row)]
    if metric == "mc2":
        return float(true)
    return float(true == max(share))


def true_choice(task: str, row: Row) -> int:
    """Return the index of the right choice, in the row's choices and in ``share``."""
    if task == "pocket_mmlu":
        return int(row["answer"])
    return int(row["label"]) if task == "pocket_hellaswag" else 0


def bounds(task: str, metric: str, rows: Sequence[Row]) -> list[float]:
    """Return the range that an intact instrument stays in.

    Untaught choice rows may differ from chance as a binomial proportion does (95%, normal
    approximation); taught rows by ``TOLERANCE``.
    """
    center = expected(task, metric, rows)
    untaught = sum(row["share"] is None for row in rows) if task != "pocket_humaneval" else 0
    spread = Z95 * (untaught * CHANCE * (1 - CHANCE)) ** 0.5
    spread += TOLERANCE * (len(rows) - untaught)
    width = spread / len(rows)
    return [round(max(0.0, center - width), 6), round(min(1.0, center + width), 6)]
