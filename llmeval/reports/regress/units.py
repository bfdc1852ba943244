"""What is judged: a metric of each task, or of the group that tasks stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.core import UsageError
from llmeval.reports.regress.settings import GateSettings
from llmeval.runs import Run


@dataclass(frozen=True, slots=True)
class UnitName:
    """What gets a verdict.

    Args:
        task: a task, or a group with a number of its own, whose items are pooled.
        leaves: the tasks that the items are from.
    """

    task: str
    metric: str
    leaves: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.task} {self.metric}"


def choose_units(run: Run, settings: GateSettings, tasks: Sequence[str] = ()) -> list[UnitName]:
    """Return the units of a run, in its order.

    Args:
        tasks: only these tasks or groups; all by default.

    Raises:
        UsageError: a task or metric is named that the run does not have.
    """
    entries = {**run.summary["tasks"], **(run.summary.get("groups") or {})}
    names = list(_judged(run.summary))
    for name in [*tasks, *settings.tolerances]:
        if name not in names:
            raise _unknown(name, names, entries, run)
    kept = [name for name in names if not tasks or name in tasks]
    return [
        UnitName(name, metric, tuple(_leaves(name, run.summary)))
        for name in kept
        for metric in _metrics(name, entries[name], settings, run)
    ]


def _judged(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield groups that have a number and stand in no other, and the tasks in none of them."""
    groups = summary.get("groups") or {}
    inner = {member for group in groups.values() for member in group["tasks"]}
    for top in [*(g for g in groups if g not in inner), *summary["tasks"]]:
        if top in groups or top not in inner:
            yield from _open(top, groups)


def _open(name: str, groups: Mapping[str, Any]) -> Iterator[str]:
    if name not in groups or groups[name]["metrics"]:
        yield name
        return
    for member in groups[name]["tasks"]:
        yield from _open(member, groups)


def _leaves(name: str, summary: Mapping[str, Any]) -> Iterator[str]:
    groups = summary.get("groups") or {}
    if name in groups:
        for member in groups[name]["tasks"]:
            yield from _leaves(member, summary)
    elif name in summary["tasks"]:
        yield name


def _metrics(
    name: str, entry: Mapping[str, Any], settings: GateSettings, run: Run
) -> tuple[str, ...]:
    wanted = settings.metrics_of(name) or tuple(entry["metrics"])[:1]
    for metric in wanted:
        if metric not in entry["metrics"]:
            known = ", ".join(entry["metrics"])
            what = f"{name} has no metric {metric!r}"
            raise UsageError(what, where=str(run.path), mend=f"its metrics: {known}")
    return wanted


def _unknown(name: str, names: Sequence[str], entries: Mapping[str, Any], run: Run) -> UsageError:
    what = f"nothing is judged under the name {name!r}"
    near = difflib.get_close_matches(name, names, n=3)
    mend = f"did you mean {' or '.join(near)}?" if near else f"judged are {', '.join(names)}"
    if name in entries:
        what = f"{name!r} is not judged alone, but as a part of its group"
        mend = f"judged are {', '.join(names)}"
    return UsageError(what, where=str(run.path), mend=mend)
