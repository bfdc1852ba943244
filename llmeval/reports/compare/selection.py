"""Which tasks, groups and metrics are compared, and in which order they stand."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmeval.core import UsageError
from llmeval.reports.formats import some_of
from llmeval.runs import Run

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A task or group that both runs have.

    Attributes:
        metrics: those that are compared.
        leaves: the tasks it is made of: itself, or those in the group that both runs have.
        lacking: tasks of the group that only one run has.
        parent: the top-level group above it, None for a headline.
        depth: how many groups stand above it.
    """

    name: str
    is_group: bool
    metrics: tuple[str, ...]
    leaves: tuple[str, ...]
    lacking: tuple[str, ...]
    parent: str | None
    depth: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare: all tasks by their main metric, unless names or patterns are given."""

    tasks: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    all_metrics: bool = False


def select(baseline: Run, challenger: Run, wanted: Wanted) -> tuple[list[Entry], list[str]]:
    """Return what both runs have of what is wanted, and the tasks without such a metric.

    Groups stand before what is in them.

    Raises:
        UsageError: a name is not known, or nothing is left.
    """
    ours, theirs = baseline.summary, challenger.summary
    if not set(ours["tasks"]) & set(theirs["tasks"]):
        sides = f"{some_of(ours['tasks'])} against {some_of(theirs['tasks'])}"
        raise UsageError(f"the runs share no task: {sides}")
    if wanted.tasks is not None:
        wanted = replace(wanted, tasks=_choose_tasks(ours, theirs, wanted.tasks))
    found = list(_Walk(ours, theirs, wanted).entries())
    if lacking := [t for t in wanted.tasks or () if t not in {entry.name for entry in found}]:
        raise UsageError(f"only one of the runs has {some_of(lacking)}", where="--tasks")
    entries = [entry for entry in found if entry.metrics]
    if wanted.metrics is not None:
        keys = [*_all_metrics(ours), *_all_metrics(theirs)]
        _check_names("metric", wanted.metrics, [*keys, *map(_bare, keys)], "--metric")
    if not entries:
        raise UsageError("the runs share no metric", where=some_of([e.name for e in found]))
    return entries, [e.name for e in found if not e.metrics and not e.is_group]


def _choose_tasks(ours: Summary, theirs: Summary, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tasks and groups that are named, or fit a pattern and are in both runs.

    Raises:
        UsageError: a name is not known, or nothing fits.
    """
    first, second = ([*s["groups"], *s["tasks"]] for s in (ours, theirs))
    chosen: list[str] = []
    for name in names:
        fitting = [one for one in first if one in second and fnmatch.fnmatchcase(one, name)]
        if not fitting:
            _check_names("task", [name], [*first, *second], "--tasks")
        chosen += fitting or [name]
    return tuple(dict.fromkeys(chosen))


class _Walk:
    """From the top groups down: each with what is in it, then tasks of no group."""

    def __init__(self, ours: Summary, theirs: Summary, wanted: Wanted) -> None:
        self._ours, self._theirs, self._wanted = ours, theirs, wanted
        self._seen: set[str] = set()

    def entries(self) -> Iterator[Entry]:
        groups, tasks = self._ours["groups"], self._ours["tasks"]
        inner = {member for group in groups.values() for member in group["tasks"]}
        tops = [name for name in [*groups, *tasks] if name not in inner]
        # Then all others: groups that hold one another have no top.
        for name in [*tops, *groups, *tasks]:
            yield from self._visit(name, (), None, 0, self._wanted.tasks is None)

    def _visit(
        self, name: str, above: tuple[str, ...], root: str | None, depth: int, chosen: bool
    ) -> Iterator[Entry]:
        kind = "groups" if name in self._ours["groups"] else "tasks"
        if name in self._seen or name in above or name not in self._ours[kind]:
            return
        chosen = chosen or name in (self._wanted.tasks or ())
        if chosen:
            self._seen.add(name)
            if name in self._theirs[kind]:
                entry = self._make_entry(name, kind, root, depth)
                yield entry
                if entry.metrics:
                    root, depth = root or name, depth + 1
        if kind == "groups":  # inner groups first: they sum up what comes after them
            members = self._ours["groups"][name]["tasks"]
            for member in sorted(members, key=lambda member: member not in self._ours["groups"]):
                yield from self._visit(member, (*above, name), root, depth, chosen)

    def _make_entry(self, name: str, kind: str, root: str | None, depth: int) -> Entry:
        leaves = list(dict.fromkeys(_leaves(self._ours, name)))
        both = tuple(leaf for leaf in leaves if leaf in self._theirs["tasks"])
        every = dict.fromkeys([*leaves, *_leaves(self._theirs, name)])
        return Entry(
            name=name,
            is_group=kind == "groups",
            metrics=self._choose(self._ours[kind][name], self._theirs[kind][name]),
            leaves=both,
            lacking=tuple(leaf for leaf in every if leaf not in both),
            parent=root,
            depth=depth,
        )

    def _choose(self, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the metrics to compare: by default the first of those that both have."""
        both = [metric for metric in ours["metrics"] if metric in theirs["metrics"]]
        if (names := self._wanted.metrics) is not None:
            return tuple(metric for metric in both if {metric, _bare(metric)} & set(names))
        return tuple(both if self._wanted.all_metrics else both[:1])


def _leaves(summary: Summary, name: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    if name in summary["groups"]:
        for member in summary["groups"][name]["tasks"]:
            if member not in above:
                yield from _leaves(summary, member, (*above, name))
    elif name in summary["tasks"]:
        yield name


def _bare(metric: str) -> str:
    """Return a metric's name without its filter."""
    return metric.partition(",")[0]


def _all_metrics(summary: Summary) -> Iterator[str]:
    for kind in ("groups", "tasks"):
        for entry in summary[kind].values():
            yield from entry["metrics"]


def _check_names(what: str, names: Sequence[str], known: Iterable[str], where: str) -> None:
    known = list(dict.fromkeys(known))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else f"known: {some_of(known)}"
            raise UsageError(f"no such {what} in the runs: {name!r}", where=where, mend=mend)
