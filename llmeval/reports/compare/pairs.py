"""A task's items that two runs have in common, with what each run's metric made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.compare.comparison import Excluded, Side
from llmeval.reports.items import Items, read_items
from llmeval.reports.matching import Matched, match
from llmeval.reports.scores import Scores, ScoreTable
from llmeval.stats.corpus import Summed
from llmeval.stats.intervals import Floats
from llmeval.tasks import aggregations

Whole = tuple[Mapping[str, Any], Mapping[str, Any]]

_SIDES: tuple[Side, Side] = ("baseline", "challenger")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The common items of a task by one metric.

    Attributes:
        values: [2, n], a row a run; without meaning where there are ``sums``.
        sums: each run's statistics on the common items, where the metric is a function of sums.
        clusters: [n] codes; None where every item stands alone.
        sample_ids: [2, n], what each run calls the items.
        asked_otherwise: how many of them the runs were asked in different words.
        whole: each run's own row of the summary, on all of its items.
        problem: why nothing can be said of pairs, None where it can.
    """

    task: str
    metric: str
    aggregation: str
    higher_is_better: bool
    values: Floats
    sums: tuple[Summed, Summed] | None
    clusters: NDArray[np.int64] | None
    sample_ids: NDArray[np.object_]
    excluded: tuple[Excluded, ...]
    asked_otherwise: int
    whole: Whole
    problem: str | None = None

    @property
    def n(self) -> int:
        return int(self.values.shape[1])

    @property
    def is_mean(self) -> bool:
        return self.aggregation in aggregations.MEANS

    def part(self, places: NDArray[np.intp]) -> Pairs:
        """Return the pairs at some places; what was excluded belongs to the whole."""
        sums = self.sums
        if sums is not None:
            before, after = (Summed(side.rows[places], side.score) for side in sums)
            sums = before, after
        return replace(
            self,
            values=self.values[:, places],
            sums=sums,
            clusters=None if self.clusters is None else self.clusters[places],
            sample_ids=self.sample_ids[:, places],
        )


def pair_items(table: ScoreTable, task: str, metric: str, *, across_forms: bool) -> Pairs:
    """Match the items of the table's two runs.

    Args:
        table: of two runs, with names of samples; both have the task and metric.
        across_forms: match items however they were asked.
    """
    whole = _read_whole(table, task, metric)
    aggregation = whole[0].get("aggregation", "mean")
    scores, sums = _read_scores(table, task, metric), None
    problem = _find_problem(whole)
    if aggregation != "mean":
        lists = [read_items(run, task, metric) for run in table.runs]
        try:
            scores, sums = _place_items(scores, lists, aggregation)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            why = f"its items cannot be aggregated: {type(error).__name__}: {error}"
            problem = problem or why
    problem = problem or _check_values(scores, sums, aggregation, whole)
    matched = match(scores, across_prompts=across_forms)
    both = len(matched.runs) == 2
    rows = matched.rows[:, matched.common] if both else np.zeros((2, 0), dtype=np.int64)
    values = scores.value[rows]
    if sums is not None:
        places = values.astype(np.intp)
        before, after = (Summed(s.rows[i], s.score) for s, i in zip(sums, places, strict=True))
        sums = before, after
    assert scores.sample_id is not None
    clusters = matched.clusters if both else None
    ours, theirs = scores.asked[rows]
    return Pairs(
        task=task,
        metric=metric,
        aggregation=aggregation,
        higher_is_better=bool(whole[0]["higher_is_better"]),
        values=values,
        sums=sums,
        clusters=None if clusters is None else clusters[matched.common],
        sample_ids=scores.sample_id[rows],
        excluded=_list_excluded(matched),
        asked_otherwise=int(((ours != theirs) & (ours != 0) & (theirs != 0)).sum()),
        whole=whole,
        problem=problem,
    )


def _read_whole(table: ScoreTable, task: str, metric: str) -> Whole:
    first, second = (run.summary["tasks"][task]["metrics"][metric] for run in table.runs)
    return first, second


def _read_scores(table: ScoreTable, task: str, metric: str) -> Scores:
    try:
        return table.scores(task, metric)
    except KeyError:  # both runs were interrupted before they came to this task
        none = np.zeros(0, dtype=np.int64)
        digests, names = none.astype(np.uint64), none.astype(object)
        return Scores(none, none.astype(float), digests, digests, digests, names)


def _find_problem(whole: Whole) -> str | None:
    first, second = (row.get("aggregation", "mean") for row in whole)
    if first != second:
        return f"the runs aggregate it differently: {first} against {second}"
    if whole[0]["higher_is_better"] != whole[1]["higher_is_better"]:
        return "the runs disagree on whether higher is better"
    if not aggregations.is_known(first):
        return f"no paired test for this aggregation ({first}), which is the task's own"
    return None


def _place_items(
    scores: Scores, lists: Sequence[Items], aggregation: str
) -> tuple[Scores, tuple[Summed, Summed] | None]:
    """Give every row its value; where the metric is no function of such, its place in its run."""
    values = np.full(len(scores.run), np.nan)
    sums, has_values = None, aggregation in (*aggregations.MEANS, aggregations.MEDIAN)
    if aggregation in aggregations.SUMS:
        # Both at once, so that both have the same statistics (a column for each label).
        joint = aggregations.SUMS[aggregation]([*lists[0].items, *lists[1].items])
        middle = len(lists[0].items)
        sums = Summed(joint.rows[:middle], joint.score), Summed(joint.rows[middle:], joint.score)
    plain = aggregations.MEANS.get(aggregation, aggregations.MEANS["mean"])
    for number, found in enumerate(lists):
        rows = int(np.searchsorted(scores.run, number)) + np.asarray(found.rows, dtype=np.intp)
        values[rows] = plain(found.items) if has_values else np.arange(len(rows))
    return replace(scores, value=values), sums


def _check_values(
    scores: Scores, sums: tuple[Summed, Summed] | None, aggregation: str, whole: Whole
) -> str | None:
    """Compute each run's own value anew: what does not lead to it must not be compared by it.

    An aggregation of a task's own may have the name of a known one.
    """
    for number, row in enumerate(whole):
        if row["value"] is None:
            continue
        values = scores.value[scores.run == number]
        values = values[~np.isnan(values)]
        if len(values) == 0:
            again = math.nan
        elif sums is not None:
            again = float(sums[number].score(sums[number].rows.sum(axis=0, keepdims=True))[0])
        elif aggregation == aggregations.MEDIAN:
            again = float(np.sort(values)[len(values) // 2])
        else:
            again = float(values.mean())
        if not math.isclose(again, row["value"], rel_tol=1e-6, abs_tol=1e-9):
            return f"the items' scores do not lead to the {_SIDES[number]}'s value"
    return None


def _list_excluded(matched: Matched) -> tuple[Excluded, ...]:
    if len(matched.runs) == 1:  # the other was interrupted before it came to this task
        other = _SIDES[1 - matched.runs[0]]
        names = matched.sample_ids
        return (Excluded(other, "missing", len(names), names),) if names else ()
    return tuple(
        Excluded(_SIDES[found.run], found.reason, found.count, found.sample_ids)
        for found in matched.excluded
    )
