"""What each sample of a task came to by one metric, of one run: what its aggregation takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llmeval.core import UsageError
from llmeval.runs import Run
from llmeval.runs.record import SCORES

_COLUMNS = ("sample_id", "status", "value", "cluster")


@dataclass(frozen=True, slots=True)
class Items:
    """The scored samples of a task.

    Attributes:
        items: a value each, or the plain data that a corpus metric aggregates.
        rows: their positions among all rows of this task and metric, in the order of the record.
        clusters: labels; None where every sample stands alone.
    """

    aggregation: str
    items: Sequence[Any]
    sample_ids: Sequence[str]
    rows: Sequence[int]
    clusters: Sequence[str] | None

    def part(self, places: Sequence[int]) -> Items:
        """Return those at some places."""
        return replace(
            self,
            items=[self.items[i] for i in places],
            sample_ids=[self.sample_ids[i] for i in places],
            rows=[self.rows[i] for i in places],
            clusters=None if self.clusters is None else [self.clusters[i] for i in places],
        )


def read_items(run: Run, task: str, metric: str) -> Items:
    """Return the scored samples of a task by one metric.

    Raises:
        UsageError: the run has no such task or metric.
    """
    aggregation = _find_aggregation(run, task, metric)
    names = [*_COLUMNS, *(() if aggregation == "mean" else ("item",))]
    table = run.read_columns(SCORES, names, {"task": task, "metric": metric})
    rows = np.flatnonzero(table["status"].to_numpy(zero_copy_only=False) == "scored")
    table = table.take(rows)
    values = table["value"].to_pylist()
    if "item" in names:
        items = [
            json.loads(item) if value is None else value
            for value, item in zip(values, table["item"].to_pylist(), strict=True)
        ]
    else:
        items = values
    return Items(
        aggregation=aggregation,
        items=items,
        sample_ids=table["sample_id"].to_pylist(),
        rows=rows.tolist(),
        clusters=_name_clusters(table["cluster"].to_pylist()),
    )


def _find_aggregation(run: Run, task: str, metric: str) -> str:
    metrics = run.summary["tasks"].get(task, {}).get("metrics", {})
    if metric not in metrics:
        known = ", ".join(metrics) or "none"
        what = f"no metric {metric!r} of task {task!r}"
        raise UsageError(what, where=str(run.path), mend=f"its metrics: {known}")
    return str(metrics[metric].get("aggregation", "mean"))


def _name_clusters(clusters: Sequence[str | None]) -> list[str] | None:
    """A sample without a cluster stands for itself."""
    if all(cluster is None for cluster in clusters):
        return None
    return [f"alone {i}" if c is None else f"in {c}" for i, c in enumerate(clusters)]
