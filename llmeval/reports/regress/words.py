"""What a night says, in the words that all of its reports share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llmeval.reports.formats import (
    UNKNOWN,
    format_difference,
    format_usd,
    format_value,
)
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.night import ModelNight, Night
from llmeval.reports.regress.plan import PlannedUnit
from llmeval.reports.regress.verdicts import Evidence, Judged, Outcome
from llmeval.reports.triage import Triage
from llmeval.stats.gate import POWER

HEAD = (
    "task",
    "model",
    "verdict",
    "baseline",
    "now",
    "difference",
    "tested bounds",
    "tolerance",
    "n",
    "nights",
    "e-value",
)
TEXT_COLUMNS = ("task", "model", "verdict")

PLAN_HEAD = (
    "task",
    "model",
    "n",
    "tolerance",
    "detects a drop of",
    "n to pass unchanged",
    "spread from",
)
PLAN_TEXT_COLUMNS = ("task", "model", "spread from")

_PINS = "--set-baseline"

TRIAGE_HEAD = ("cause", "lost", "gained", "net", "share of the net drop")


def name_unit(night: Night, unit: Judged) -> str:
    """Return the task, with what tells it apart from others of this night."""
    return _join(*_names(night, unit))


def _join(task: str, model: str) -> str:
    return f"{model}: {task}" if model else task


def _names(night: Night, unit: Judged) -> tuple[str, str]:
    name = unit.pairs.name
    units = [(one.model, one.pairs.name.task) for one in night.units]
    return _tell_apart(unit.model, name.task, name.metric, units)


def _tell_apart(
    model: str, task: str, metric: str, units: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """Return the task, with its metric where it has several; and the model, if there are others."""
    several_metrics = list(units).count((model, task)) > 1
    several_models = len({label for label, _ in units}) > 1
    return f"{task} {metric}" if several_metrics else task, model if several_models else ""


def list_rows(night: Night) -> list[tuple[str, ...]]:
    """Return the cells of each unit, as in `HEAD`."""
    return [(*_names(night, unit), *_cells(unit)) for unit in night.units]


def _cells(unit: Judged) -> tuple[str, ...]:
    pairs, difference = unit.pairs, unit.difference
    measured = len(pairs.baseline) > 0
    evidence = unit.evidence
    return (
        unit.outcome.value + (" (better)" if unit.improved and not unit.fault else ""),
        format_value(float(pairs.baseline.mean())) if measured else "",
        format_value(float(pairs.tonight.mean())) if measured else "",
        format_difference(difference.value) if difference else "",
        format_bounds(unit.bounds, pairs.tolerance) if difference else "",
        format_tolerance(pairs.tolerance),
        f"{len(pairs.baseline):,}" if measured else "",
        f"{evidence.nights}" if evidence else "",
        format_evidence(evidence.e_value) if evidence else "",
    )


def format_tolerance(tolerance: float) -> str:
    """Return a tolerance as it was given, with three digits or more."""
    return format_value(tolerance) if round(tolerance, 3) == tolerance else f"{tolerance:.9g}"


def format_bounds(bounds: tuple[float, float] | None, tolerance: float) -> str:
    """Return ``low … high``, each with digits enough to see on which side of -tolerance it is."""
    if bounds is None:
        return UNKNOWN
    return " … ".join(_write_beside(bound, -tolerance) for bound in bounds)


def _write_beside(bound: float, null: float) -> str:
    for digits in range(3, 9):
        written = round(bound, digits)
        if (written > null, written < null) == (bound > null, bound < null):
            return format_difference(bound) if digits == 3 else f"{written:+.{digits}f}"
    return format_difference(bound)


def format_evidence(e_value: float) -> str:
    """Return an e-value with two digits."""
    if e_value >= 1e6 or e_value < 0.01:
        return f"{e_value:.0e}"
    return f"{e_value:,.0f}" if e_value >= 100 else f"{e_value:.2g}"


def find_fault(night: Night, unit: Judged) -> Fault | None:
    """Return why a unit cannot be judged; two records have no nightly file to pin a baseline in."""
    fault = unit.fault
    if fault is None or night.name is not None or _PINS not in fault.mend:
        return fault
    others = [part for part in re.split(r"; |, then |, or ", fault.mend) if _PINS not in part]
    return replace(fault, mend=", or ".join([*others, "name another record with --baseline"]))


def explain(night: Night, unit: Judged) -> str:
    """Return why a unit has its verdict."""
    if (fault := find_fault(night, unit)) is not None:
        return str(fault)
    said, evidence = _explain_tonight(unit), unit.evidence
    if evidence is None or not evidence.alarm:
        return said
    if unit.tonight is Outcome.REGRESSED:
        return f"{said}, and {_explain_nights(evidence)}"
    return f"{_explain_nights(evidence)}; tonight alone: {said}"


def _explain_tonight(unit: Judged) -> str:
    tolerance, n = format_tolerance(unit.pairs.tolerance), len(unit.pairs.baseline)
    if unit.tonight is Outcome.PASS:
        better = ", and better beyond the noise of items" if unit.improved else ""
        return f"not worse by {tolerance} or more{better}"
    if unit.tonight is Outcome.REGRESSED:
        return f"worse by more than {tolerance}"
    if n < 2:
        return "one item decides nothing"
    if unit.needed_n is None:
        return f"{n:,} items do not decide, and no number would: the difference is the tolerance"
    return (
        f"{n:,} items do not decide: about {unit.needed_n:,} would"
        f" ({POWER:.0%} power, if this difference is the true one)"
    )


def _explain_nights(evidence: Evidence) -> str:
    return (
        f"worse than tolerated over {_count(evidence.nights)} since {evidence.since}: e-value"
        f" {format_evidence(evidence.e_value)}, alarm at {format_evidence(evidence.threshold)}"
        " (once mended, --forget-nights begins anew)"
    )


def _count(nights: int) -> str:
    return "1 night" if nights == 1 else f"{nights} nights"


def list_notes(night: Night, model: ModelNight, unit: Judged) -> list[str]:
    """Return what a reader should know beside the verdict, a line each."""
    name = unit.pairs.name
    notes = [*(f"warning: {doubt}" for doubt in unit.pairs.warnings), *unit.pairs.notes]
    if unit.evidence is not None:
        if unit.evidence.begun_anew:
            notes.append(f"evidence over nights begins anew: {unit.evidence.begun_anew}")
        if unit.evidence.why_not:
            notes.append(f"not counted as a night: {unit.evidence.why_not}")
    drift = model.drift.get((name.task, name.metric))
    if drift is not None and (drift.stands_out or unit.outcome is not Outcome.PASS):
        assumed = "" if drift.baseline else " (tonight's noise stands for the baseline's, too)"
        notes.append(f"noise or drift: {drift.says}{assumed}")
    if found := find_triage(model, unit):
        notes += [f"why: {found.says}", *(f"triage: {note}" for note in found.notes)]
    return notes


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of a unit, or of several with the same fault.

    Attributes:
        causes, examples: of a drop, as `list_causes` and `list_examples` give them; else empty.
    """

    name: str
    outcome: Outcome
    why: str
    notes: Sequence[str]
    causes: Sequence[tuple[str, ...]]
    examples: Sequence[str]


def tell_units(night: Night) -> list[Told]:
    """Return what is to be said of the units that did not simply pass."""
    told: list[Told] = []
    for model in night.models:
        for unit in model.units:
            one = _tell(night, model, unit)
            if one.outcome is Outcome.PASS and not one.notes:
                continue
            last = told[-1] if told else None
            if last and last.why == one.why and unit.fault and not last.causes and not one.causes:
                told[-1] = replace(last, name=f"{last.name}, {one.name}")
            else:
                told.append(one)
    return told


def _tell(night: Night, model: ModelNight, unit: Judged) -> Told:
    found = find_triage(model, unit)
    return Told(
        name=name_unit(night, unit),
        outcome=unit.outcome,
        why=explain(night, unit),
        notes=list_notes(night, model, unit),
        causes=list_causes(found) if found else (),
        examples=list_examples(found) if found else (),
    )


def find_triage(model: ModelNight, unit: Judged) -> Triage | None:
    """Return why a unit dropped; None where it did not."""
    found = model.triage.get((unit.pairs.name.task, unit.pairs.name.metric))
    return found if found is not None and found.drop > 0 and found.tallies else None


def list_causes(found: Triage) -> list[tuple[str, ...]]:
    """Return the cells of each cause, as in `TRIAGE_HEAD`."""
    return [
        (
            one.cause,
            f"{one.lost:,}",
            f"{one.gained:,}",
            format_difference(-one.net),
            "" if one.share is None else f"{one.share:.0%}",
        )
        for one in found.tallies
    ]


def list_examples(found: Triage, most: int = 2) -> list[str]:
    """Return lost items of each cause, a line each; their text is the model's."""
    lines = []
    for tally in found.tallies:
        for one in [example for example in tally.examples if example.lost][:most]:
            detail = f" ({one.detail})" if one.detail else ""
            answer = f": {one.answer}" if one.answer else ""
            lines.append(f"{tally.cause}{detail}, {one.task} {one.sample_id}{answer}")
    return lines


def list_plan(plan: Sequence[PlannedUnit]) -> list[tuple[str, ...]]:
    """Return the cells of each planned unit, as in `PLAN_HEAD`."""
    units = [(unit.model, unit.task) for unit in plan]
    return [
        (
            *_tell_apart(unit.model, unit.task, unit.metric, units),
            "" if unit.n is None else f"{unit.n:,}",
            format_tolerance(unit.tolerance),
            _format_drop(unit),
            "" if unit.needed_n is None else f"{unit.needed_n:,}",
            unit.basis or "no baseline",
        )
        for unit in plan
    ]


def list_plan_doubts(plan: Sequence[PlannedUnit], faults: Mapping[str, Fault]) -> list[str]:
    """Return what is known against a night before it, a line each.

    Args:
        faults: why models are not asked, by label.
    """
    units = [(unit.model, unit.task) for unit in plan]
    return [
        *(f"{label}: INVALID, nothing is asked: {fault}" for label, fault in faults.items()),
        *(
            f"{_join(*_tell_apart(unit.model, unit.task, unit.metric, units))}: warning: {doubt}"
            for unit in plan
            for doubt in unit.warnings
        ),
    ]


def _format_drop(unit: PlannedUnit) -> str:
    if unit.basis is None:
        return ""
    return "none: too few items" if unit.detects is None else format_value(unit.detects)


def explain_control(night: Night) -> list[str]:
    """Return what is controlled, a sentence each."""
    settings, size = night.settings, len(night.units)
    if not any(unit.test for unit in night.units):
        return []
    alpha = f"{settings.alpha:.3g}"
    over = f"Holm over {size} units" if size > 1 else "one unit"
    lines = [
        f"tonight: {over}; the chance of any wrong REGRESSED is at most {alpha}, and so is that of"
        f" any wrong PASS, for new items like these",
        "tested bounds: each end one-sided, at the level that it was tested at"
        f" ({_tested_levels(alpha, size)}); PASS where the lower one is above -tolerance, REGRESSED"
        " where the upper one is below it",
    ]
    threshold = next((unit.evidence.threshold for unit in night.units if unit.evidence), None)
    if threshold is not None:
        lines.append(
            f"over nights: alarm at an e-value of {format_evidence(threshold)} (units / alpha); the"
            f" chance that there is ever a false one is at most {alpha}, for these items and this"
            f" pinned baseline"
        )
    return lines


def _tested_levels(alpha: str, size: int) -> str:
    return alpha if size == 1 else f"{alpha} / units that Holm still had open, {size} at first"


def list_changes(night: Night) -> list[str]:
    """Return what else is not as it was with the baselines, a line each."""
    return [
        f"changed since the baseline of {model.side.label}: {change}"
        for model in night.models
        for change in model.changes
    ]


def explain_sentinel(night: Night) -> list[str]:
    """Return what the sentinel saw of each model, a sentence each."""
    lines = []
    for model in night.models:
        noises = [drift.tonight for drift in model.drift.values()]
        if noises:
            items = sum(noise.items for noise in noises)
            moved = sum(noise.changed * noise.items for noise in noises) / items
            draws = max(noise.draws for noise in noises)
            lines.append(
                f"sentinel of {model.side.label}: {items:,} items asked {draws} times tonight;"
                f" {moved:.1%} of them got different scores"
            )
    return lines


def list_closing(night: Night) -> list[str]:
    """Return what stands below everything: notes, sentinel, what is controlled, the cost."""
    cost = explain_cost(night)
    return [
        *night.notes,
        *list_changes(night),
        *explain_sentinel(night),
        *explain_control(night),
        *([cost] if cost else []),
    ]


def headline(night: Night) -> str:
    """Return the night in one line."""
    name = f"{night.name} {night.night}" if night.name else night.night
    return f"{night.outcome}: {name}: {count_outcomes(night)}"


def count_outcomes(night: Night) -> str:
    """Return how many units have which verdict."""
    found = [unit.outcome for unit in night.units]
    return ", ".join(f"{found.count(one)} {one}" for one in Outcome if one in found)


def explain_cost(night: Night) -> str | None:
    """Return what the night took; None where nothing was asked."""
    if not night.took:
        return None
    took = night.took
    again = "; all of that before: the night was complete" if took["again"] else ""
    price = "" if took["usd"] is None else f"{format_usd(took['usd'])}, "
    noun = "question" if took["asked"] == 1 else "questions"
    return f"asked {took['asked']:,} {noun}, {price}{took['seconds']:.0f} s{again}"
