"""The same items in the baseline and in tonight's run, and what speaks against comparing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.forms import diff_forms, form_of
from llmeval.reports.matching import Matched, Reason, match
from llmeval.reports.regress.doubts import doubt_baseline, doubt_health, doubt_size
from llmeval.reports.regress.faults import Fault, Kind
from llmeval.reports.regress.settings import GateSettings, Range
from llmeval.reports.regress.units import UnitName
from llmeval.reports.scores import Floats, Scores, ScoreTable
from llmeval.runs import Run

Clusters = NDArray[np.int64] | None
"""[n] labels; None where every item stands alone."""

_PIN = "pin a new baseline with --set-baseline"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are, and why some are not compared.

    Args:
        baseline, tonight: items of each run.
        compared: items with a number in both.
        errored, errored_before: of tonight's, of the baseline's, those without an answer.
        lost: items with a number in the baseline and an answer tonight that could not be judged.
        regained: the other way round.
        missing, new: items that only the baseline, only tonight's run has.
        changed_data, changed_prompt: items of the same name with other content; of the same
            content, asked otherwise.
    """

    baseline: int = 0
    tonight: int = 0
    compared: int = 0
    errored: int = 0
    errored_before: int = 0
    lost: int = 0
    regained: int = 0
    missing: int = 0
    new: int = 0
    changed_data: int = 0
    changed_prompt: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in self.__slots__))


@dataclass(frozen=True, slots=True)
class Pairs:
    """One unit's items in both runs.

    Attributes:
        baseline, tonight: [n] scores of the items with a number in both.
        range: least and greatest value that the metric can have.
        fault: why they are not to be judged; None where they may.
        notes: what a reader should know all the same.
        warnings: why a verdict would be worth little.
    """

    name: UnitName
    tolerance: float
    higher_is_better: bool
    baseline: Floats
    tonight: Floats
    clusters: Clusters
    range: Range | None
    counts: Counts
    fault: Fault | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def differences(self) -> Floats:
        """[n]: positive is better than the baseline."""
        return (self.tonight - self.baseline) * (1 if self.higher_is_better else -1)

    @property
    def bounds(self) -> Range:
        """Least and greatest difference possible."""
        low, high = self.range or (0.0, 1.0)
        return low - high, high - low


def without_pairs(name: UnitName, settings: GateSettings, fault: Fault) -> Pairs:
    """Return a unit that has nothing to compare."""
    none = np.empty(0)
    tolerance = settings.tolerance_of(name.task, name.metric)
    return Pairs(name, tolerance, True, none, none, None, None, Counts(), fault)


def pair(table: ScoreTable, name: UnitName, settings: GateSettings) -> Pairs:
    """Pair the items of one unit.

    Args:
        table: scores of the baseline and of tonight's run, in this order, with names.
    """
    baseline, tonight = table.runs
    if fault := _find_absent(baseline, tonight, name):
        return without_pairs(name, settings, fault)
    entry = tonight.summary["tasks"][name.leaves[0]]["metrics"][name.metric]
    parts = [_pair_leaf(table, leaf, name.metric) for leaf in name.leaves]
    counts = sum((part.counts for part in parts), Counts())
    joined = _join(name, settings, entry["higher_is_better"], parts, counts)
    fault = _find_fault(baseline, tonight, joined, settings, parts)
    judged = replace(joined, fault=fault)
    return replace(
        judged,
        notes=tuple(_tell(baseline, tonight, judged)),
        warnings=(
            *doubt_baseline(baseline, name, settings),
            *doubt_health(tonight, name, "tonight's run"),
            *doubt_size(counts.baseline, counts.baseline - counts.missing),
        ),
    )


# -- one task --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One task's matched items; ``values`` is [2, N], ``judgeable`` [2, N]: answered as asked."""

    values: Floats
    judgeable: NDArray[np.bool_]
    clusters: Clusters
    counts: Counts
    examples: Mapping[Reason, tuple[str, ...]] = field(default_factory=dict)


def _pair_leaf(table: ScoreTable, task: str, metric: str) -> _Leaf:
    scores = table.scores(task, metric)
    found = match(scores)
    if len(found.runs) < 2:  # one of them has no row of this metric
        size = np.bincount(scores.run, minlength=2)
        nothing = np.empty((2, 0))
        counts = Counts(baseline=int(size[0]), tonight=int(size[1]))
        return _Leaf(nothing, nothing.astype(bool), None, counts)
    present = found.rows >= 0
    errored = present & _of_rows(scores, found)
    changed = {(e.run, e.reason): e for e in found.excluded}
    prompts = [e for e in found.excluded if e.reason == "changed prompt"]
    asked_alike = np.ones(found.values.shape[1], dtype=bool)
    if prompts:
        asked_alike = ~np.isin(found.sample_ids, [name for e in prompts for name in e.sample_ids])
    judgeable = present & ~errored & asked_alike
    scored = ~np.isnan(found.values)

    def count(run: int, reason: Reason) -> int:
        return changed[run, reason].count if (run, reason) in changed else 0

    counts = Counts(
        baseline=int(present[0].sum()),
        tonight=int(present[1].sum()),
        compared=int(scored.all(axis=0).sum()),
        errored=int(errored[1].sum()),
        errored_before=int(errored[0].sum()),
        lost=int((scored[0] & ~scored[1] & judgeable[1]).sum()),
        regained=int((scored[1] & ~scored[0] & judgeable[0]).sum()),
        missing=count(1, "missing"),
        new=count(0, "missing"),
        changed_data=max(count(0, "changed data"), count(1, "changed data")),
        changed_prompt=sum(e.count for e in prompts),
    )
    examples: dict[Reason, tuple[str, ...]] = {e.reason: e.sample_ids[:3] for e in found.excluded}
    return _Leaf(found.values, judgeable, found.clusters, counts, examples)


def _of_rows(scores: Scores, found: Matched) -> NDArray[np.bool_]:
    assert scores.errored is not None
    return np.asarray(scores.errored[found.rows], dtype=bool)


# -- a unit of one task or several -----------------------------------------------------------------


def _join(
    name: UnitName,
    settings: GateSettings,
    higher_is_better: bool,
    parts: Sequence[_Leaf],
    counts: Counts,
) -> Pairs:
    values = np.concatenate([part.values for part in parts], axis=1)
    judgeable = np.concatenate([part.judgeable for part in parts], axis=1)
    seen = values[~np.isnan(values)]
    limits = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    span = settings.range_of(name.metric, *limits)
    if settings.unscored == "wrong" and span is not None:
        worst = span[0] if higher_is_better else span[1]
        values = np.where(np.isnan(values) & judgeable, worst, values)
    both = ~np.isnan(values).any(axis=0)
    clusters = join_clusters([(part.values.shape[1], part.clusters) for part in parts])
    return Pairs(
        name=name,
        tolerance=settings.tolerance_of(name.task, name.metric),
        higher_is_better=higher_is_better,
        baseline=values[0, both],
        tonight=values[1, both],
        clusters=None if clusters is None else clusters[both],
        range=span,
        counts=replace(counts, compared=int(both.sum())),
    )


def join_clusters(parts: Sequence[tuple[int, Clusters]]) -> Clusters:
    """Return the clusters of several tasks' items, of which those of different tasks differ.

    Args:
        parts: how many items a task has, and their clusters.
    """
    if all(clusters is None for _, clusters in parts):
        return None
    joined, used = [], 0
    for size, clusters in parts:
        codes = np.arange(size) if clusters is None else clusters
        joined.append(codes + used)
        used += int(codes.max()) + 1 if size else 0
    return np.concatenate(joined)


# -- faults ----------------------------------------------------------------------------------------


def _find_absent(baseline: Run, tonight: Run, name: UnitName) -> Fault | None:
    kinds: tuple[tuple[Run, Kind], ...] = (
        (baseline, "baseline missing"),
        (tonight, "nothing measured"),
    )
    for run, kind in kinds:
        for leaf in name.leaves or (name.task,):
            entry = run.summary["tasks"].get(leaf)
            if entry is None:
                whose = "the baseline" if run is baseline else "the run"
                return Fault(kind, f"{whose} has no task {leaf}", _PIN)
            metric = entry["metrics"].get(name.metric)
            if metric is None:
                return Fault("not comparable", f"{leaf} has no {name.metric} in {run.id}", _PIN)
            if metric.get("aggregation") == "corpus":
                what = f"{name.metric} has a number for all items together, and none for each"
                return Fault("not comparable", what, "name another metric under tolerances:")
    return None


def _find_fault(
    baseline: Run,
    tonight: Run,
    pairs: Pairs,
    settings: GateSettings,
    parts: Sequence[_Leaf],
) -> Fault | None:
    """Return the first reason not to judge, the most basic one first."""
    counts, name = pairs.counts, pairs.name
    for leaf in name.leaves:
        if different := diff_forms(form_of(baseline, leaf), form_of(tonight, leaf)):
            what = "; ".join(f"{each.before} -> {each.after}" for each in different)
            return Fault("form changed", what, f"ask as before, or {_PIN}")
    if counts.changed_data or _has_other_rows(baseline, tonight, pairs):
        examples = _examples(parts, "changed data", "missing")
        what = f"{_other_items(counts)} of {counts.baseline} items{examples}"
        return Fault("data changed", what, "see `llmeval data diff`, then " + _PIN)
    if counts.changed_prompt:
        what = f"{counts.changed_prompt} of {counts.tonight} items"
        what += _examples(parts, "changed prompt")
        return Fault("prompt changed", what, f"ask as before, or {_PIN}")
    if counts.errored > settings.max_errors * counts.tonight:
        what = f"{counts.errored} of {counts.tonight} items got no answer"
        what += _tell_reasons(tonight, name, "errored")
        return Fault("too many errors", what, "the same command asks errored items again")
    if counts.errored_before > settings.max_errors * counts.baseline:
        what = f"in the baseline, {counts.errored_before} of {counts.baseline} got no answer"
        return Fault("too many errors", what, _PIN)
    return _find_unfit(tonight, pairs, settings)


def _find_unfit(tonight: Run, pairs: Pairs, settings: GateSettings) -> Fault | None:
    counts, metric = pairs.counts, pairs.name.metric
    scored = counts.compared + counts.lost
    if settings.unscored == "invalid" and counts.lost > settings.max_coverage_drop * scored:
        what = f"{counts.lost} of {scored} answers could be judged in the baseline and not tonight"
        what += _tell_reasons(tonight, pairs.name, "unscored")
        mend = "see the triage; `unscored: wrong` counts such answers as wrong"
        return Fault("coverage dropped", what, mend)
    if not counts.compared:
        return Fault("nothing measured", "no item has a number in both runs", _PIN)
    if pairs.range is None:
        what = f"{metric} is no share, and its range is not known"
        return Fault("not comparable", what, f"say it: ranges: {{{metric}: [LEAST, GREATEST]}}")
    low, high = pairs.range
    values = np.concatenate([pairs.baseline, pairs.tonight])
    if values.min() < low or values.max() > high:
        what = f"{metric} is {values.min():g} to {values.max():g}, outside [{low:g}, {high:g}]"
        return Fault("not comparable", what, "mend the range under ranges:")
    if pairs.tolerance >= high - low:
        what = f"a tolerance of {pairs.tolerance:g} allows {metric} any drop there can be"
        return Fault("not comparable", what, f"a tolerance is below {high - low:g}")
    return None


def _tell_reasons(run: Run, name: UnitName, status: str) -> str:
    """Return the most frequent reason why items of a unit have no number, as a summary has it."""
    found: Counter[str] = Counter()
    for leaf in name.leaves:
        found.update(run.summary["tasks"][leaf]["metrics"][name.metric].get("not_scored") or {})
    reasons = [(count, reason) for reason, count in found.items() if reason.startswith(status)]
    return f", most often: {max(reasons)[1].partition(': ')[2]}" if reasons else ""


def _other_data(baseline: Run, tonight: Run, name: UnitName) -> bool:
    return any(_digest(baseline, leaf) != _digest(tonight, leaf) for leaf in name.leaves)


def _digest(run: Run, task: str) -> Any:
    data = run.summary["tasks"][task].get("data")
    return data and data.get("fingerprint")


def _has_other_rows(baseline: Run, tonight: Run, pairs: Pairs) -> bool:
    """Whether rows came or went; a lower --limit alone takes some away, a higher one adds some."""
    counts = pairs.counts
    if counts.missing and counts.new:
        return True
    return bool(counts.missing or counts.new) and _other_data(baseline, tonight, pairs.name)


def _other_items(counts: Counts) -> int:
    return max(counts.changed_data + counts.missing, counts.changed_data + counts.new)


def _examples(parts: Sequence[_Leaf], *reasons: Reason) -> str:
    names = [id for part in parts for r in reasons for id in part.examples.get(r, ())]
    return f", e.g. {', '.join(names[:3])}" if names else ""


def _tell(baseline: Run, tonight: Run, pairs: Pairs) -> list[str]:
    counts, notes = pairs.counts, []
    if counts.missing or counts.new:
        both = counts.baseline - counts.missing
        unscored = f" ({counts.compared} with a number in both)" if counts.compared < both else ""
        notes.append(
            f"{'1 item is' if both == 1 else f'{both} items are'} in both{unscored}: the baseline"
            f" has {counts.missing} more, this run {counts.new}"
        )
    if counts.lost or counts.regained:
        notes.append(
            f"{counts.lost} answers could be judged in the baseline only,"
            f" {counts.regained} only now"
        )
    if counts.errored and not pairs.fault:
        notes.append(f"{counts.errored} items got no answer")
    if counts.errored_before and not pairs.fault:
        notes.append(f"{counts.errored_before} items got no answer in the baseline")
    if _other_data(baseline, tonight, pairs.name) and not pairs.fault:
        notes.append("the data set changed, the items that were asked did not")
    return notes
