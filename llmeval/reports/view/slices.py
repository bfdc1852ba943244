"""A task's main metric on the parts of its samples, and which parts differ from the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.items import Items, read_items
from llmeval.reports.slices import Labels, Slice, read_labels, slice_scores
from llmeval.runs import Run
from llmeval.stats import Estimate, holm
from llmeval.stats.intervals import cluster_codes

MOST_PANELS = 24
_ALPHA = 0.05
_LEAST_CLUSTERS = 10  # below, a clustered standard error is too small too often


@dataclass(frozen=True, slots=True)
class Part:
    """A slice, with the test of its metric against that of all other samples.

    Attributes:
        p: adjusted by Holm over the slices of the panel; None where it cannot be told.
        differs: p is at most .05.
    """

    slice: Slice
    p: float | None

    @property
    def differs(self) -> bool:
        return self.p is not None and self.p <= _ALPHA


@dataclass(frozen=True, slots=True)
class Panel:
    """One task cut by one key.

    Attributes:
        parts: the best first; those without a value last.
        tested: whether the metric is a mean, so that parts can be tested against the rest.
    """

    task: str
    metric: str
    higher_is_better: bool
    key: str
    parts: Sequence[Part]
    tested: bool


def cut_tasks(run: Run) -> list[Panel]:
    """Return a panel for each task and key that divides its samples, at most 24."""
    return list(islice(_cut_all(run), MOST_PANELS))


def _cut_all(run: Run) -> Iterator[Panel]:
    for task, about in run.summary["tasks"].items():
        metric = next(iter(about["metrics"]), None)
        if metric is None or not about["n"]:  # the run was stopped before this task
            continue
        labels = read_labels(run, task)
        keys = labels.find_keys()
        if keys:
            better = bool(about["metrics"][metric]["higher_is_better"])
            items = read_items(run, task, metric)
            yield from (_cut(labels, items, metric, better, key) for key in keys)


def _cut(labels: Labels, items: Items, metric: str, better: bool, key: str) -> Panel:
    slices = slice_scores(labels, items, key)
    tested = items.aggregation == "mean"
    adjusted: list[float | None] = [None] * len(slices)
    if tested and len(slices) > 1:
        value_of = dict(zip(labels.sample_ids, labels.by_key[key], strict=True))
        parts = np.array([value_of[name] for name in items.sample_ids], dtype=object)
        adjusted = holm([compare_with_rest(items, parts == one.value) for one in slices])
    rows = [Part(one, p) for one, p in zip(slices, adjusted, strict=True)]
    sign = -1 if better else 1
    rows.sort(key=lambda part: _rank(part.slice.estimate, sign))
    return Panel(labels.task, metric, better, key, rows, tested)


def _rank(estimate: Estimate, sign: int) -> tuple[bool, float]:
    return estimate.value is None, sign * (estimate.value or 0.0)


def compare_with_rest(items: Items, inside: NDArray[np.bool_]) -> float | None:
    """Return the two-sided p-value of a part's mean against the mean of all other items.

    Fisher's exact test where items are independent and right or wrong. Otherwise t with G-1
    degrees of freedom on the difference of means, whose standard error comes from the clusters'
    summed influences (the clustered regression on an indicator: Miller 2024, arXiv 2411.00640);
    every item is a cluster of its own where none is given. None where one side is empty or has
    fewer than ten clusters.
    """
    values = np.asarray(items.items, dtype=float)
    if not inside.any() or inside.all():
        return None
    if items.clusters is None and np.isin(values, (0, 1)).all():
        return _fisher(values, inside)
    codes = np.arange(len(values))
    if items.clusters is not None:
        codes = cluster_codes(list(items.clusters), len(values))
    if min(len(set(codes[inside])), len(set(codes[~inside]))) < _LEAST_CLUSTERS:
        return None
    return _clustered_test(values, inside, codes)


def _fisher(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    from scipy.stats import fisher_exact

    def count(part: Any) -> list[int]:
        return [int(part.sum()), int((1 - part).sum())]

    return float(fisher_exact([count(values[inside]), count(values[~inside])])[1])


def _clustered_test(
    values: NDArray[np.float64], inside: NDArray[np.bool_], codes: NDArray[np.intp]
) -> float | None:
    from scipy.special import stdtr

    means = values[inside].mean(), values[~inside].mean()
    influence = np.where(
        inside,
        (values - means[0]) / inside.sum(),
        -(values - means[1]) / (~inside).sum(),
    )
    sums = np.bincount(codes, weights=influence)
    groups = len(sums)
    stderr = float(np.sqrt(groups / (groups - 1) * np.square(sums).sum()))
    if stderr == 0:
        return None
    return float(2 * stdtr(groups - 1, -abs(means[0] - means[1]) / stderr))
