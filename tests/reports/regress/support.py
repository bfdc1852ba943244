"""Two records and their night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmeval.reports.regress.baseline import Baseline, digest_scores
from llmeval.reports.regress.night import Night, Side, judge_night
from llmeval.reports.regress.nights import State
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.verdicts import Judged
from llmeval.runs import Run
from tests.support.records import Item, items_of, write_record

Tasks = Mapping[str, Sequence[Item]]


def wrong(n: int, *, of: int) -> list[float]:
    """Values of ``of`` items, the first n of them wrong."""
    return [0.0] * n + [1.0] * (of - n)


def records(folder: Path, before: Tasks, after: Tasks, **more: Any) -> tuple[Run, Run]:
    """Write a baseline and tonight's record; ``more`` is of tonight's."""
    return (
        write_record(folder / "baseline", before),
        write_record(folder / "tonight", after, **more),
    )


def night_of(
    runs: tuple[Run, Run],
    gate: GateSettings | None = None,
    *,
    state: State | None = None,
    name: str = "2026-01-01",
    **side: Any,
) -> tuple[Night, State | None]:
    """Judge tonight's record against the baseline."""
    baseline = Baseline(runs[0], digest_scores(runs[0]))
    made = Side(label="model", baseline=baseline, tonight=runs[1], **side)
    return judge_night([made], gate or GateSettings(), name="nightly", night=name, state=state)


def judge_values(
    folder: Path, before: Sequence[float], after: Sequence[float], **settings: Any
) -> Judged:
    """Judge one task by its values."""
    runs = records(folder, {"task": items_of(before)}, {"task": items_of(after)})
    night, _ = night_of(runs, GateSettings(**settings))
    (unit,) = night.units
    return unit
