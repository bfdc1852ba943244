"""A leaderboard as CSV: a line for each row, numbers in full."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from llmeval.reports.leaderboard.board import Average, Board, Cell, Row

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(board: Board) -> str:
    """Return the board as CSV; a cell without a number is empty.

    A name that a spreadsheet would take for a formula gets an apostrophe in front of it.
    """
    file = io.StringIO()
    lines = [_flatten(board, row) for row in board.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(file, [_safe(name) for name in names], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({_safe(name): _safe(line.get(name)) for name in names})
    return file.getvalue()


def _flatten(board: Board, row: Row) -> dict[str, Any]:
    entries = [board.entries[run] for run in row.runs]
    line: dict[str, Any] = {
        "name": row.name,
        "kind": row.kind,
        "model": entries[0].model if entries else None,
        "fingerprint": entries[0].fingerprint if entries else None,
        "runs": " ".join(entry.run_id for entry in entries),
    }
    if board.average is not None:
        line |= _numbers("average", row.average)
    for column in board.columns:
        cell = row.cells.get(column.key)
        line |= _numbers(column.key, cell)
        measured = cell.measured if cell is not None else None
        line[f"{column.key} n"] = None if measured is None else measured.n
        line[f"{column.key} coverage"] = None if measured is None else measured.coverage
    return line | asdict(row.figures)


def _numbers(name: str, holder: Average | Cell | None) -> dict[str, Any]:
    number = holder.measured if isinstance(holder, Cell) else holder
    standing = holder.standing if holder is not None else None
    low, high = (number.ci95 if number is not None else None) or (None, None)
    return {
        name: None if number is None else number.value,
        f"{name} stderr": None if number is None else number.stderr,
        f"{name} low": low,
        f"{name} high": high,
        f"{name} tier": None if standing is None else standing.tier,
        f"{name} best rank": None if standing is None else standing.best,
        f"{name} worst rank": None if standing is None else standing.worst,
    }


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
