"""A leaderboard as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from llmeval import __version__
from llmeval.reports.leaderboard.board import Average, Board, Cell, Column, Row, Standing, Tradeoff


def to_plain(board: Board) -> dict[str, Any]:
    """Return everything that a board holds as JSON data."""
    return {
        "llmeval": __version__,
        "sort": board.sort or ("average" if board.average else None),
        "normalized": board.normalized,
        "average": board.average,
        "columns": [_column(column) for column in board.columns],
        "rows": [_row(board, row) for row in board.rows],
        "tradeoffs": [_tradeoff(tradeoff) for tradeoff in board.tradeoffs],
        "left_out": [asdict(left) for left in board.left_out],
        "notes": list(board.notes),
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "task": column.task,
        "metric": column.metric,
        "form": asdict(column.form),
        "higher_is_better": column.higher_is_better,
        "group": list(column.leaves) or None,
        "weighted_by_size": column.by_size if column.is_group else None,
        "part_of": column.parent,
        "averaged": column.averaged,
        "not_averaged": column.not_averaged,
        "no_tiers": column.no_tiers,
        "n": column.n,
        "human": None if column.human is None else asdict(column.human),
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    entries = [board.entries[run] for run in row.runs]
    return {
        "name": row.name,
        "kind": row.kind,
        "model": entries[0].model if entries else None,
        "fingerprint": entries[0].fingerprint if entries else None,
        "imported": entries[0].imported if entries else None,
        "runs": [entry.run_id for entry in entries],
        "average": None if row.average is None else _average(row.average),
        "lacks": list(row.missing),
        "cells": {key: _cell(board, cell) for key, cell in row.cells.items()},
        "figures": asdict(row.figures),
    }


def _average(average: Average) -> dict[str, Any]:
    return {
        "value": average.value,
        "stderr": average.stderr,
        "ci95": average.ci95,
        **_standing(average.standing),
        "not_in_tiers": average.unplaced,
    }


def _cell(board: Board, cell: Cell) -> dict[str, Any]:
    measured = cell.measured
    return {
        "value": measured.value,
        "stderr": measured.stderr,
        "ci95": measured.ci95,
        "n": measured.n,
        "coverage": measured.coverage,
        "chance": measured.chance,
        "at_chance": cell.at_chance,
        "method": measured.method,
        **_standing(cell.standing),
        "not_in_tiers": cell.unplaced,
        "faults": list(cell.faults),
        "run": None if cell.run is None else board.entries[cell.run].run_id,
    }


def _standing(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return {"tier": None, "ranks": None}
    return {"tier": standing.tier, "ranks": [standing.best, standing.worst]}


def _tradeoff(tradeoff: Tradeoff) -> dict[str, Any]:
    return {
        "value": tradeoff.value,
        "against": tradeoff.axis.field,
        "more_is_better": tradeoff.axis.more_is_better,
        "front": tradeoff.front,
        "points": [
            {"name": s.row, "x": s.x * tradeoff.axis.scale, "y": s.y, "on_front": s.on_front}
            for s in tradeoff.spots
        ],
    }
