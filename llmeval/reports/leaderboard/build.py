"""From records to a board."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from llmeval.core import UsageError
from llmeval.reports.leaderboard.averages import Averaging, choose_averaging
from llmeval.reports.leaderboard.board import Board, Column, Row
from llmeval.reports.leaderboard.columns import lay_out, usual_n
from llmeval.reports.leaderboard.entries import Entry, LeftOut, read_entry
from llmeval.reports.leaderboard.notes import list_notes
from llmeval.reports.leaderboard.rows import fill_rows, list_references
from llmeval.reports.leaderboard.standings import AVERAGE, Places, compare_rows
from llmeval.reports.leaderboard.tradeoffs import find_tradeoffs


@dataclass(frozen=True, slots=True)
class Choices:
    """What is to be on the board.

    Args:
        tasks: names and patterns of tasks and groups; all if None.
        models: a pattern; all if None.
        metrics: ``acc_norm`` for every task that has it, ``hellaswag=acc_norm`` for one.
        all_runs: a row for every run instead of one for every model.
        normalize: average how far values are above chance.
        by: the task or column to sort and plot by; the average if None.
    """

    tasks: tuple[str, ...] | None = None
    models: str | None = None
    metrics: tuple[str, ...] = ()
    all_runs: bool = False
    normalize: bool = False
    by: str | None = None


def build_board(records: Iterable[Path], choices: Choices = Choices()) -> Board:
    """Return the leaderboard of records.

    Raises:
        UsageError: nothing is left to show, or a task, metric or column that no run has is wanted.
    """
    entries, left_out = _read(records, choices)
    layout = lay_out(entries, choices.tasks, choices.metrics)
    chosen = fill_rows(entries, layout, all_runs=choices.all_runs)
    columns = _keep_shown(layout.columns, chosen.rows)
    averaging = choose_averaging(columns, choices.normalize)
    rows = [_with_average(row, averaging) for row in chosen.rows]
    references = [_with_average(row, averaging) for row in list_references(columns, rows)]
    columns, rows = _compare(columns, rows, entries, averaging)
    by = _find_column(columns, choices.by)
    if by is None and not any(row.average for row in rows if row.kind == "model"):
        by = _fullest(columns, rows)
    rows = sorted(rows, key=lambda row: _rank(row, by))
    models = [row for row in rows if row.kind == "model"]
    return Board(
        columns=columns,
        rows=[*models, *(row for row in rows if row.kind == "baseline"), *references],
        entries=entries,
        sort=None if by is None else by.key,
        normalized=choices.normalize,
        average=averaging.describe() if averaging and any(r.average for r in models) else None,
        left_out=left_out,
        notes=list_notes(columns, rows, entries, averaging, chosen),
        tradeoffs=find_tradeoffs(models, by),
    )


def _read(records: Iterable[Path], choices: Choices) -> tuple[list[Entry], list[LeftOut]]:
    """Return the entries, newest first, and what is left out."""
    found = [read_entry(path) for path in dict.fromkeys(records)]
    left_out = [entry for entry in found if isinstance(entry, LeftOut)]
    entries = [entry for entry in found if isinstance(entry, Entry)]
    if not entries:
        raise _nothing_to_show(left_out)
    if choices.models is not None:
        wanted = [e for e in entries if fnmatchcase(e.model, choices.models)]
        if not wanted:
            some = ", ".join(sorted({entry.model for entry in entries})[:8])
            raise UsageError(
                "no run's model has such a name",
                where=f"--models {choices.models}",
                mend=f"there are {some}",
            )
        entries = wanted
    return sorted(entries, key=lambda e: (e.started, e.run_id), reverse=True), left_out


def _keep_shown(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns that any row has a number in, with the n of what is shown."""
    shown = {c.key: [row.cells[c.key] for row in rows if c.key in row.cells] for c in columns}
    return [
        replace(column, n=usual_n(cell.measured for cell in cells))
        for column in columns
        if (cells := shown[column.key])
    ]


def _nothing_to_show(left_out: Sequence[LeftOut]) -> UsageError:
    if not left_out:
        return UsageError("there are no runs", mend="`llmeval run` makes one; or name records")
    first = left_out[0]
    more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return UsageError(
        "no run is complete", where="leaderboard", mend=f"{first.name}: {first.reason}{more}"
    )


def _with_average(row: Row, averaging: Averaging | None) -> Row:
    if averaging is None:
        return row
    return replace(row, average=averaging.average(row), missing=averaging.missing(row))


def _compare(
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    averaging: Averaging | None,
) -> tuple[list[Column], list[Row]]:
    """Put the standings into the models' cells and averages."""
    models = [number for number, row in enumerate(rows) if row.kind == "model"]
    competing = [rows[number] for number in models]
    averages = {k: row.average.value for k, row in enumerate(competing) if row.average}
    weights = averaging.weights(competing) if averaging else {}
    places = compare_rows(columns, competing, entries, averages, weights)
    placed = list(rows)
    for k, number in enumerate(models):
        placed[number] = _stand(rows[number], k, places)
    return [replace(c, no_tiers=places[c.key].no_tiers) for c in columns], placed


def _stand(row: Row, k: int, places: dict[str, Places]) -> Row:
    cells = {
        key: replace(
            cell,
            standing=places[key].standings.get(k),
            unplaced=places[key].unplaced.get(k) or places[key].no_tiers,
        )
        for key, cell in row.cells.items()
    }
    average, own = row.average, places[AVERAGE]
    if average is not None:
        why = own.unplaced.get(k) or own.no_tiers
        average = replace(average, standing=own.standings.get(k), unplaced=why)
    return replace(row, cells=cells, average=average)


# -- order -----------------------------------------------------------------------------------------


def _find_column(columns: Sequence[Column], wanted: str | None) -> Column | None:
    """Return the column that is meant: by its key, or its task."""
    if wanted is None or wanted == AVERAGE:
        return None
    for column in columns:
        if wanted in (column.key, column.task):
            return column
    some = ", ".join(column.key for column in columns[:8])
    raise UsageError("there is no such column", where=f"--by {wanted}", mend=f"there are {some}")


def _fullest(columns: Sequence[Column], rows: Sequence[Row]) -> Column | None:
    """Return the first of the columns in which most rows have a number."""
    return max(
        columns,
        key=lambda column: sum(column.key in row.cells for row in rows),
        default=None,
    )


def _rank(row: Row, by: Column | None) -> tuple[bool, float, str]:
    """Best first; who has no number comes last, by name."""
    if by is None:
        value, sign = (row.average.value if row.average else None), -1
    else:
        cell = row.cells.get(by.key)
        value, sign = (cell.measured.value if cell else None), -1 if by.higher_is_better else 1
    return value is None, sign * (value or 0.0), row.name
