"""A leaderboard as Markdown, for a README or an issue."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.reports.formats import escape_markdown
from llmeval.reports.formats import to_markdown as write_table
from llmeval.reports.leaderboard.board import Board, Column, Row
from llmeval.reports.leaderboard.words import (
    Words,
    known_figures,
    say_average,
    say_cell,
    say_tier,
)


def to_markdown(board: Board, *, all_tasks: bool = False) -> str:
    """Return the board's tables, trade-offs and notes.

    Args:
        all_tasks: with the subtasks of groups.
    """
    columns = list(board.columns) if all_tasks else board.top_columns
    parts = [_results(board, columns), _costs(board)]
    fronts = [f"- {escape_markdown(found.describe())}" for found in board.tradeoffs]
    notes = [f"- {escape_markdown(note)}" for note in board.notes]
    left = [f"- left out: {escape_markdown(f'{o.name}: {o.reason}')}" for o in board.left_out]
    parts.append("\n".join([*fronts, *notes, *left]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _results(board: Board, columns: Sequence[Column]) -> str:
    placed = any(say_tier(board, row) != ("", "") for row in board.rows)
    head = [
        "model",
        *(("tier", "rank") if placed else ()),
        *(("average",) if board.average else ()),
    ]
    head += [f"{column.title} (n {column.n})" for column in columns]
    lines = []
    for row in board.rows:
        line = [_name(row), *(say_tier(board, row) if placed else ())]
        line += [_write(say_average(row))] if board.average else []
        line += [_write(say_cell(row.cells.get(column.key), column)) for column in columns]
        lines.append(line)
    return write_table(head, lines)


def _name(row: Row) -> str:
    return row.name if row.kind == "model" else f"{row.name} ({row.kind})"


def _write(words: Words) -> str:
    interval = words.interval.replace(" … ", "…")
    return " ".join(part for part in (words.parts[0], interval, *words.parts[2:]) if part)


def _costs(board: Board) -> str:
    figures = known_figures(board.rows)
    if not figures:
        return ""
    rows = [row for row in board.rows if any(c.say(row.figures) for c in figures)]
    head = ["model", *(f"{c.title}" for c in figures)]
    return write_table(head, [[row.name, *(c.say(row.figures) for c in figures)] for row in rows])
