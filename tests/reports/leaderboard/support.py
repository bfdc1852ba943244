"""Records of made-up models for boards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmeval.reports.leaderboard import Board, Choices, build_board
from llmeval.reports.leaderboard.board import Row
from tests.support.records import Item, items_of, write_record

Values = Sequence[float]


def record(
    folder: Path,
    model: str,
    tasks: Mapping[str, Values | Sequence[Item]],
    *,
    day: int = 1,
    **settings: Any,
) -> Path:
    """Write a run of a model, begun on a day of 2026-01, and return its folder."""
    items = {
        name: values if values and isinstance(values[0], Item) else items_of(values)  # type: ignore[arg-type]
        for name, values in tasks.items()
    }
    words = "".join(c if c.isalnum() else "-" for c in model)[:20]
    path = folder / f"202601{day:02d}-000000-{words}-{len(list(folder.glob('*'))):04x}"
    write_record(path, items, model=model, **settings)
    edit(path, "manifest", lambda m: m.update(started=f"2026-01-{day:02d}T00:00:00+00:00"))
    return path


def edit(path: Path, name: str, change: Any) -> None:
    """Change a JSON file of a record in place."""
    file = path / f"{name}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def board_of(folder: Path, **choices: Any) -> Board:
    """Return the board of all records in a folder."""
    return build_board(sorted(folder.iterdir()), Choices(**choices))


def row_of(board: Board, name: str) -> Row:
    return next(row for row in board.rows if row.name == name)


def right(share: float, n: int = 400, seed: int = 0) -> list[float]:
    """Random answers, of which about a share is right."""
    return (np.random.default_rng(seed).random(n) < share).astype(float).tolist()
