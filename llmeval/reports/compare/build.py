"""Comparing runs: the first is the baseline, every other one is held against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmeval.core import UsageError
from llmeval.reports.compare.comparison import (
    Comparison,
    Contestant,
    Flips,
    FormDifference,
    Pair,
    Row,
)
from llmeval.reports.compare.flips import Keys, find_flips, tell_flips
from llmeval.reports.compare.forms import SAMPLING, compare_forms, tell_difference
from llmeval.reports.compare.measures import measure_group, measure_task
from llmeval.reports.compare.pairs import Pairs, pair_items
from llmeval.reports.compare.rows import decide, make_row
from llmeval.reports.compare.selection import Entry, Wanted, select
from llmeval.reports.formats import some_of
from llmeval.reports.scores import read_scores
from llmeval.runs import Run

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
    check_runs(runs, partial=options.partial)
    contestants = introduce(runs)
    pairs = [
        Comparing((runs[0], run), (contestants[0], contestant), options).pair()
        for run, contestant in zip(runs[1:], contestants[1:], strict=True)
    ]
    return Comparison(contestants[0], tuple(pairs), options.across_forms)


def check_runs(runs: Sequence[Run], *, partial: bool) -> None:
    """Refuse a run that is named twice, or is not complete.

    Raises:
        UsageError: one is.
    """
    seen = set()
    for run in runs:
        _check_status(run, partial)
        path = run.path.resolve()
        if path in seen:
            what = "the same run is named twice: there is nothing to compare"
            raise UsageError(what, where=run.id)
        seen.add(path)


def _check_status(run: Run, partial: bool) -> None:
    if run.status == "complete":
        return
    if run.status == "interrupted":
        mend = "give its command again, and it continues"
        if not any(task["n"] for task in run.summary["tasks"].values()):
            what = "the run was interrupted before its first item was done"
            raise UsageError(what, where=run.id, mend=mend)
        if partial:
            return
        mend += "; --partial compares what there is"
        raise UsageError("the run was interrupted", where=run.id, mend=mend)
    mend = "its result must not be used; see its `not_scored`, and run it again"
    raise UsageError(f"the run is {run.status}", where=run.id, mend=mend)


def introduce(runs: Sequence[Run]) -> list[Contestant]:
    """Return runs by their names, which no two have in common."""
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


class Comparing:
    """The baseline with one challenger."""

    def __init__(
        self, runs: tuple[Run, Run], sides: tuple[Contestant, Contestant], options: Options
    ) -> None:
        self.runs, self.sides = runs, sides
        self._options = options
        self._pairs: dict[tuple[str, str], Pairs] = {}

    def prepare(self) -> tuple[list[Entry], list[str]]:
        """Choose what to compare, and read it; see `select`.

        Raises:
            UsageError: nothing is left, or it was asked in different forms.
        """
        try:
            entries, without = select(*self.runs, self._options.wanted)
        except UsageError as error:
            raise self._name_sides(error) from error
        leaves = list(dict.fromkeys(leaf for entry in entries for leaf in entry.leaves))
        different = compare_forms(*self.runs, leaves)
        self._sampling = [form for form in different if form.aspect == SAMPLING]
        self._forms = [form for form in different if form.aspect != SAMPLING]
        if self._forms and not self._options.across_forms:
            raise self._refuse_forms(self._forms)
        self._table = read_scores(self.runs, tasks=leaves, names=True)
        self._formed = {task for form in self._forms for task in form.tasks}
        return entries, without

    def pair(self) -> Pair:
        """Return all that is to be said of the two.

        Raises:
            UsageError: as `prepare`, or there is no item in common.
        """
        entries, without = self.prepare()
        found = [
            row
            for entry in entries
            for metric in entry.metrics
            if (row := self._row(entry, metric)) is not None
        ]
        self._check_common([row for row, _ in found])
        rows = tell_flips(self.runs, found)
        tasks = [list(run.summary["tasks"]) for run in self.runs]
        return Pair(
            challenger=self.sides[1],
            rows=tuple(decide(rows)),
            forms=tuple(self._forms),
            only_baseline=tuple(task for task in tasks[0] if task not in tasks[1]),
            only_challenger=tuple(task for task in tasks[1] if task not in tasks[0]),
            notes=tuple(self._list_notes(entries, without)),
        )

    def pair_items(self, task: str, metric: str) -> Pairs:
        """Return the common items of a task that was chosen."""
        key = task, metric
        if key not in self._pairs:
            across = self._options.across_forms
            self._pairs[key] = pair_items(self._table, task, metric, across_forms=across)
        return self._pairs[key]

    def _row(self, entry: Entry, metric: str) -> tuple[Row, list[Keys]] | None:
        """Return a row, and the names of its flips' examples, which are not yet told.

        None for a group of whose tasks none has the metric in both runs.
        """
        leaves = [leaf for leaf in entry.leaves if self._count(leaf, metric) == 2]
        parts = [self.pair_items(leaf, metric) for leaf in leaves]
        if not parts:
            return None
        aggregation = parts[0].aggregation
        if entry.is_group:
            by_size = self._group_row(entry.name, metric)["aggregation"] != "unweighted"
            measure = measure_group(parts, weight_by_size=by_size)
            aggregation = "weighted by size" if by_size else "unweighted"
        else:
            measure = measure_task(parts[0])
        flips: Flips | None = None
        keys: list[Keys] = []
        if measure.values is not None:
            examples = self._options.examples if entry.parent is None else 0
            flips, keys = find_flips(parts, measure.values, examples=examples)
        row = make_row(entry.name, parts, measure, flips, across=self.is_across(parts))
        row = replace(
            row,
            is_group=entry.is_group,
            parent=entry.parent,
            depth=entry.depth,
            aggregation=aggregation,
            test=replace(row.test, family="headline" if entry.parent is None else "subtasks"),
        )
        return row, keys

    def is_across(self, parts: Sequence[Pairs]) -> bool:
        """Return whether any items were asked in different forms."""
        return any(part.task in self._formed or part.asked_otherwise > 0 for part in parts)

    def _count(self, leaf: str, metric: str) -> int:
        """Return how many of the two runs have a task's metric."""
        return sum(metric in run.summary["tasks"][leaf]["metrics"] for run in self.runs)

    def _group_row(self, group: str, metric: str) -> dict[str, str]:
        row: dict[str, str] = self.runs[0].summary["groups"][group]["metrics"][metric]
        return row

    # -- refusals --

    @property
    def _both(self) -> str:
        return f"{self.sides[0].label} and {self.sides[1].label}"

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
        elif set(reasons) == {"missing"} and any(s.status != "complete" for s in self.sides):
            mend = "a run was interrupted before it came to them: its command continues it"
        raise UsageError(what, where=self._both, mend=mend)

    # -- notes --

    def _list_notes(self, entries: Sequence[Entry], without: Sequence[str]) -> list[str]:
        ours, theirs = self.sides
        notes = []
        if ours.fingerprint and ours.fingerprint == theirs.fingerprint:
            how = "how it was asked, or decoding noise" if self._formed else "decoding noise"
            notes.append(
                f"Both runs are of the same model, by its fingerprint: it differs by {how}."
            )
        notes += [
            f"{side.label} was interrupted: only the items that it came to are compared."
            for side in self.sides
            if side.status != "complete"
        ]
        notes += [f"Sampling differs: {tell_difference(form)}." for form in self._sampling]
        notes += [
            f"{entry.name} is compared without {some_of(entry.lacking)}: only one run has them."
            for entry in entries
            if entry.lacking
        ]
        notes += [
            f"{entry.name} {metric} is compared without {some_of(gone)}: only one run has it there."
            for entry in entries
            for metric in entry.metrics
            if (gone := [leaf for leaf in entry.leaves if self._count(leaf, metric) == 1])
        ]
        otherwise = {p.task: p.asked_otherwise for p in self._pairs.values() if p.asked_otherwise}
        notes += [
            f"{task}: {count:,} items were asked in other words."
            for task, count in otherwise.items()
        ]
        if without:
            notes.append(f"Without such a metric in both runs: {some_of(without)}.")
        return notes
