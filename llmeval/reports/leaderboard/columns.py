"""Which columns a leaderboard has: one metric of every task and group, apart for every form."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmeval.core import UsageError
from llmeval.reports.forms import PromptForm, tell_apart
from llmeval.reports.leaderboard.board import Column
from llmeval.reports.leaderboard.entries import Entry, Human, Measured

# Percentages and scales without an upper end: no average with shares between 0 and 1.
_OTHER_SCALE = re.compile(r"bleu|chrf|ter$|rouge|perplexity|bits_per|likelihood|wer$|cer$", re.I)

Forms = Mapping[tuple[str, PromptForm], PromptForm]
"""From a task and a form as one run recorded it to the form that its column stands for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns, and in which of them a run's numbers belong."""

    columns: tuple[Column, ...]
    forms: Forms

    def place(self, entry: Entry, column: Column) -> Measured | None:
        """Return a run's number in a column, None where it has none in this form."""
        task = entry.tasks.get(column.task)
        if task is None or self.forms.get((task.name, task.form)) != column.form:
            return None
        return task.metrics.get(column.metric)


def lay_out(
    entries: Sequence[Entry], tasks: Sequence[str] | None = None, metrics: Sequence[str] = ()
) -> Layout:
    """Choose the columns.

    Args:
        entries: newest first; columns stand in the order of the newest run's tasks.
        tasks: names and patterns of the tasks and groups that are wanted; all if None.
        metrics: ``acc_norm`` for every task that has it, ``hellaswag=acc_norm`` for one.

    Raises:
        UsageError: no run has such a task or metric.
    """
    tree = _Tree(entries)
    wanted = _select(list(tree.parents), tasks)
    chosen = _choose_metrics(entries, tree, metrics)
    forms = _merge_forms(entries)
    columns = []
    for name in tree.parents:
        parent = next((group for group in tree.above(name) if group in wanted), None)
        if parent is not None and name in tree.above(parent):
            parent = None  # groups that hold one another have no top
        if name in wanted or parent is not None:
            columns += _make_columns(entries, name, parent, chosen[name], forms, tree)
    return Layout(tuple(_mark_averaged(columns, entries, forms)), forms)


class _Tree:
    """Which groups hold which tasks, in any of the runs.

    Attributes:
        parents: from every task and group, in the order of the columns, to the groups that hold it.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.members: dict[str, dict[str, None]] = {}
        holders: dict[str, set[str]] = {}
        for entry in entries:
            for task in entry.tasks.values():
                for member in task.members or ():
                    self.members.setdefault(task.name, {})[member] = None
                    # A group without numbers of its own folds nothing.
                    if task.metrics and member in entry.tasks:
                        holders.setdefault(member, set()).add(task.name)
        named = {name for entry in entries for name, task in entry.tasks.items() if task.metrics}
        alone = {
            name
            for entry in entries
            for name in entry.tasks
            if not any(group in entry.tasks for group in holders.get(name, ()))
        }
        order = dict.fromkeys(
            name for entry in entries for name in self._walk(entry) if name in named
        )
        self.parents: dict[str, list[str]] = {
            name: [] if name in alone else sorted(holders.get(name, set()) & named)
            for name in order
        }

    def _walk(self, entry: Entry) -> Iterator[str]:
        """Yield groups, each with what is in it, then the tasks of no group."""
        seen: set[str] = set()
        inner = {m for task in entry.tasks.values() for m in task.members or ()}
        tops = [name for name in entry.tasks if name not in inner]
        waiting = [*reversed([*tops, *entry.tasks])]  # the second time: groups in a circle
        while waiting:
            name = waiting.pop()
            if name in seen or name not in entry.tasks:
                continue
            seen.add(name)
            yield name
            waiting += reversed(entry.tasks[name].members or ())

    def above(self, name: str) -> Iterator[str]:
        """Yield the groups above a task, the nearest first."""
        seen: set[str] = {name}
        waiting = list(self.parents.get(name, ()))
        while waiting:
            group = waiting.pop(0)
            if group not in seen:
                seen.add(group)
                yield group
                waiting += self.parents.get(group, ())

    def leaves(self, group: str) -> tuple[str, ...]:
        """Return the tasks below a group."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [group]
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            if name in self.members:
                waiting += self.members[name]
            else:
                found[name] = None
        return tuple(found)


def _select(known: Sequence[str], patterns: Sequence[str] | None) -> set[str]:
    if patterns is None:
        return set(known)
    wanted: set[str] = set()
    for pattern in patterns:
        found = [name for name in known if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not found:
            near = difflib.get_close_matches(pattern, known, n=3)
            guess = f"did you mean {', '.join(near)}?" if near else f"there are {_some(known)}"
            raise UsageError("no run has such a task", where=f"--tasks {pattern}", mend=guess)
        wanted.update(found)
    return wanted


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


# -- metrics ---------------------------------------------------------------------------------------


def _choose_metrics(entries: Sequence[Entry], tree: _Tree, wished: Sequence[str]) -> dict[str, str]:
    """Return the main metric of every task: the one wished for, that of its group, or its first
    share that is better when higher."""
    known: dict[str, dict[str, Measured]] = {name: {} for name in tree.parents}
    for entry in entries:
        for name, task in entry.tasks.items():
            for metric, measured in task.metrics.items():
                known.get(name, {}).setdefault(metric, measured)
    wishes = _read_wishes(wished, known)
    chosen: dict[str, str] = {}
    for name in sorted(known, key=lambda name: name not in tree.members):  # groups first
        metrics = known[name]
        of_groups = [chosen[group] for group in tree.above(name) if group in chosen]
        shares = [m for m, row in metrics.items() if row.higher_is_better and not _other_scale(m)]
        options = [*wishes.get(name, ()), *wishes.get("", ()), *of_groups, *shares, *metrics]
        chosen[name] = next(metric for metric in options if metric in metrics)
    return chosen


def _read_wishes(
    wished: Sequence[str], known: Mapping[str, Mapping[str, Measured]]
) -> dict[str, list[str]]:
    """Return wishes by task; those for every task under ""."""
    wishes: dict[str, list[str]] = {}
    for wish in wished:
        task, given, metric = wish.partition("=")
        name, metric = (task, metric) if given else ("", task)
        there = (
            known.get(name, {})
            if name
            else {m: row for rows in known.values() for m, row in rows.items()}
        )
        if metric not in there:
            what = f"no run has the metric {metric!r}" + (f" of {name!r}" if name else "")
            mend = f"there are {_some(list(there))}" if there else "name a task of the runs"
            raise UsageError(what, where=f"--metric {wish}", mend=mend)
        wishes.setdefault(name, []).append(metric)
    return wishes


def _other_scale(metric: str) -> bool:
    return bool(_OTHER_SCALE.search(metric.partition(",")[0]))


# -- forms -----------------------------------------------------------------------------------------


def _merge_forms(entries: Sequence[Entry]) -> dict[tuple[str, PromptForm], PromptForm]:
    """Give a form whose data are not known the place of the one known form that is else equal.

    Whether the items are really the same, their contents tell when they are compared.
    """
    counts = Counter((name, task.form) for entry in entries for name, task in entry.tasks.items())
    merged = {}
    for name, form in counts:
        same = [
            other
            for task, other in counts
            if task == name and other.data is not None and replace(other, data=None) == form
        ]
        best = max(same, key=lambda other: counts[name, other], default=form)
        merged[name, form] = best if form.data is None else form
    return merged


def _make_columns(
    entries: Sequence[Entry],
    name: str,
    parent: str | None,
    metric: str,
    forms: Forms,
    tree: _Tree,
) -> list[Column]:
    """Return a column for each form of a task; the form that most runs have comes first."""
    by_form: dict[PromptForm, list[Measured]] = {}
    humans: dict[PromptForm, Human] = {}
    for entry in entries:
        task = entry.tasks.get(name)
        if task is not None and metric in task.metrics:
            form = forms[name, task.form]
            by_form.setdefault(form, []).append(task.metrics[metric])
            if task.human and task.human.metric == metric:
                humans.setdefault(form, task.human)
    labels = tell_apart(by_form)
    columns = []
    for form, rows in sorted(by_form.items(), key=lambda item: -len(item[1])):
        label = labels[form]
        kinds = {row.aggregation for row in rows}
        columns.append(
            Column(
                key=f"{name} {metric}" + (f" ({label})" if label else ""),
                task=name,
                metric=metric,
                form=form,
                label=label,
                higher_is_better=rows[0].higher_is_better,
                parent=parent,
                leaves=tree.leaves(name) if name in tree.members else (),
                by_size={"weighted by size": True, "unweighted": False}.get(kinds.pop() or "")
                if len(kinds) == 1
                else None,
                human=humans.get(form),
            )
        )
    return columns


def usual_n(rows: Iterable[Measured]) -> int:
    """Return how many samples most rows have; the largest of several such numbers."""
    counts = Counter(row.n for row in rows)
    return max(counts, key=lambda n: (counts[n], n))


def _mark_averaged(
    columns: Sequence[Column], entries: Sequence[Entry], forms: Forms
) -> Iterator[Column]:
    """The average is over top columns, one for each task, that are shares, better when higher."""
    seen: set[str] = set()
    layout = Layout((), forms)
    for column in columns:
        values = [m.value for entry in entries if (m := layout.place(entry, column)) is not None]
        shares = all(value is None or 0 <= value <= 1 for value in values)
        if column.parent is not None:
            why: str | None = f"a part of {column.parent}"
        elif not column.higher_is_better:
            why = "lower is better"
        elif _other_scale(column.metric) or not shares:
            why = "not a share between 0 and 1"
        elif column.task in seen:
            why = "another form of asking than that of most runs"
        else:
            why = None
            seen.add(column.task)
        yield replace(column, averaged=why is None, not_averaged=why)
