"""What makes a night void, as far as it is known before any question is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from llmeval.core import LlmevalError, Task
from llmeval.nightly.file import Nightly
from llmeval.preparation import preview_tasks
from llmeval.reports.forms import PromptForm, diff_forms, form_of, read_form
from llmeval.reports.regress.baseline import Baseline
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName
from llmeval.reports.scores import ScoreTable
from llmeval.run_spec import RunSpec
from llmeval.runs import Run

_PIN_ANEW = "without baseline: in the file, a night is asked and can be pinned anew"


def foresee(baseline: Baseline | Fault, pinned: bool, spec: RunSpec) -> Fault | None:
    """Return why a model's night will not be judged; None where nothing is known against it.

    A first night, of which nothing is pinned yet, is asked: it may become the baseline.

    Args:
        spec: what will be asked. Its tasks are built, its model is not.
    """
    if isinstance(baseline, Fault):
        return Fault(baseline.kind, baseline.what, _PIN_ANEW) if pinned else None
    try:
        tasks = preview_tasks(spec)
    except LlmevalError:  # the run will say so, at once and better
        return None
    known = baseline.run.summary["tasks"]
    for task in tasks:
        if task.name not in known:
            what = f"the baseline has no task {task.name}"
            return Fault("baseline missing", what, f"take it out of tasks:; or {_PIN_ANEW}")
        expected = _expect_form(baseline.run, task, asdict(spec.options))
        if found := diff_forms(form_of(baseline.run, task.name), expected):
            said = "; ".join(f"{each.before} -> {each.after}" for each in found)
            what = f"{task.name}: {said}"
            return Fault("form changed", what, f"ask as before; or {_PIN_ANEW}")
    return None


def _expect_form(baseline: Run, task: Task, options: Mapping[str, Any]) -> PromptForm:
    """Return how a task will be asked; whether by letter, the model decides: as before."""
    entry = baseline.summary["tasks"][task.name]
    described = (baseline.manifest.get("tasks") or {}).get(task.name) or {}
    shown = {**entry, "num_fewshot": task.num_fewshot, "version": task.version}
    return read_form(shown, described, options)


def require_range(
    nightly: Nightly, settings: GateSettings, baseline: Run, name: UnitName, table: ScoreTable
) -> None:
    """Refuse a tolerance that allows any drop there can be, and a range that does not fit.

    Args:
        table: the baseline's scores.

    Raises:
        UsageError: names the line of the nightly file.
    """
    entries = {**baseline.summary["tasks"], **(baseline.summary.get("groups") or {})}
    metric, error = name.metric, nightly.document.error
    if entries[name.task]["metrics"][metric].get("aggregation") == "corpus":
        what = f"{metric} of {name.task} has a number for all items together, and none for each"
        raise error(what, ("tasks",), f"tolerances: {{{name.task}: {{METRIC: 0.02}}}}")
    keys = [(leaf, metric) for leaf in name.leaves if (leaf, metric) in table.keys]
    found = [table.scores(*key).value for key in keys]
    values = np.concatenate(found) if found else np.empty(0)
    values = values[~np.isnan(values)]
    if not len(values):
        return
    span = settings.range_of(metric, float(values.min()), float(values.max()))
    if span is None:
        what = f"{metric} of {name.task} is no share, and its range is not known"
        raise error(what, ("tasks",), f"say it: ranges: {{{metric}: [LEAST, GREATEST]}}")
    low, high = span
    if values.min() < low or values.max() > high:
        what = f"{metric} of the baseline is {values.min():g} to {values.max():g}"
        raise error(what, ("ranges", metric), f"it is outside [{low:g}, {high:g}]: mend the range")
    tolerance = settings.tolerance_of(name.task, metric)
    if tolerance >= high - low:
        own = settings.tolerances.get(name.task)
        place = ("tolerance",) if own is None else ("tolerances", name.task)
        what = f"{tolerance:g} allows {metric} of {name.task} any drop there can be"
        raise error(what, place, f"a tolerance is below {high - low:g}")
