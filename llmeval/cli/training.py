"""What a baseline learned from, for the end of a run's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmeval.reports.formats import format_bytes, format_seconds


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
    took, weight = format_seconds(seconds), format_bytes(size)
    line = f"from {rows:,} rows{where} in {took}; {weight}, {terms:,} terms"
    if known := sum(task["evaluated_in_training"] for task in learned):
        evaluated = sum(task["evaluated"] for task in learned)
        line += f"; {known:,} of {evaluated:,} evaluated rows were among them"
    return line
