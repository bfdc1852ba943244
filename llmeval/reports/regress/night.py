"""One night: the verdicts of all units of all models, with everything that is told beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmeval.core import fingerprint
from llmeval.reports.forms import form_of
from llmeval.reports.regress.baseline import Baseline
from llmeval.reports.regress.doubts import doubt_run
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.nights import About, State, UnitState, count_night, keep_units
from llmeval.reports.regress.noise import Drift, measure_noise, weigh_drift
from llmeval.reports.regress.pairing import Pairs, pair, without_pairs
from llmeval.reports.regress.plan import PlannedUnit
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName, choose_units
from llmeval.reports.regress.verdicts import (
    Evidence,
    Judged,
    Key,
    Outcome,
    exit_code,
    judge,
    key_of,
    worst,
)
from llmeval.reports.scores import ScoreTable, read_scores
from llmeval.reports.triage import Triage, triage
from llmeval.reports.triage.changes import Change, find_changes
from llmeval.reports.triage.regrade import Regrader
from llmeval.runs import Run

MakeRegrader = Callable[[Run], Regrader]


@dataclass(frozen=True, slots=True)
class Side:
    """One model of a night.

    Args:
        label: as the nightly file calls it; the run's model by default.
        baseline: or why there is none.
        tonight: its run; None where it left no readable record.
        fault: why its run did not come to its end, or is not to be judged.
        repeats: the records of tonight's sentinel.
        asked: the tasks that were asked for, for a run that left nothing.
        only: judge only these tasks or groups.
        whole: a task of the baseline that the run lacks is a fault.
        settings: digest of the model's settings; evidence begins anew where it changes.
        stale: why the run is no new evidence.
    """

    label: str
    baseline: Baseline | Fault
    tonight: Run | None
    fault: Fault | None = None
    repeats: tuple[Run, ...] = ()
    asked: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    whole: bool = False
    settings: str = ""
    stale: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be asked."""
        run = self.tonight
        return self.fault is None and run is not None and run.status == "complete"


@dataclass(frozen=True, slots=True)
class ModelNight:
    """What a night says of one model.

    Attributes:
        drift, triage: by task and metric.
        changes: what else is not as it was with the baseline.
    """

    side: Side
    units: tuple[Judged, ...]
    drift: Mapping[tuple[str, str], Drift] = field(default_factory=dict)
    triage: Mapping[tuple[str, str], Triage] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return worst(unit.outcome for unit in self.units)


@dataclass(frozen=True, slots=True)
class Night:
    """A night's result.

    Attributes:
        name: of the nightly file; None for two records that are compared.
        night: its date, or the id of the run.
        plan: what could be told, said before anything was asked; empty where nothing was.
        notes: about the night as a whole.
    """

    name: str | None
    night: str
    settings: GateSettings
    models: tuple[ModelNight, ...]
    plan: tuple[PlannedUnit, ...] = ()
    notes: tuple[str, ...] = ()
    took: Mapping[str, Any] = field(default_factory=dict)

    @property
    def units(self) -> list[Judged]:
        return [unit for model in self.models for unit in model.units]

    @property
    def outcome(self) -> Outcome:
        return worst(unit.outcome for unit in self.units)

    @property
    def exit_code(self) -> int:
        return exit_code(self.outcome, self.settings)


def judge_night(
    sides: Sequence[Side],
    settings: GateSettings,
    *,
    name: str | None,
    night: str,
    state: State | None = None,
    regrader: MakeRegrader | None = None,
    plan: Sequence[PlannedUnit] = (),
    notes: Sequence[str] = (),
    took: Mapping[str, Any] | None = None,
) -> tuple[Night, State | None]:
    """Judge a night, and add it to the evidence of those before.

    Args:
        state: of the nights before; None: no evidence over nights is kept.
        regrader: makes what grades stored answers again; without it nothing is put down to format.

    Raises:
        UsageError: the settings name a task or metric that is not there, or a record is unreadable.
    """
    paired = [_pair_side(side, settings) for side in sides]
    units = [
        (side.label, pairs)
        for side, (_, found) in zip(sides, paired, strict=True)
        for pairs in found
    ]
    evidence, state = _weigh_nights(sides, paired, settings, night, state, len(units))
    judged = judge(units, settings, evidence)
    models = [
        _describe(side, table, [u for u in judged if u.model == side.label], settings, regrader)
        for side, (table, _) in zip(sides, paired, strict=True)
    ]
    told = (*notes, *_doubt_runs(sides))
    result = Night(name, night, settings, tuple(models), tuple(plan), told, dict(took or {}))
    return result, state


def _doubt_runs(sides: Sequence[Side]) -> list[str]:
    found: list[str] = []
    for side in sides:
        if isinstance(side.baseline, Baseline):
            found += doubt_run(side.baseline.run, f"the baseline of {side.label}")
        if side.tonight is not None and _has_summary(side.tonight):
            found += doubt_run(side.tonight, f"tonight's run of {side.label}")
    return found


_Paired = tuple[ScoreTable | None, list[Pairs]]


def _pair_side(side: Side, settings: GateSettings) -> _Paired:
    """Return a model's units, and the scores of both runs where both can be read."""
    fault = side.fault or (side.baseline if isinstance(side.baseline, Fault) else None)
    names = _name_units(side, settings)
    if fault is not None or side.tonight is None or isinstance(side.baseline, Fault):
        fault = fault or Fault("nothing measured", "there is no record", "run it again")
        return None, [without_pairs(name, settings, fault) for name in names]
    leaves = sorted({leaf for name in names for leaf in name.leaves})
    table = read_scores([side.baseline.run, side.tonight], tasks=leaves, names=True)
    found = [pair(table, name, settings) for name in names]
    if side.tonight.status != "complete":
        found = [
            replace(pairs, fault=pairs.fault or _doubt(side.tonight, pairs)) for pairs in found
        ]
    return table, found


def _doubt(run: Run, pairs: Pairs) -> Fault | None:
    """Return that an invalid run decides nothing, but of a unit that got all of its answers."""
    if not (pairs.counts.errored or pairs.counts.missing):
        return None
    what = f"too many items of run {run.id} got no answer"
    return Fault("run invalid", what, "the same command asks errored items again")


def _name_units(side: Side, settings: GateSettings) -> list[UnitName]:
    """Return what is to be judged; tasks as they were asked for where no record tells."""
    names: list[UnitName] = []
    if side.tonight is not None and _has_summary(side.tonight):
        names = choose_units(side.tonight, settings, side.only)
    if isinstance(side.baseline, Baseline) and (side.whole or not names):
        known = {(name.task, name.metric) for name in names}
        lenient = settings if not names else replace(settings, tolerances={})
        expected = choose_units(side.baseline.run, lenient, side.only if not names else ())
        names += [
            name
            for name in expected
            if (name.task, name.metric) not in known
            and name.task not in {n.task for n in names}
            and (not side.only or name.task in side.only)
        ]
    return names or [UnitName(task, "no metric", (task,)) for task in side.asked or ("no task",)]


def _has_summary(run: Run) -> bool:
    return (run.path / "summary.json").is_file()


def _weigh_nights(
    sides: Sequence[Side],
    paired: Sequence[_Paired],
    settings: GateSettings,
    night: str,
    state: State | None,
    size: int,
) -> tuple[dict[Key, Evidence], State | None]:
    """Add the night to the evidence of every unit that can be judged."""
    if state is None:
        return {}, None
    evidence: dict[Key, Evidence] = {}
    kept: list[UnitState] = []
    for side, (table, found) in zip(sides, paired, strict=True):
        if table is None or side.tonight is None or isinstance(side.baseline, Fault):
            continue
        for pairs in found:
            if pairs.fault is not None:
                continue
            key = key_of(side.label, pairs)
            unit, evidence[key] = count_night(
                state,
                key,
                pairs,
                About(side.baseline.digest, _form(side.tonight, pairs), side.settings),
                run_id=side.tonight.id,
                night=night,
                threshold=size / settings.alpha,
                why_not=side.stale,
            )
            kept.append(unit)
    return evidence, keep_units(state, kept)


def _form(run: Run, pairs: Pairs) -> str:
    return fingerprint([form_of(run, leaf).digest() for leaf in pairs.name.leaves], 8)


def _describe(
    side: Side,
    table: ScoreTable | None,
    units: Sequence[Judged],
    settings: GateSettings,
    regrader: MakeRegrader | None,
) -> ModelNight:
    """Tell noise from drift, and say why what dropped has dropped."""
    if table is None or side.tonight is None or isinstance(side.baseline, Fault):
        return ModelNight(side, tuple(units))
    baseline = side.baseline
    changes = tuple(find_changes(baseline.run, side.tonight))
    regraders = (regrader(baseline.run), regrader(side.tonight)) if regrader else None
    drift: dict[tuple[str, str], Drift] = {}
    found: dict[tuple[str, str], Triage] = {}
    for unit in units:
        name, pairs = unit.pairs.name, unit.pairs
        key = name.task, name.metric
        if any((leaf, name.metric) not in table.keys for leaf in name.leaves):
            continue
        unscored = _worst_score(pairs) if settings.unscored == "wrong" else None
        noise = measure_noise([side.tonight, *side.repeats], name, unscored)
        before = measure_noise([baseline.run, *baseline.repeats], name, unscored)
        difference = unit.difference.value if unit.difference else None
        span = pairs.bounds[1]
        if weighed := weigh_drift(difference, len(pairs.differences), noise, before, span):
            drift[key] = weighed
        if _deserves_triage(unit):
            found[key] = triage(
                table,
                name.leaves,
                name.metric,
                worst=_worst_score(pairs),
                higher_is_better=pairs.higher_is_better,
                regraders=regraders,
                changes=changes,
            )
    return ModelNight(side, tuple(units), drift, found, changes)


def _deserves_triage(unit: Judged) -> bool:
    """Whether anything got worse; a unit without a fault that is as good as before needs no why."""
    difference = unit.difference
    dropped = difference is not None and difference.value is not None and difference.value < 0
    return dropped or unit.outcome is not Outcome.PASS


def _worst_score(pairs: Pairs) -> float:
    low, high = pairs.range or (0.0, 1.0)
    return low if pairs.higher_is_better else high
