"""A leaderboard for people: tables that fit the terminal, then what a reader has to know."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmeval.cli.columns import (
    GAP,
    crop,
    lay_out,
    pad,
    print_lines,
    terminal_width,
    width_of,
)
from llmeval.cli.streams import BOLD, DIM, has_color, one_line, paint
from llmeval.reports.leaderboard.board import Board, Column, Row
from llmeval.reports.leaderboard.words import (
    Words,
    known_figures,
    say_average,
    say_cell,
    say_tier,
    say_title,
)

_LONGEST_NAME = 40  # a model, a setting, and when the run began
_LEFT_OUT_SHOWN = 8


@dataclass(frozen=True, slots=True)
class _Block:
    """A column of the printed table: its head in two lines, and its cells."""

    head: str
    under: str
    cells: tuple[str, ...]
    left: bool = False

    @property
    def width(self) -> int:
        return max(width_of(text) for text in (self.head, self.under, *self.cells))


def print_board(board: Board, *, all_tasks: bool = False) -> None:
    """Print a leaderboard to stdout, as wide as the terminal."""
    stream = sys.stdout
    print_lines(
        render(board, terminal_width(stream), color=has_color(stream), all_tasks=all_tasks), stream
    )


def render(board: Board, width: int, *, color: bool = False, all_tasks: bool = False) -> list[str]:
    """Return the lines of a leaderboard.

    Args:
        width: of the terminal; columns that do not fit beside one another follow below.
        all_tasks: with the subtasks of groups.
    """
    columns = list(board.columns) if all_tasks else board.top_columns
    lines = [paint(one_line(say_title(board)), BOLD, color), ""]
    for table in _cut(board, columns, width):
        lines += [*_draw(board.rows, table, color), ""]
    folded = len(board.columns) - len(columns)
    notes = [f"{folded} subtasks are folded: --all-tasks shows them"] if folded else []
    notes += [*board.notes, *(found.describe() for found in board.tradeoffs)]
    notes += _list_left_out(board)
    for note in notes:
        wrapped = textwrap.wrap(
            one_line(note), max(40, width - 2), subsequent_indent="  ", break_on_hyphens=False
        )
        lines += [paint(line, DIM, color) for line in wrapped]
    return [line.rstrip() for line in lines]


def _cut(board: Board, columns: Sequence[Column], width: int) -> Iterator[list[_Block]]:
    """Put as many columns beside the names as fit; the others come in further tables."""
    names = _names(board.rows)
    table = [names, *_places(board)]
    for block in [*_averages(board), *(_results(board, column) for column in columns)]:
        if len(table) > 1 and _width(table) + len(GAP) + block.width > width:
            yield table
            table = [names]
        table.append(block)
    yield table
    figures = [
        _Block(c.title, "", tuple(c.say(row.figures) for row in board.rows))
        for c in known_figures(board.rows)
    ]
    if figures:
        yield [names, *figures]


def _width(table: Sequence[_Block]) -> int:
    return sum(block.width for block in table) + len(GAP) * (len(table) - 1)


def _names(rows: Sequence[Row]) -> _Block:
    names = tuple(_shorten(one_line(row.name)) for row in rows)
    return _Block("model", "", names, left=True)


def _shorten(name: str) -> str:
    """Cut a name in its middle: paths differ at their ends."""
    if width_of(name) <= _LONGEST_NAME:
        return name
    end = name[-2 * _LONGEST_NAME // 3 :]
    return crop(name, max(2, _LONGEST_NAME - width_of(end))) + end


def _places(board: Board) -> list[_Block]:
    said = [say_tier(board, row) for row in board.rows]
    if all(words == ("", "") for words in said):
        return []
    tiers, ranks = zip(*said, strict=True)
    return [_Block("tier", "", tiers), _Block("rank", "", ranks)]


def _averages(board: Board) -> list[_Block]:
    if board.average is None:
        return []
    words = [say_average(row) for row in board.rows]
    under = "above chance" if board.normalized else "95% interval"
    return [_Block("average", under, _align(words))]


def _results(board: Board, column: Column) -> _Block:
    cells = _align([say_cell(row.cells.get(column.key), column) for row in board.rows])
    under = f"{column.metric} {'↑' if column.higher_is_better else '↓'}  n {column.n}"
    width = max((width_of(cell) for cell in cells), default=0)
    head = one_line(f"{column.task}, {column.label}" if column.label else column.task)
    widest = max(width, _LONGEST_NAME)
    return _Block(crop(head, widest), crop(one_line(under), widest), cells)


def _align(words: Sequence[Words]) -> tuple[str, ...]:
    """Put values, intervals and tiers under one another; marks stand behind the digits."""
    marks = max((width_of(one.marks) for one in words), default=0)
    values = [one.value and one.value + pad(one.marks, marks) for one in words]
    rest = zip(*(one.parts[1:] for one in words), strict=True)
    columns = [tuple(values), *rest]
    kept = [column for column in columns if any(column)]
    widths = [max(map(width_of, column)) for column in kept]
    lines = zip(*kept, strict=True) if kept else [()] * len(words)
    return tuple(
        GAP.join(pad(part, width, right=True) for part, width in zip(line, widths, strict=True))
        for line in lines
    )


def _draw(rows: Sequence[Row], table: Sequence[_Block], color: bool) -> list[str]:
    """Lay a table out; rows without anything in it are left out, kinds are apart."""
    shown = [k for k in range(len(rows)) if any(block.cells[k].strip() for block in table[1:])]
    has_under = any(block.under for block in table)
    cells = [[block.under for block in table]] if has_under else []
    cells += [[block.cells[k] for block in table] for k in shown]
    heads = [block.head for block in table]
    kinds = [None] * has_under + [rows[k].kind for k in shown]

    def style(line: int, column: int) -> str | None:
        return DIM if kinds[line] != "model" else None

    # A column that is empty here keeps its place: `lay_out` would drop it.
    head, rule, *lines = lay_out(heads, cells, color=color, style=style)
    drawn = [head, *lines[:has_under], rule]
    before = "model"
    for kind, line in zip(kinds[has_under:], lines[has_under:], strict=True):
        if kind != before and before == "model" and len(drawn) > 2 + has_under:
            drawn.append(rule)
        before = kind or before
        drawn.append(line)
    return drawn


def _list_left_out(board: Board) -> list[str]:
    lines = [f"left out: {left.name}: {left.reason}" for left in board.left_out]
    if len(lines) > _LEFT_OUT_SHOWN:
        more = len(lines) - _LEFT_OUT_SHOWN
        lines[_LEFT_OUT_SHOWN:] = [f"left out: {more} more runs, see --json"]
    return lines
