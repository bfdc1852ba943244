"""A task's metric on parts of its samples: by subject, language, or whatever the data say of them.

What a slice is comes from the samples' metadata. Slices are looked at together, so a small slice
that stands out by itself is seldom a finding: its interval says how little is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.core import UsageError
from llmeval.reports.items import Items
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES
from llmeval.stats import Estimate
from llmeval.tasks import aggregations

NONE = "(none)"
MOST_VALUES = 100
"""A key with more values than this names samples rather than parts of the data."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A metric on the samples whose metadata have one value.

    Attributes:
        key, value: e.g. ``subject`` and ``botany``; `NONE` where a sample has no such key.
        estimate: on the scored samples of the slice.
        samples: how many there are, scored or not.
    """

    key: str
    value: str
    estimate: Estimate
    samples: int


@dataclass(frozen=True, slots=True)
class Labels:
    """What the samples of a task say of themselves, as text.

    Attributes:
        sample_ids: [n] in the order of the record.
        by_key: for each key [n] values, `NONE` where a sample has none.
    """

    task: str
    sample_ids: NDArray[np.object_]
    by_key: dict[str, NDArray[np.object_]]

    def find_keys(self) -> list[str]:
        """Return the keys that divide the samples into parts.

        Those with one value, with more than `MOST_VALUES`, or another for nearly every sample, do
        not.
        """
        most = min(MOST_VALUES, len(self.sample_ids) // 2)
        return [key for key, values in self.by_key.items() if 1 < len(set(values)) <= most]


def slice_scores(labels: Labels, scored: Items, key: str) -> list[Slice]:
    """Return a metric on each part of a task's samples; parts in natural order, `NONE` last.

    Args:
        scored: the task's scored samples by this metric.

    Raises:
        UsageError: its samples have no such key.
    """
    if key not in labels.by_key:
        known, where = ", ".join(labels.by_key) or "nothing", f"metadata of {labels.task}"
        raise UsageError(f"no sample has {key!r}", where=where, mend=f"has {known}")
    position = {name: i for i, name in enumerate(scored.sample_ids)}
    parts: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for name, value in zip(labels.sample_ids, labels.by_key[key], strict=True):
        sizes[value] = sizes.get(value, 0) + 1
        rows = parts.setdefault(value, [])
        if name in position:
            rows.append(position[name])
    return [
        Slice(key, value, _estimate(scored.part(parts[value])), sizes[value])
        for value in sort_values(parts)
    ]


def _estimate(part: Any) -> Estimate:
    if not aggregations.is_known(part.aggregation):
        none = f"none: the aggregation {part.aggregation!r} is the task's own"
        return Estimate(None, None, None, len(part.items), none, status="undefined")
    return aggregations.aggregate(part.aggregation, part.items, part.clusters)


def sort_values(values: Sequence[str] | dict[str, Any]) -> list[str]:
    """Return values in natural order: numbers by size, then texts, then `NONE`."""

    def place(value: str) -> tuple[int, float, str]:
        if value == NONE:
            return 2, 0.0, ""
        try:
            return 0, float(value), value
        except ValueError:
            return 1, 0.0, value

    return sorted(values, key=place)


def read_labels(run: Run, task: str) -> Labels:
    """Return what the samples of a task say of themselves; lists and objects are left out.

    Raises:
        UsageError: the run has no samples of the task.
    """
    table = run.read_columns(SAMPLES, ["sample_id", "metadata"], {"task": task})
    if not table.num_rows:
        raise UsageError(f"the run has no samples of task {task!r}", where=str(run.path))
    texts = table["metadata"].combine_chunks().dictionary_encode()
    plain = [read_scalars(text) for text in texts.dictionary.to_pylist()]
    codes = texts.indices.to_numpy(zero_copy_only=False)
    by_key = {}
    for key in dict.fromkeys(key for one in plain for key in one):
        values = np.array([one.get(key, NONE) for one in plain], dtype=object)
        by_key[key] = values[codes]
    return Labels(task, table["sample_id"].to_numpy(zero_copy_only=False), by_key)


def read_scalars(text: str | None) -> dict[str, str]:
    """Return what a sample's metadata say as texts; lists and objects are left out."""
    found = json.loads(text) if text else {}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in found.items()
        if isinstance(value, str | bool | int | float)
    }
