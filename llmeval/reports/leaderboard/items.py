"""The scores of a column's rows on the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.leaderboard.board import Column, Row
from llmeval.reports.leaderboard.entries import Entry
from llmeval.reports.matching import match
from llmeval.reports.scores import Floats, Scores, ScoreTable, read_scores
from llmeval.runs import Run
from llmeval.runs.record import SCORES

MOST_SCORES = 4_000_000  # read at once, unless one task alone has more
NO_SAMPLES = "no samples"
OTHER_WORDS = "asked in other words"
OTHER_ITEMS = "other items"

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class ColumnItems:
    """What a column's rows scored, item by item.

    Attributes:
        rows: [K] positions of the rows that can be compared.
        values: [K, N] higher is better; NaN where a row has no number for an item.
        clusters: [N] codes; None where every item stands alone.
        unplaced: why other rows cannot be compared, by their position.
    """

    rows: tuple[int, ...]
    values: Floats
    clusters: NDArray[np.int64] | None
    unplaced: Mapping[int, str]


def read_items(
    columns: Sequence[Column], rows: Sequence[Row], entries: Sequence[Entry]
) -> Iterator[tuple[Column, ColumnItems]]:
    """Yield the items of every task's column, some columns at a time so that memory is bounded.

    Args:
        columns: of tasks, not groups; their values are means over samples.
        rows: those to be compared.
    """
    shown = {column.key: _rows_by_run(column, rows) for column in columns}
    runs = {run for rows_by_run in shown.values() for run in rows_by_run}
    readable = {run for run in runs if _has_items(entries[run].path)}
    for batch in _cut(columns, rows):
        wanted = sorted({run for column in batch for run in shown[column.key]} & readable)
        table = _read(batch, [Run(entries[run].path) for run in wanted])
        for column in batch:
            rows_by_run = shown[column.key]
            places = [rows_by_run.get(run, -1) for run in wanted]
            yield column, _collect(column, table, places, set(rows_by_run.values()))


def _rows_by_run(column: Column, rows: Sequence[Row]) -> dict[int, int]:
    """Return the position of the row that shows a run's number in a column."""
    cells = ((row.cells.get(column.key), number) for number, row in enumerate(rows))
    return {
        cell.run: number
        for cell, number in cells
        if cell is not None and cell.run is not None and cell.measured.value is not None
    }


def _has_items(record: Path) -> bool:
    """Whether a record's scores can be read, and say which items they are of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(record / SCORES).names
    except (OSError, pa.ArrowInvalid):
        return False
    return {"content", "asked"} <= set(names)


def _cut(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[list[Column]]:
    """Cut columns into batches of so many scores."""
    batch: list[Column] = []
    size = 0
    for column in columns:
        more = sum(row.cells[column.key].measured.n for row in rows if column.key in row.cells)
        if batch and size + more > MOST_SCORES:
            yield batch
            batch, size = [], 0
        batch.append(column)
        size += more
    if batch:
        yield batch


def _read(columns: Sequence[Column], runs: Sequence[Run]) -> ScoreTable | None:
    tasks = list({column.task for column in columns})
    metrics = list({column.metric for column in columns})
    return read_scores(runs, tasks=tasks, metrics=metrics) if runs else None


def _collect(
    column: Column, table: ScoreTable | None, places: Sequence[int], rows: set[int]
) -> ColumnItems:
    """Match a column's items.

    Args:
        places: the row of each of the table's runs, -1 for a run that the column does not show.
        rows: all that have a number in the column.
    """
    key = (column.task, column.metric)
    scores = None
    if table is not None and key in table.keys:
        scores = _choose_runs(table.scores(*key), np.array(places, dtype=np.int64))
    if scores is None or not len(scores.run):
        return ColumnItems((), np.empty((0, 0)), None, dict.fromkeys(rows, NO_SAMPLES))
    scores = _put_usual_first(scores)
    # Each model's own template writes other words around the same chat.
    matched = match(scores, across_prompts=bool(column.form.chat))
    has = ~np.isnan(matched.values)
    core = has[has.sum(axis=1).argmax()]
    shared = (has & core).sum(axis=1)
    scored = np.bincount(scores.run, weights=~np.isnan(scores.value))
    asked_otherwise = {e.run for e in matched.excluded if e.reason == "changed prompt"}
    unplaced = dict.fromkeys(rows - set(matched.runs), NO_SAMPLES)
    kept = []
    for k, row in enumerate(matched.runs):
        if shared[k] >= 2 and 2 * has[k].sum() >= scored[row]:
            kept.append(k)
        else:
            unplaced[row] = OTHER_WORDS if row in asked_otherwise else OTHER_ITEMS
    return ColumnItems(
        rows=tuple(matched.runs[k] for k in kept),
        values=matched.values[kept] * (1 if column.higher_is_better else -1),
        clusters=matched.clusters,
        unplaced=unplaced,
    )


def _choose_runs(scores: Scores, places: NDArray[np.int64]) -> Scores:
    """Return scores by row instead of by run, without the runs that have none."""
    rows = places[scores.run]
    scores = replace(scores, run=rows)
    return scores if (places >= 0).all() else _take(scores, np.flatnonzero(rows >= 0))


def _put_usual_first(scores: Scores) -> Scores:
    """Begin with the rows that asked as most rows did: what they asked is what others must."""
    starts = np.flatnonzero(np.diff(scores.run, prepend=-1))
    keys = (scores.content ^ (scores.asked * _ODD)) * _ODD  # an item, asked in one way
    if len(np.unique(np.add.reduceat(keys, starts))) == 1:
        return scores  # all rows have the same items, asked alike
    _, found, counts = np.unique(keys, return_inverse=True, return_counts=True)
    agreeing = np.add.reduceat(counts[found], starts)
    blocks = np.split(np.arange(len(keys)), starts[1:])
    order = np.argsort(-agreeing, kind="stable")
    return _take(scores, np.concatenate([blocks[k] for k in order]))


def _take(scores: Scores, rows: NDArray[np.int64]) -> Scores:
    columns: dict[str, Any] = {f.name: getattr(scores, f.name) for f in fields(scores)}
    taken: dict[str, Any] = {n: None if c is None else c[rows] for n, c in columns.items()}
    return Scores(**taken)
