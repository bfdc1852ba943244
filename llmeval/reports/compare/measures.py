"""Two runs' common items in numbers: both values, their difference, and a test that there is none.

A group that weights its tasks by size is one pool of items; one that does not is stratified: the
mean of its tasks' differences, with the sum of their variances.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.compare.pairs import Pairs
from llmeval.stats import (
    Estimate,
    bootstrap_median,
    estimate_mean,
    mcnemar_exact,
    paired_difference,
    permutation_test,
    pool,
    stratified_mean,
)
from llmeval.stats.corpus_pairs import (
    bootstrap_difference,
    bootstrap_median_difference,
    swap_test,
)
from llmeval.stats.intervals import Floats, is_binary

MCNEMAR = "McNemar, exact"
SIGNS = "permutation of signs"
SIGNS_OF_CLUSTERS = "permutation of signs, whole clusters"
EXCHANGE = "permutation of sides"
NOTHING_DIFFERS = "no item differs"

NOISE = 1e-9  # differences below are rounding


@dataclass(frozen=True, slots=True)
class Measure:
    """A row's numbers.

    Attributes:
        common: both values are on the common items; else on all items of each run.
        test: its name, or why there is none.
        p: two-sided; None where nothing could be tested.
        values: [2, n] of items, None for corpus metrics.
    """

    n: int
    common: bool
    baseline: Estimate
    challenger: Estimate
    difference: Estimate
    test: str
    p: float | None
    values: Floats | None


def measure_task(pairs: Pairs) -> Measure:
    """Measure one task."""
    if pairs.problem is not None:
        return _measure_nothing(pairs.whole, pairs.n, pairs.problem)
    if not pairs.is_mean:
        return _measure_corpus(pairs)
    before, after = pairs.values
    return Measure(
        n=pairs.n,
        common=True,
        baseline=estimate_mean(before, pairs.clusters),
        challenger=estimate_mean(after, pairs.clusters),
        difference=paired_difference(before, after, pairs.clusters),
        **_test_means(pairs.values, pairs.clusters),
        values=pairs.values,
    )


def _measure_nothing(whole: Sequence[Mapping[str, Any]], n: int, problem: str) -> Measure:
    """Return each run's own value where nothing can be said of pairs."""
    before, after = (_read_estimate(row) for row in whole)
    none = Estimate(None, None, None, n, f"none: {problem}", status="undefined")
    return Measure(n, False, before, after, none, f"none: {problem}", None, None)


def _read_estimate(row: Mapping[str, Any]) -> Estimate:
    low_high = row.get("ci95")
    return Estimate(
        row["value"],
        row.get("stderr"),
        (low_high[0], low_high[1]) if low_high else None,
        row.get("n", 0),
        row.get("method", "unknown"),
        status=row.get("status", "ok"),
    )


def _test_means(values: Floats, clusters: NDArray[np.int64] | None) -> dict[str, Any]:
    """Return the test of a difference of means, by name, and its p."""
    before, after = values
    differences = np.where(np.abs(after - before) <= NOISE, 0.0, after - before)
    if not differences.any():
        return {"test": NOTHING_DIFFERS, "p": 1.0 if len(differences) else None}
    if clusters is not None:
        return {"test": SIGNS_OF_CLUSTERS, "p": permutation_test(differences, clusters)}
    if is_binary(values):
        lost, gained = int(np.sum(differences < 0)), int(np.sum(differences > 0))
        return {"test": MCNEMAR, "p": mcnemar_exact(lost, gained)}
    return {"test": SIGNS, "p": permutation_test(differences)}


def _measure_corpus(pairs: Pairs) -> Measure:
    if pairs.sums is None:
        before, after = pairs.values
        test = "none: no exact test for a median"
        return Measure(
            n=pairs.n,
            common=True,
            baseline=bootstrap_median(before, clusters=pairs.clusters),
            challenger=bootstrap_median(after, clusters=pairs.clusters),
            difference=bootstrap_median_difference(before, after, clusters=pairs.clusters),
            test=test,
            p=None,
            values=None,
        )
    first, second = pairs.sums
    same = pairs.n > 0 and bool((first.rows == second.rows).all())
    return Measure(
        n=pairs.n,
        common=True,
        baseline=first.bootstrap(clusters=pairs.clusters),
        challenger=second.bootstrap(clusters=pairs.clusters),
        difference=bootstrap_difference(first, second, clusters=pairs.clusters),
        test=NOTHING_DIFFERS if same else EXCHANGE,
        p=1.0 if same else swap_test(first, second, pairs.clusters),
        values=None,
    )


def measure_group(parts: Sequence[Pairs], *, weight_by_size: bool) -> Measure:
    """Measure a group by those of its tasks.

    Args:
        parts: its tasks, one or more.
        weight_by_size: whether its value is the mean of items rather than of tasks.
    """
    measures = [measure_task(part) for part in parts]
    before = pool([m.baseline for m in measures], weight_by_size=weight_by_size)
    after = pool([m.challenger for m in measures], weight_by_size=weight_by_size)
    n = sum(m.n for m in measures)
    if problem := next((f"{p.task}: {p.problem}" for p in parts if p.problem), None):
        none = Estimate(None, None, None, n, f"none: {problem}", status="undefined")
        return Measure(n, False, before, after, none, f"none: {problem}", None, None)
    if not all(part.is_mean for part in parts):
        difference = pool([m.difference for m in measures], weight_by_size=weight_by_size)
        test = "none: its tasks have a metric of the whole corpus"
        return Measure(n, True, before, after, difference, test, None, None)
    values = np.concatenate([part.values for part in parts], axis=1)
    clusters = _join_clusters(parts)
    if weight_by_size:
        difference = paired_difference(values[0], values[1], clusters)
        tested = _test_means(values, clusters)
    else:
        difference, tested = _compare_strata(parts, values, clusters)
    return Measure(n, True, before, after, difference, **tested, values=values)


def _join_clusters(parts: Sequence[Pairs]) -> NDArray[np.int64] | None:
    """Clusters of one task are none of another's."""
    if all(part.clusters is None for part in parts):
        return None
    codes, next_code = [], 0
    for part in parts:
        own = np.arange(part.n) if part.clusters is None else part.clusters
        codes.append(own + next_code)
        next_code += int(own.max()) + 1 if part.n else 0
    return np.concatenate(codes)


def _compare_strata(
    parts: Sequence[Pairs], values: Floats, clusters: NDArray[np.int64] | None
) -> tuple[Estimate, dict[str, Any]]:
    """Every task counts alike, whatever its size."""
    differences = values[1] - values[0]
    strata = np.repeat(np.arange(len(parts)), [part.n for part in parts])
    shares: dict[Hashable, float] = dict.fromkeys(range(len(parts)), 1.0)
    difference = stratified_mean(differences, strata, shares, clusters)
    if not (np.abs(differences) > NOISE).any():
        return difference, {"test": NOTHING_DIFFERS, "p": 1.0 if len(differences) else None}
    if any(part.n == 0 for part in parts):
        empty = next(part.task for part in parts if part.n == 0)
        return difference, {"test": f"none: no common item of {empty}", "p": None}
    weights = 1 / np.bincount(strata)[strata]
    name = SIGNS if clusters is None else SIGNS_OF_CLUSTERS
    return difference, {"test": name, "p": permutation_test(differences * weights, clusters)}
