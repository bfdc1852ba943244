"""The plan of a night: what it can tell and what it would cost, before anything is asked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmeval.core import LlmevalError
from llmeval.forecast import Forecast, forecast
from llmeval.nightly.file import Nightly
from llmeval.nightly.foreseen import require_range
from llmeval.reports.regress.baseline import Baseline
from llmeval.reports.regress.doubts import doubt_baseline, doubt_size
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.nights import State
from llmeval.reports.regress.noise import measure_noise
from llmeval.reports.regress.plan import (
    PlannedUnit,
    count_items,
    expect_spread,
    plan_unit,
)
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName, choose_units
from llmeval.reports.regress.verdicts import NOT_VALID
from llmeval.reports.scores import read_scores
from llmeval.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class Cost:
    """What asking a model would take at most.

    Attributes:
        questions: that are still to be asked, those of the sentinel too.
        usd: None where no price is known.
        problem: why nothing is known.
    """

    label: str
    questions: int = 0
    usd: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a night can tell of each unit, and what it would cost.

    Attributes:
        faults: why models will not be judged, and are not asked, by label.
    """

    units: tuple[PlannedUnit, ...]
    costs: tuple[Cost, ...] = ()
    power: float = 0.8
    alpha: float = 0.05
    faults: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """What ``--plan`` ends with: that of a night whose verdict is known to be INVALID."""
        return NOT_VALID if self.faults or any(cost.problem for cost in self.costs) else 0


def make_plan(
    nightly: Nightly,
    baselines: Mapping[str, Baseline | Fault],
    state: State,
    specs: Mapping[str, Sequence[RunSpec]],
    faults: Mapping[str, Fault] | None = None,
) -> Plan:
    """Return the plan of a night.

    Args:
        baselines: by the model's label.
        specs: runs to be forecast, by label: the night's own first, then its sentinel's. A model
            whose forecast would load it is better left out.
        faults: why models are not asked, by label; nothing is forecast for them.

    Raises:
        UsageError: the file names a task or metric that the baseline does not have, or a
            tolerance or range that does not fit it.
    """
    settings, file, faults = nightly.file.gate(), nightly.file, faults or {}
    _check_ranges(nightly, baselines)
    forecasts = {label: _forecast(runs) for label, runs in specs.items() if label not in faults}
    lenient = _lenient(settings, _known_tasks(nightly, baselines))
    names = {
        label: choose_units(found.run, lenient) if isinstance(found, Baseline) else []
        for label, found in baselines.items()
    }
    size = sum(map(len, names.values()))
    units: list[PlannedUnit] = []
    for label, found in baselines.items():
        if isinstance(found, Fault):
            units += [
                PlannedUnit(label, task, "", settings.tolerance_of(task, "")) for task in file.tasks
            ]
            continue
        sizes = _sizes(forecasts.get(label))
        wanted = [name for name in names[label] if sizes is None or set(name.leaves) & set(sizes)]
        table = read_scores([found.run])
        for name in wanted:
            noise = measure_noise([found.run, *found.repeats], name)
            items = count_items(found.run, name, sizes)
            if sizes is None and file.options.limit is not None:
                items = min(items, file.options.limit * len(name.leaves))
            span = _span(settings, name)
            spread = expect_spread(table, name, state, label, noise, span)
            planned = plan_unit(label, name, settings, size, items, spread, span)
            held = count_items(found.run, name, None)
            doubts = (*doubt_baseline(found.run, name, settings), *doubt_size(held, items))
            units.append(replace(planned, warnings=doubts))
    costs = tuple(_cost(label, found) for label, found in forecasts.items())
    return Plan(tuple(units), costs, settings.power, settings.alpha, faults)


def _check_ranges(nightly: Nightly, baselines: Mapping[str, Baseline | Fault]) -> None:
    """Look for tolerances and ranges with which nothing could be judged.

    Raises:
        UsageError: names the line.
    """
    known = _known_tasks(nightly, baselines)
    settings = _lenient(nightly.file.gate(), known)
    for found in baselines.values():
        if isinstance(found, Baseline):
            table = read_scores([found.run])
            for name in choose_units(found.run, settings):
                require_range(nightly, settings, found.run, name, table)


def _lenient(settings: GateSettings, known: set[str]) -> GateSettings:
    """Return settings without tolerances of tasks that the baselines lack."""
    kept = {task: own for task, own in settings.tolerances.items() if task in known}
    return replace(settings, tolerances=kept)


def _known_tasks(nightly: Nightly, baselines: Mapping[str, Baseline | Fault]) -> set[str]:
    """Return what the baselines have verdicts of, after a look for misspelt tolerances.

    Raises:
        UsageError: a tolerance is of something that is neither in a baseline nor asked for.
    """
    found = [one.run for one in baselines.values() if isinstance(one, Baseline)]
    plain = GateSettings()
    known = {unit.task for run in found for unit in choose_units(run, plain)}
    for name in nightly.file.tolerances if found else ():
        if name not in known and name not in nightly.file.tasks:
            near = difflib.get_close_matches(name, known, n=3)
            guess = f"did you mean {' or '.join(near)}?" if near else ""
            mend = guess or f"judged are {', '.join(sorted(known))}"
            what = "nothing is judged under this name"
            raise nightly.document.error(what, ("tolerances", name), mend)
    return known


def _span(settings: GateSettings, name: UnitName) -> float:
    low, high = settings.range_of(name.metric, 0.0, 1.0) or (0.0, 1.0)
    return high - low


def _forecast(runs: Sequence[RunSpec]) -> list[Forecast] | LlmevalError:
    """Return what runs would take; what fails here will fail when it is asked, and be judged."""
    try:
        return [forecast(spec) for spec in runs]
    except LlmevalError as error:
        return error


def _sizes(found: list[Forecast] | LlmevalError | None) -> dict[str, int] | None:
    if found is None or isinstance(found, LlmevalError):
        return None
    return {task.name: task.samples for task in found[0].tasks}


def _cost(label: str, found: list[Forecast] | LlmevalError) -> Cost:
    if isinstance(found, LlmevalError):
        return Cost(label, problem=str(found))
    totals = [one.total() for one in found]
    prices = [total.usd for total in totals if total.usd is not None]
    return Cost(
        label,
        questions=sum(total.questions - total.journaled for total in totals),
        usd=sum(prices) if prices else None,
    )
