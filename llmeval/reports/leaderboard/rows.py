"""Which rows a leaderboard has, and which run each of their numbers comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from llmeval.reports.leaderboard.board import Cell, Column, Figures, Kind, Row
from llmeval.reports.leaderboard.columns import Layout
from llmeval.reports.leaderboard.entries import Entry, Measured
from llmeval.reports.leaderboard.names import name_rows

Number = TypeVar("Number", int, float)

CHANCE, HUMAN = "chance", "human"
NEARLY_ALL = 0.9  # of the most samples that a run of the model has: such runs are as good as whole


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A newer run whose number is not shown because it has fewer samples than an older one.

    Attributes:
        row: name of the row.
        run: position of the entry.
        column: key of the column.
        n, shown_n: samples of this run, and of the one that is shown.
    """

    row: str
    run: int
    column: str
    n: int
    shown_n: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows, and what of the runs is not shown.

    Attributes:
        superseded: runs of which no number is shown because newer ones have them all.
        passed_over: newer runs' numbers that give way to those of more samples.
    """

    rows: tuple[Row, ...]
    superseded: tuple[int, ...]
    passed_over: tuple[PassedOver, ...] = ()


def fill_rows(entries: Sequence[Entry], layout: Layout, *, all_runs: bool) -> Chosen:
    """Make a row of every model, or of every run.

    A model's number is that of its newest run with this task in this form, among those with
    `NEARLY_ALL` of the most samples: a trial with ``--limit`` displaces no whole run.

    Args:
        entries: newest first.
        all_runs: a row for every run.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, entry in enumerate(entries):
        own = (entry.run_id, str(entry.path)) if all_runs else ()
        groups.setdefault((entry.fingerprint, entry.imported or "", *own), []).append(number)
    names = name_rows([entries[runs[0]] for runs in groups.values()])
    rows, superseded, passed_over = [], [], []
    for name, runs in zip(names, groups.values(), strict=True):
        cells, passed = {}, []
        for column in layout.columns:
            found = _list_numbers(entries, runs, layout, column)
            if not found:
                continue
            place = _choose(found)
            shown = found[place]
            cells[column.key] = _fill(entries[shown.run], column, shown)
            passed += [PassedOver(name, f.run, column.key, f.n, shown.n) for f in found[:place]]
        passed_over += passed
        used = sorted({cell.run for cell in cells.values() if cell.run is not None})
        superseded += [
            run
            for run in runs
            if run not in {*used, *(one.run for one in passed)}
            and any(layout.place(entries[run], c) for c in layout.columns)
        ]
        if cells:
            kind: Kind = "baseline" if entries[runs[0]].is_baseline else "model"
            figures = _add_up(entries, used, cells, layout)
            rows.append(Row(name, kind, tuple(used), cells, figures=figures))
    return Chosen(tuple(rows), tuple(superseded), tuple(passed_over))


@dataclass(frozen=True, slots=True)
class _Number:
    """A run's number in a column, and of how many samples it was asked, scored or not."""

    run: int
    measured: Measured
    n: int


def _list_numbers(
    entries: Sequence[Entry], runs: Sequence[int], layout: Layout, column: Column
) -> list[_Number]:
    """Return the numbers that a model's runs have in a column, the newest first."""
    found = []
    for run in runs:
        measured = layout.place(entries[run], column)
        if measured is not None:
            scored = round(measured.n / measured.coverage) if measured.coverage > 0 else 0
            found.append(_Number(run, measured, scored or entries[run].tasks[column.task].n))
    return found


def _choose(found: Sequence[_Number]) -> int:
    """Return the place of the newest number of those with nearly as many samples as any."""
    enough = NEARLY_ALL * max(number.n for number in found)
    return next(place for place, number in enumerate(found) if number.n >= enough)


def _fill(entry: Entry, column: Column, number: _Number) -> Cell:
    measured, faults = number.measured, entry.tasks[column.task].faults
    return Cell(measured, number.run, at_chance=_is_at_chance(measured), faults=faults)


def _is_at_chance(measured: Measured) -> bool | None:
    """Whether the interval reaches down to chance: the model may only be guessing."""
    if measured.chance is None or measured.ci95 is None:
        return None
    low, high = measured.ci95
    return low <= measured.chance if measured.higher_is_better else high >= measured.chance


def _add_up(
    entries: Sequence[Entry], runs: Sequence[int], cells: Mapping[str, Cell], layout: Layout
) -> Figures:
    """Return what a row took: its tasks' cost, and the speed of its runs; a figure that one of them
    lacks is unknown."""
    shown = [
        entries[cell.run].tasks[column.task]
        for column in layout.columns
        if not column.is_group and (cell := cells.get(column.key)) and cell.run is not None
    ]
    usd, answered = _sum([task.usd for task in shown]), sum(task.n for task in shown)
    efforts = [entries[run].effort for run in runs]
    samples = sum(effort.samples for effort in efforts)
    seconds = _sum([effort.seconds for effort in efforts])
    tokens = _sum([effort.tokens for effort in efforts])
    latencies = [effort.latency for effort in efforts if effort.latency is not None]
    memories = [effort.memory for effort in efforts if effort.memory is not None]
    parameters = [effort.parameters for effort in efforts if effort.parameters is not None]
    return Figures(
        usd=usd,
        usd_per_1000=1000 * usd / answered if usd is not None and answered else None,
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        seconds_per_sample=seconds / samples if seconds and samples else None,
        latency=median(latencies) if latencies else None,
        memory=max(memories, default=None),
        parameters=max(parameters, default=None),
        training_seconds=_sum([effort.training_seconds for effort in efforts]),
        learned_bytes=_sum([effort.learned_bytes for effort in efforts]),
    )


def _sum(parts: Sequence[Number | None]) -> Number | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def list_references(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no run stands for: chance, and what tasks say that people reach."""
    chance = {
        column.key: _refer(column, median(known), column.n, median(known))
        for column in columns
        if (known := _chances(column, rows))
    }
    human = {
        column.key: _refer(column, column.human.value, 0, median(known) if known else None)
        for column in columns
        if column.human is not None
        for known in [_chances(column, rows)]
    }
    named: Mapping[str, Mapping[str, Cell]] = {CHANCE: chance, HUMAN: human}
    return [Row(name, "reference", cells=cells) for name, cells in named.items() if cells]


def _chances(column: Column, rows: Sequence[Row]) -> list[float]:
    cells = [row.cells[column.key] for row in rows if column.key in row.cells]
    return [cell.measured.chance for cell in cells if cell.measured.chance is not None]


def _refer(column: Column, value: float, n: int, chance: float | None) -> Cell:
    """A value without a run: nothing was measured here, so there is no interval."""
    return Cell(
        Measured(
            value=value,
            stderr=None,
            ci95=None,
            n=n,
            coverage=1.0,
            chance=chance,
            higher_is_better=column.higher_is_better,
            aggregation=None,
            method="stated",
            status="stated",
        )
    )
