"""Comparing runs: the first is the baseline, every other one is held against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmeval.core import UsageError
from llmeval.reports.compare.comparison import (
    ALPHA,
    POWER,
    Comparison,
    Contestant,
    Excluded,
    FormDifference,
    Pair,
    Row,
    Test,
)
from llmeval.reports.compare.flips import find_flips, tell_flips
from llmeval.reports.compare.forms import compare_forms, compare_settings, tell_difference
from llmeval.reports.compare.measures import measure_group, measure_task
from llmeval.reports.compare.pairs import Pairs, pair_items
from llmeval.reports.compare.selection import Entry, Wanted, select
from llmeval.reports.compare.verdicts import judge
from llmeval.reports.formats import some_of
from llmeval.reports.scores import read_scores
from llmeval.runs import Run
from llmeval.stats import holm, minimum_detectable_effect, planned_n
from llmeval.stats.intervals import Estimate

ACROSS = "--across-forms compares them anyway, and marks it"


@dataclass(frozen=True, slots=True)
class Options:
    """How to compare.

    Args:
        wanted: which tasks and metrics.
        across_forms: compare items by their data alone, however they were asked.
        partial: take interrupted runs, too.
        examples: flips of each headline to tell in full, in each direction.
    """

    wanted: Wanted = field(default_factory=Wanted)
    across_forms: bool = False
    partial: bool = False
    examples: int = 2


def compare_runs(runs: Sequence[Run], options: Options | None = None) -> Comparison:
    """Compare runs with the first of them, item by item.

    Raises:
        UsageError: fewer than two runs, one named twice, one that is not complete, different
            prompt forms, or nothing in common.
    """
    options = options or Options()
    if len(runs) < 2:
        raise UsageError("there is nothing to compare", mend="name two runs or more")
    _check_distinct(runs)
    for run in runs:
        _check_status(run, options.partial)
    contestants = _introduce(runs)
    pairs = [
        _Comparing(runs[0], run, contestants[0], contestant, options).pair()
        for run, contestant in zip(runs[1:], contestants[1:], strict=True)
    ]
    return Comparison(contestants[0], tuple(pairs), options.across_forms)


def _check_distinct(runs: Sequence[Run]) -> None:
    seen = set()
    for run in runs:
        path = run.path.resolve()
        if path in seen:
            what = "the same run is named twice: there is nothing to compare"
            raise UsageError(what, where=run.id)
        seen.add(path)


def _check_status(run: Run, partial: bool) -> None:
    if run.status == "complete" or (run.status == "interrupted" and partial):
        return
    if run.status == "interrupted":
        mend = "give its command again, and it continues; --partial compares what there is"
        raise UsageError("the run was interrupted", where=run.id, mend=mend)
    mend = "its result must not be used; see its `not_scored`, and run it again"
    raise UsageError(f"the run is {run.status}", where=run.id, mend=mend)


def _introduce(runs: Sequence[Run]) -> list[Contestant]:
    names = [str(run.summary["model"]["name"]) for run in runs]
    counts = Counter(names)
    return [
        Contestant(
            run_id=run.id,
            path=str(run.path),
            label=name if counts[name] == 1 else f"{name} ({run.id})",
            model=name,
            fingerprint=run.summary["model"].get("fingerprint"),
            status=run.status,
            usage=run.summary.get("usage") or {},
            seconds=run.summary.get("seconds") or {},
        )
        for run, name in zip(runs, names, strict=True)
    ]


class _Comparing:
    """The baseline with one challenger."""

    def __init__(
        self,
        baseline: Run,
        challenger: Run,
        ours: Contestant,
        theirs: Contestant,
        options: Options,
    ) -> None:
        self._runs = baseline, challenger
        self._sides = ours, theirs
        self._options = options
        self._pairs: dict[tuple[str, str], Pairs] = {}

    def pair(self) -> Pair:
        """Return all that is to be said of the two."""
        baseline, challenger = self._runs
        try:
            entries, without = select(baseline, challenger, self._options.wanted)
        except UsageError as error:
            raise self._name_sides(error) from error
        leaves = list(dict.fromkeys(leaf for entry in entries for leaf in entry.leaves))
        forms = compare_forms(baseline, challenger, leaves)
        if forms and not self._options.across_forms:
            raise self._refuse_forms(forms)
        self._table = read_scores(self._runs, tasks=leaves, names=True)
        self._formed = {task for form in forms for task in form.tasks}
        rows = [self._row(entry, metric) for entry in entries for metric in entry.metrics]
        self._check_common(rows)
        tasks = [list(run.summary["tasks"]) for run in self._runs]
        return Pair(
            challenger=self._sides[1],
            rows=tuple(_decide(rows)),
            forms=tuple(forms),
            only_baseline=tuple(task for task in tasks[0] if task not in tasks[1]),
            only_challenger=tuple(task for task in tasks[1] if task not in tasks[0]),
            notes=tuple(self._list_notes(entries, without)),
        )

    def _row(self, entry: Entry, metric: str) -> Row:
        parts = [self._pair_items(leaf, metric) for leaf in entry.leaves if self._has(leaf, metric)]
        if entry.is_group:
            by_size = self._group_row(entry.name, metric)["aggregation"] != "unweighted"
            measure = measure_group(parts, weight_by_size=by_size)
            aggregation = "weighted by size" if by_size else "unweighted"
        else:
            measure, aggregation = measure_task(parts[0]), parts[0].aggregation
        flips = None
        if measure.values is not None:
            headline = entry.parent is None
            examples = self._options.examples if headline else 0
            flips, keys = find_flips(parts, measure.values, examples=examples)
            flips = tell_flips(self._runs, metric, flips, keys)
        return Row(
            name=entry.name,
            metric=metric,
            is_group=entry.is_group,
            parent=entry.parent,
            depth=entry.depth,
            higher_is_better=parts[0].higher_is_better,
            aggregation=aggregation,
            n=measure.n,
            common=measure.common,
            baseline=measure.baseline,
            challenger=measure.challenger,
            difference=measure.difference,
            test=Test(
                measure.test, measure.p, None, "headline" if entry.parent is None else "subtasks"
            ),
            mde=_find_mde(measure.difference),
            needed_n=_find_needed_n(measure.difference),
            flips=flips,
            excluded=_merge_excluded(parts),
            across=any(part.task in self._formed or part.asked_otherwise for part in parts),
            verdict="not estimable",
            why="",
        )

    def _has(self, leaf: str, metric: str) -> bool:
        return all(metric in run.summary["tasks"][leaf]["metrics"] for run in self._runs)

    def _group_row(self, group: str, metric: str) -> dict[str, str]:
        row: dict[str, str] = self._runs[0].summary["groups"][group]["metrics"][metric]
        return row

    def _pair_items(self, leaf: str, metric: str) -> Pairs:
        key = leaf, metric
        if key not in self._pairs:
            across = self._options.across_forms
            self._pairs[key] = pair_items(self._table, leaf, metric, across_forms=across)
        return self._pairs[key]

    # -- refusals --

    @property
    def _both(self) -> str:
        return f"{self._sides[0].label} and {self._sides[1].label}"

    def _name_sides(self, error: UsageError) -> UsageError:
        where = f"{error.where}: {self._both}" if error.where else self._both
        return UsageError(error.what, where=where, mend=error.mend)

    def _refuse_forms(self, forms: Sequence[FormDifference]) -> UsageError:
        told = "; ".join(tell_difference(form) for form in forms[:3])
        more = f"; and {len(forms) - 3} more" if len(forms) > 3 else ""
        what = f"they were asked in different forms: {told}{more}"
        return UsageError(what, where=self._both, mend=ACROSS)

    def _check_common(self, rows: Sequence[Row]) -> None:
        """Refuse where no row has a common item."""
        if any(row.n for row in rows):
            return
        reasons: Counter[str] = Counter()
        for row in rows:
            for found in row.excluded:
                reasons[found.reason] += found.count
        told = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())
        what = f"no item in common: {told or 'nothing was evaluated'}"
        asked = "changed prompt" in reasons
        mend = ACROSS if asked else "`llmeval data diff` tells how two data sets differ"
        if set(reasons) == {"not scored"}:
            mend = "see `reason` in each run's scores.parquet"
        raise UsageError(what, where=self._both, mend=mend)

    # -- notes --

    def _list_notes(self, entries: Sequence[Entry], without: Sequence[str]) -> list[str]:
        ours, theirs = self._sides
        notes = []
        if ours.fingerprint and ours.fingerprint == theirs.fingerprint:
            how = "how it was asked, or decoding noise" if self._formed else "decoding noise"
            notes.append(
                f"Both runs are of the same model, by its fingerprint: it differs by {how}."
            )
        notes += [
            f"{side.label} was interrupted: only the items that it came to are compared."
            for side in self._sides
            if side.status != "complete"
        ]
        notes += [f"{told}." for told in compare_settings(*self._runs)]
        notes += [
            f"{entry.name} is compared without {some_of(entry.lacking)}: only one run has them."
            for entry in entries
            if entry.lacking
        ]
        otherwise = {p.task: p.asked_otherwise for p in self._pairs.values() if p.asked_otherwise}
        notes += [
            f"{task}: {count:,} items were asked in other words."
            for task, count in otherwise.items()
        ]
        if without:
            notes.append(f"Without such a metric in both runs: {some_of(without)}.")
        return notes


def _find_mde(difference: Estimate) -> float | None:
    if not difference.stderr:
        return None
    return minimum_detectable_effect(difference.stderr, alpha=ALPHA, power=POWER)


def _find_needed_n(difference: Estimate) -> int | None:
    """Clusters and strata are taken to stay as they are: the design effect is in the spread."""
    if not difference.stderr or not difference.value:
        return None
    spread = difference.stderr * difference.n**0.5
    return planned_n(spread, difference.value, alpha=ALPHA, power=POWER)


def _merge_excluded(parts: Sequence[Pairs]) -> tuple[Excluded, ...]:
    if len(parts) == 1:
        return parts[0].excluded
    merged: dict[tuple[str, str], Excluded] = {}
    for part in parts:
        for found in part.excluded:
            names = tuple(f"{part.task}/{name}" for name in found.sample_ids)
            key = found.side, found.reason
            known = merged.get(key, replace(found, count=0, sample_ids=()))
            merged[key] = replace(
                known, count=known.count + found.count, sample_ids=known.sample_ids + names
            )
    return tuple(merged.values())


def _decide(rows: Sequence[Row]) -> list[Row]:
    """Adjust the p-values of each family and say what they come to."""
    decided = list(rows)
    for family in ("headline", "subtasks"):
        places = [i for i, row in enumerate(rows) if row.test.family == family]
        adjusted = holm([rows[i].test.p for i in places])
        for place, p in zip(places, adjusted, strict=True):
            row = replace(rows[place], test=replace(rows[place].test, p_holm=p))
            verdict, why = judge(row, len(places))
            decided[place] = replace(row, verdict=verdict, why=why)
    return decided
