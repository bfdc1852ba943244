"""A night as JSON data: what is stored, and what ``--json`` prints."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from llmeval.reports.regress.baseline import Baseline
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.night import ModelNight, Night
from llmeval.reports.regress.verdicts import Judged
from llmeval.reports.regress.words import explain, explain_control, find_fault, list_notes
from llmeval.runs import Run

VERSION = 1


def to_plain(night: Night) -> dict[str, Any]:
    """Return everything about a night; what is not estimable is null."""
    plain = {
        "version": VERSION,
        "name": night.name,
        "night": night.night,
        "verdict": night.outcome.value,
        "exit_code": night.exit_code,
        "settings": asdict(night.settings),
        "models": [_model(night, model) for model in night.models],
        "plan": [asdict(unit) for unit in night.plan],
        "controls": explain_control(night),
        "notes": list(night.notes),
        "took": dict(night.took) or None,
    }
    finite = _finite(plain)
    assert isinstance(finite, dict)
    return finite


def _model(night: Night, model: ModelNight) -> dict[str, Any]:
    side = model.side
    return {
        "label": side.label,
        "verdict": model.outcome.value,
        "run": _run(side.tonight),
        "baseline": _baseline(side.baseline),
        "changes": [asdict(change) for change in model.changes],
        "sentinel": [str(run.path) for run in side.repeats],
        "units": [_unit(night, model, unit) for unit in model.units],
    }


def _run(run: Run | None) -> dict[str, Any] | None:
    return None if run is None else {"id": run.id, "path": str(run.path), "status": run.status}


def _baseline(baseline: Baseline | Fault) -> dict[str, Any] | None:
    if isinstance(baseline, Fault):
        return None
    return {**(_run(baseline.run) or {}), "digest": baseline.digest}


def _unit(night: Night, model: ModelNight, unit: Judged) -> dict[str, Any]:
    pairs, difference = unit.pairs, unit.difference
    key = pairs.name.task, pairs.name.metric
    drift, found = model.drift.get(key), model.triage.get(key)
    measured, fault = len(pairs.baseline) > 0, find_fault(night, unit)
    return {
        "task": pairs.name.task,
        "metric": pairs.name.metric,
        "members": list(pairs.name.leaves),
        "verdict": unit.outcome.value,
        "tonight": unit.tonight.value,
        "why": explain(night, unit),
        "fault": None if fault is None else asdict(fault),
        "improved": unit.improved,
        "baseline": float(pairs.baseline.mean()) if measured else None,
        "now": float(pairs.tonight.mean()) if measured else None,
        "higher_is_better": pairs.higher_is_better,
        "difference": None if difference is None else asdict(difference),
        "tolerance": pairs.tolerance,
        "tested_bounds": None if unit.bounds is None else list(unit.bounds),
        "p_pass": unit.p_pass,
        "p_regressed": unit.p_regressed,
        "needed_n": unit.needed_n,
        "counts": asdict(pairs.counts),
        "evidence": None if unit.evidence is None else asdict(unit.evidence),
        "drift": None if drift is None else asdict(drift) | {"z": drift.z, "says": drift.says},
        "triage": None if found is None else asdict(found),
        "notes": list_notes(night, model, unit),
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity; nothing here is meant to be one."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def to_history(night: Night) -> dict[str, Any]:
    """Return the line of a night in the history."""
    return {
        "night": night.night,
        "verdict": night.outcome.value,
        "runs": {m.side.label: m.side.tonight.id for m in night.models if m.side.tonight},
        "units": [
            {
                "model": unit.model,
                "task": unit.pairs.name.task,
                "metric": unit.pairs.name.metric,
                "verdict": unit.outcome.value,
                "difference": unit.difference.value if unit.difference else None,
                "n": len(unit.pairs.baseline),
                "e_value": unit.evidence.e_value if unit.evidence else None,
                "fault": unit.fault.kind if unit.fault else None,
                "begun_anew": unit.evidence.begun_anew if unit.evidence else None,
            }
            for unit in night.units
        ],
        "usd": night.took.get("usd"),
    }
