"""Pinning a baseline: its path and digest go into the nightly file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmeval.core import StorageError, UsageError
from llmeval.nightly.file import Nightly, read_nightly, write_pin
from llmeval.nightly.folder import list_nights
from llmeval.nightly.night import find_entry, state_folder
from llmeval.reports.files import write_report
from llmeval.reports.regress.baseline import digest_scores
from llmeval.reports.regress.doubts import doubt_baseline
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import choose_units
from llmeval.runs import Run
from llmeval.runs.find import LATEST, find_run


def set_baselines(
    nightly: Nightly, name: str, out: str | Path | None = None
) -> list[tuple[str, Run, str]]:
    """Pin a record as the baseline of the model that it is of.

    Args:
        name: a record's folder, a run, a night, or ``latest`` for the newest complete night; a
            night pins the baselines of all models, with the repeats of its sentinel.

    Returns:
        label, record and digest of every baseline that was set.

    Raises:
        UsageError: there is no such run, it is not complete, or it is of none of the models.
        StorageError: the file cannot be written.
    """
    found = _find_in_nights(nightly, name, out)
    if found is None:
        if name == LATEST:
            what = "no night is complete yet"
            raise UsageError(what, where="--set-baseline", mend="run one, or name a record")
        run = find_run(name, out)
        found = [(find_entry(nightly.file.all_models, run).label, run, [])]
    pinned = []
    for label, run, repeats in found:
        if run.status != "complete":
            raise UsageError(f"it is {run.status}", where=str(run.path), mend="name a complete run")
        digest = digest_scores(run)
        pin: dict[str, Any] = {"path": _shown(run.path), "digest": digest}
        pin |= {"repeats": [_shown(repeat.path) for repeat in repeats]} if repeats else {}
        text = write_pin(nightly, label, pin)
        _write(nightly.path, text)
        nightly = read_nightly(nightly.path)
        pinned.append((label, run, digest))
    return pinned


def doubt_pins(nightly: Nightly, runs: Sequence[Run]) -> list[str]:
    """Return why verdicts against these baselines will be worth little, a line each."""
    gate = nightly.file.gate()
    lines = []
    for run in runs:
        known = {name.task for name in choose_units(run, GateSettings())}
        kept = {task: own for task, own in gate.tolerances.items() if task in known}
        settings = replace(gate, tolerances=kept)
        for name in choose_units(run, settings):
            doubts = doubt_baseline(run, name, settings)
            lines += [f"{run.id}: {name.task}: {doubt}" for doubt in doubts]
    return lines


def _find_in_nights(
    nightly: Nightly, name: str, out: str | Path | None
) -> list[tuple[str, Run, Sequence[Run]]] | None:
    """Return the runs of a night by label, or the one run of a night that has this id."""
    labels = {entry.label for entry in nightly.file.all_models}
    for night in reversed(list_nights(state_folder(nightly, out))):
        done = night.done()
        main = {slot.label: run for slot, run in done if not slot.draw and slot.label in labels}
        repeats = {
            label: [run for slot, run in done if slot.draw and slot.label == label]
            for label in main
        }
        if name == night.name or (name == LATEST and set(main) == labels):
            return [(label, run, repeats[label]) for label, run in main.items()] or None
        for label, run in main.items():
            if name in (run.id, str(run.path)):
                return [(label, run, repeats[label])]
    return None


def _shown(path: Path) -> str:
    """Return a path as the working folder sees it, where it is inside."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path.resolve())


def _write(path: Path, text: str) -> None:
    try:
        write_report(path, text)
    except StorageError as error:
        raise StorageError(error.what, where=str(path), mend="make it writable") from error
