"""What a baseline learned from, for the end of a run's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_training(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how many rows were learned, in what time, how large the result is, what it knew before.

    Args:
        tasks: the figures of each task, as the manifest has them under ``performance.training``.

    Returns:
        one line, empty where nothing was learned.
    """
    learned = [task for task in tasks.values() if "not_learned" not in task]
    if not learned:
        return ""
    rows, seconds, size, terms = (
        sum(task[key] for task in learned) for key in ("rows", "seconds", "bytes", "terms")
    )
    where = f" of {len(learned)} tasks" if len(learned) > 1 else ""
    line = f"from {rows:,} rows{where} in {seconds:.1f} s; {_megabytes(size)}, {terms:,} terms"
    if known := sum(task["evaluated_in_training"] for task in learned):
        evaluated = sum(task["evaluated"] for task in learned)
        line += f"; {known:,} of {evaluated:,} evaluated rows were among them"
    return line


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"
