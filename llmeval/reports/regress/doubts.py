"""What makes a verdict worth little although there is one: told beside it, and before the night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmeval.reports.formats import format_value
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName
from llmeval.runs import Run

_SHOWN = 3
_FEW = 0.5  # of the baseline's items


def doubt_baseline(run: Run, name: UnitName, settings: GateSettings) -> tuple[str, ...]:
    """Return why a unit's baseline cannot tell a worse model, and what health checks found."""
    return (*_doubt_level(run, name, settings), *doubt_health(run, name, "the baseline"))


def doubt_health(run: Run, name: UnitName, whose: str) -> tuple[str, ...]:
    """Return the errors that health checks found in a run's tasks: numbers that mean nothing."""
    found = [
        f"health of {whose}: {finding['check']}"
        + (f" in {leaf}" if len(name.leaves) > 1 else "")
        + f": {finding['what']}"
        for leaf in name.leaves
        for finding in (run.summary["tasks"].get(leaf) or {}).get("health") or ()
        if finding["severity"] == "error"
    ]
    rest = len(found) - _SHOWN
    more = [f"health of {whose}: {rest} more errors, see `llmeval runs show`"] if rest > 0 else []
    return (*found[:_SHOWN], *more)


def doubt_run(run: Run, whose: str) -> list[str]:
    """Return the errors that health checks found in a run as a whole."""
    return [
        f"warning: health of {whose}: {finding['check']}: {finding['what']}"
        for finding in run.summary.get("health") or ()
        if finding["severity"] == "error"
    ]


def doubt_size(baseline: int, compared: int) -> tuple[str, ...]:
    """Return that most of the baseline's items are not compared."""
    if compared >= _FEW * baseline:
        return ()
    return (f"only {compared:,} of the baseline's {baseline:,} items: the others are not asked",)


def _doubt_level(run: Run, name: UnitName, settings: GateSettings) -> tuple[str, ...]:
    entry = _find_metric(run, name)
    value, higher = entry.get("value"), entry.get("higher_is_better", True)
    span = None if value is None else settings.range_of(name.metric, value, value)
    if value is None or span is None:
        return ()
    worst = span[0] if higher else span[1]
    tolerance = settings.tolerance_of(name.task, name.metric)
    if abs(value - worst) <= tolerance:
        return (
            f"the baseline is {format_value(value)}: there is no drop of more than"
            f" {format_value(tolerance)} from there, so this can never be REGRESSED"
            " (pin a baseline that can do the task, or leave the task out)",
        )
    chance, interval = entry.get("chance"), entry.get("ci95")
    if chance is None or interval is None:
        return ()
    if interval[0] <= chance if higher else interval[1] >= chance:
        return (
            f"the baseline, {format_value(value)}, is not shown to be better than chance,"
            f" {format_value(chance)}: a model that only guesses would pass, too",
        )
    return ()


def _find_metric(run: Run, name: UnitName) -> Mapping[str, Any]:
    entries = {**run.summary["tasks"], **(run.summary.get("groups") or {})}
    metrics = (entries.get(name.task) or {}).get("metrics") or {}
    return metrics.get(name.metric) or {}
