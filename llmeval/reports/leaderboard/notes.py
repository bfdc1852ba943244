"""What a reader of a leaderboard has to know, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmeval.reports.leaderboard.averages import Averaging
from llmeval.reports.leaderboard.board import Column, Row
from llmeval.reports.leaderboard.entries import Entry
from llmeval.reports.leaderboard.items import NO_SAMPLES
from llmeval.reports.leaderboard.rows import NEARLY_ALL, Chosen, PassedOver

CHANCE, FAULT = "°", "!"
"""Marks of cells: no better than chance; a health check found an error."""

_NAMED = 5
TIERS = (
    "tiers, (1) the best, and bounds of ranks are of models, each column by itself, at 95%: every"
    " pair is compared on the same items (paired, and clustered where items are), with Holm's"
    " correction over all pairs; models of one tier are not told apart from its best"
)
LATEST = (
    "a model's number is that of its newest complete run with this task in this form, of those with"
    f" at least {NEARLY_ALL:.0%} of the most samples"
)


def list_notes(
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    averaging: Averaging | None,
    chosen: Chosen,
) -> list[str]:
    """Return the notes, each one sentence without a full stop."""
    return list(_notes(columns, rows, entries, averaging, chosen))


def _notes(
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    averaging: Averaging | None,
    chosen: Chosen,
) -> Iterator[str]:
    models = [row for row in rows if row.kind == "model"]
    if len(models) > 1:
        yield TIERS
    if chosen.superseded or chosen.passed_over:
        older = len(chosen.superseded)
        runs = f"; {older} older {'run is' if older == 1 else 'runs are'} not shown (--all-runs)"
        yield LATEST + (runs if older else "")
    yield from _passed_over(chosen.passed_over, entries)
    if averaging is not None:
        yield from _averages(columns, models, averaging)
    for column in columns:
        if column.is_group and column.parent is None:
            how = {True: "weighted by size", False: "unweighted", None: "in an unknown way"}
            size = len(column.leaves)
            yield f"{column.key}: the group's own average over {size} tasks, {how[column.by_size]}"
    yield from _unplaced(columns, models)
    if any(column.label for column in columns):
        yield "columns of one task with different forms of asking are not compared with each other"
    if any(column.form.chat for column in columns):
        yield "with chat templates, every model's prompts are rendered by its own"
    faults = [
        f"{row.name}, {c.task}: {cell.faults[0]}"
        for row in models
        for c in columns
        if (cell := row.cells.get(c.key)) is not None and cell.faults
    ]
    if faults:
        yield f"{FAULT} the number may not mean what it says: {_some(faults, '; ')}"
    if any(cell.at_chance for row in rows for cell in row.cells.values()):
        yield f"{CHANCE} the interval reaches chance"
    humans = {f"{c.task}: {c.human.source}" for c in columns if c.human is not None}
    if humans:
        yield f"human values are as the tasks state them: {_some(sorted(humans), '; ')}"
    tools = sorted({entry.imported for entry in entries if entry.imported})
    if tools:
        yield f"imported results: {', '.join(tools)}"


def _passed_over(passed: Sequence[PassedOver], entries: Sequence[Entry]) -> Iterator[str]:
    """Name the newer runs that are not shown because they have fewer samples."""
    by_run: dict[tuple[str, int], list[PassedOver]] = {}
    for one in passed:
        by_run.setdefault((one.row, one.run), []).append(one)
    told = []
    for (row, run), cells in by_run.items():
        first, more = cells[0], len(cells) - 1
        also = f" and {more} more {'column' if more == 1 else 'columns'}" if more else ""
        where = f"n {first.n} instead of {first.shown_n} in {first.column}{also}"
        told.append(f"{row}: {entries[run].run_id} ({where})")
    if told:
        yield f"newer and smaller, not shown (--all-runs): {_some(told, '; ')}"


def _averages(
    columns: Sequence[Column], models: Sequence[Row], averaging: Averaging
) -> Iterator[str]:
    lacking = [row for row in models if row.missing]
    if models and len(lacking) == len(models):
        yield f"no average: no model has all of {averaging.names()}; choose columns with --tasks"
        return
    yield f"average: {averaging.describe()}"
    if lacking:
        told = [f"{row.name} lacks {_some(row.missing)}" for row in lacking]
        yield f"without average: {_some(told, '; ')}"
    top = [column for column in columns if column.parent is None]
    if left := [f"{c.key} ({c.not_averaged})" for c in top if c.not_averaged]:
        yield f"not averaged: {_some(left)}"


def _unplaced(columns: Sequence[Column], models: Sequence[Row]) -> Iterator[str]:
    """Say where there are no tiers, and which rows stand outside of them."""
    if len(models) < 2:
        return
    top = [column for column in columns if column.parent is None]
    refused = [f"{column.key}: {column.no_tiers}" for column in top if column.no_tiers]
    if refused:
        yield f"no tiers: {_some(refused, '; ')}"
    outside: dict[str, list[str]] = {}
    for row in models:
        for column in top:
            cell = row.cells.get(column.key)
            if cell is not None and cell.unplaced and not column.no_tiers:
                outside.setdefault(f"{row.name}: {cell.unplaced}", []).append(column.key)
    if outside:
        told = [f"{who} ({_some(where)})" for who, where in outside.items()]
        yield f"not in tiers: {_some(told, '; ')}"
    if any(NO_SAMPLES in who for who in outside):
        yield "without samples there is only a summary, and nothing to compare item by item"


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return between.join(names[:_NAMED]) + more
