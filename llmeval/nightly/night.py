"""A night: asked, judged and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmeval.core import InvalidResult, UsageError
from llmeval.home import find_workspace
from llmeval.nightly.asking import Asking, MakeProgress, digest_settings
from llmeval.nightly.file import Nightly, NightlyModel, check_models, check_tasks
from llmeval.nightly.folder import NightFolder, Slot, open_night, remove_old
from llmeval.nightly.planning import Plan, make_plan
from llmeval.preparation import Sandboxes
from llmeval.reports.regress.baseline import Baseline, Pin, open_baseline
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.night import Night, Side, judge_night
from llmeval.reports.regress.nights import (
    HISTORY,
    LOCK,
    STATE,
    State,
    forget_nights,
    leave_out,
    read_state,
    write_history,
    write_state,
)
from llmeval.reports.regress.plain import to_history, to_plain
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.triage.regrade import Materials, Regrader
from llmeval.run_spec import RunSpec
from llmeval.runs import Run
from llmeval.runs.files import storage_errors, write_json
from llmeval.runs.find import records_folder
from llmeval.runs.lock import FileLock

REGRESS = "regress"
_STALE = 0.5  # of a record's questions answered from a journal: it is no new evidence


def state_folder(nightly: Nightly, out: str | Path | None = None) -> Path:
    """Return where a nightly file's state and nights are kept."""
    return records_folder(out) / REGRESS / nightly.name


def run_night(
    nightly: Nightly,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: MakeProgress | None = None,
    tell: Callable[[Plan], None] | None = None,
) -> Night:
    """Ask what a night asks, or go on with it, and judge it.

    Args:
        out: folder of records; ``results`` by default.
        fresh: begin another night although today's has a verdict.
        progress: makes what shows a run's progress.
        tell: gets the plan before anything is asked.

    Raises:
        UsageError: another job of this name is at work, or the file does not fit the records.
        InvalidResult: what earlier nights left cannot be read.
        Interrupted: it was stopped; the same command continues.
    """
    folder = state_folder(nightly, out)
    check_models(nightly)
    check_tasks(nightly, find_workspace())
    with _locked(folder):
        state = _require_state(folder)
        night = open_night(folder, fresh=fresh)
        asking = Asking(nightly, night, out)
        asking.require_others()
        before = leave_out(state, night.name)  # what is judged again was planned without itself
        specs, faults = _forecast_cheaply(nightly, asking), asking.foresee()
        plan = make_plan(nightly, asking.baselines, before, specs, faults)
        if tell is not None:
            tell(plan)
        sides, notes = asking.ask_all(progress)
        notes += _note_lost(folder)
        told: dict[str, Any] = {"plan": plan.units, "notes": notes, "took": asking.took()}
        result, state = _judge(nightly, sides, state, night.name, **told)
        _keep(folder, result, state)
        if all(side.complete for side in sides):
            night.close()
        _remove_old(nightly, folder)
        return result


def _remove_old(nightly: Nightly, folder: Path) -> None:
    pins = [entry.pin for entry in nightly.file.all_models if entry.pin is not None]
    pinned = [Path(path) for pin in pins for path in (pin.path, *pin.repeats)]
    if nightly.file.keep_nights is not None:
        remove_old(folder, nightly.file.keep_nights, pinned)


def _forecast_cheaply(nightly: Nightly, asking: Asking) -> dict[str, list[RunSpec]]:
    """Return the runs of served models: to forecast a local one would load it twice."""
    return {
        label: specs
        for label, specs in _all_specs(nightly, asking).items()
        if str(specs[0].model).startswith("openai:")
    }


def _all_specs(nightly: Nightly, asking: Asking) -> dict[str, list[RunSpec]]:
    draws = nightly.file.sentinel.repeats if nightly.file.sentinel else 0
    return {
        entry.label: [asking.spec(entry, Slot(entry.label, draw)) for draw in range(draws + 1)]
        for entry in nightly.file.all_models
    }


def plan_night(nightly: Nightly, out: str | Path | None = None) -> Plan:
    """Return the plan of a night, and ask nothing that costs anything.

    Raises:
        UsageError, InvalidResult: as for `run_night`.
    """
    folder = state_folder(nightly, out)
    check_models(nightly)
    check_tasks(nightly, find_workspace())
    state = _require_state(folder)
    nowhere = NightFolder(folder / "nights" / "planned", "planned", {"runs": {}})
    asking = Asking(nightly, nowhere, out)
    try:
        specs, faults = _all_specs(nightly, asking), asking.foresee()
        return make_plan(nightly, asking.baselines, state, specs, faults)
    finally:
        nowhere.remove()


def judge_records(nightly: Nightly, runs: Sequence[Run], *, out: str | Path | None = None) -> Night:
    """Judge records that are there already, one of each model that they are of.

    Raises:
        UsageError: a record is of no model of the file, or two are of one.
        InvalidResult: what earlier nights left cannot be read.
    """
    folder = state_folder(nightly, out)
    with _locked(folder):
        state = _require_state(folder)
        sides = []
        for entry, run in _assign(nightly, runs):
            baseline = open_baseline(entry.pin, out)
            sides.append(_recorded_side(entry.label, baseline, run, digest_settings(entry)))
        name = "+".join(run.id for run in runs)
        result, state = _judge(nightly, sides, state, name, notes=_note_lost(folder))
        _keep(folder, result, state)
        return result


def compare_records(
    baseline: Run,
    run: Run,
    settings: GateSettings,
    *,
    only: Sequence[str] = (),
    data: str | Path | None = None,
) -> Night:
    """Judge one record against another, without a file and without evidence over nights.

    Args:
        only: these tasks or groups; all by default.
        data: local mirror of data sets, for grading answers again.
    """
    found = open_baseline(Pin(str(baseline.path)))
    label = str(run.manifest["model"]["name"])
    side = replace(_recorded_side(label, found, run, ""), only=tuple(only))
    with _regrading(data, (), allow_unsafe_code=False) as regrader:
        night, _ = judge_night([side], settings, name=None, night=run.id, regrader=regrader)
    return night


def forget(nightly: Nightly, out: str | Path | None = None) -> int:
    """Let the evidence over nights begin anew; return how many nights were forgotten."""
    folder = state_folder(nightly, out)
    with _locked(folder):
        state = _require_state(folder)
        write_state(folder, forget_nights(state))
        return max((len(unit.nights) for unit in state.units), default=0)


# -- records that are there ------------------------------------------------------------------------


def _recorded_side(label: str, baseline: Baseline | Fault, run: Run, settings: str) -> Side:
    if isinstance(baseline, Baseline) and baseline.run.id == run.id:  # or a copy of it
        what = "a record is not compared with itself"
        raise UsageError(what, where=str(run.path), mend="name two records")
    fault = None
    if run.status not in ("complete", "invalid"):
        fault = Fault("interrupted", f"run {run.id} is not at its end", "continue it, then judge")
    return Side(
        label=label,
        baseline=baseline,
        tonight=run,
        fault=fault,
        whole=True,
        settings=settings,
        stale=_find_stale(run),
    )


def _find_stale(run: Run) -> str | None:
    """Say so where a record's answers were not given for it."""
    if not (run.path / "summary.json").is_file():
        return None
    usage = run.summary.get("usage") or {}
    requests, cached = usage.get("requests", 0), usage.get("cached", 0)
    if not requests or cached <= _STALE * requests:
        return None
    return f"{cached:,} of its {requests:,} answers were journaled before"


def _assign(nightly: Nightly, runs: Sequence[Run]) -> list[tuple[NightlyModel, Run]]:
    """Return the entry of the file that each record is of."""
    entries = list(nightly.file.all_models)
    found: list[tuple[NightlyModel, Run]] = []
    for run in runs:
        entry = find_entry(entries, run)
        if any(known.label == entry.label for known, _ in found):
            raise UsageError(f"two records are of {entry.label}", where=str(run.path))
        found.append((entry, run))
    return found


def find_entry(entries: Sequence[NightlyModel], run: Run) -> NightlyModel:
    """Return the entry of a nightly file that a record is of.

    Raises:
        UsageError: none or several.
    """
    name = str(run.manifest["model"]["name"])
    fitting = [entry for entry in entries if name in (entry.label, entry.model)]
    if len(fitting) == 1:
        return fitting[0]
    labels = ", ".join(entry.label for entry in fitting or entries)
    known = "several of the file's models are" if fitting else "none of the file's models is"
    what = f"the record is of {name}, and {known}"
    raise UsageError(what, where=str(run.path), mend=f"its models are {labels}")


# -- judging and keeping ---------------------------------------------------------------------------


def _judge(
    nightly: Nightly, sides: Sequence[Side], state: State, night: str, **told: Any
) -> tuple[Night, State]:
    file = nightly.file
    with _regrading(file.data, file.tasks, file.allow_unsafe_code) as regrader:
        result, after = judge_night(
            sides,
            file.gate(),
            name=nightly.name,
            night=night,
            state=state,
            regrader=regrader,
            **told,
        )
    return result, after or state


@contextlib.contextmanager
def _regrading(
    data: str | Path | None, names: Sequence[str], allow_unsafe_code: bool
) -> Iterator[Callable[[Run], Regrader]]:
    """Give what makes regraders; the sandbox ends with it."""
    with Sandboxes(allow_unsafe_code) as sandboxes:
        mirror = Path(data) if data else None
        materials = Materials(find_workspace(), mirror, sandboxes.get)
        yield lambda run: Regrader(run, materials, names)


def _keep(folder: Path, result: Night, state: State) -> None:
    """Keep the verdict, the history and the evidence."""
    write_state(folder, state)
    write_history(folder, result.night, to_history(result))
    write_json(folder / f"{result.night}.json", to_plain(result))  # last: the night has its verdict


def _require_state(folder: Path) -> State:
    state = read_state(folder)
    if isinstance(state, Fault):
        raise InvalidResult(f"{state.kind}: {state.what}", mend=state.mend)
    return state


def _note_lost(folder: Path) -> list[str]:
    """Say so where there were nights, and what they showed is gone."""
    if (folder / STATE).exists() or not (folder / HISTORY).exists():
        return []
    return [f"evidence over nights begins anew: {folder / STATE} is gone, and nights there were"]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    if not lock.acquire():
        what = "another regress job of this name is at work"
        raise UsageError(what, where=str(folder), mend="wait for it, or give this one a name:")
    try:
        yield
    finally:
        lock.release()
