"""Columns of plain text for a terminal: padded, cropped, and never torn by wide characters."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import TextIO

from llmeval.cli.streams import DIM, has_color, one_line, paint, shows

GAP = "  "
_PLAIN_WIDTH = 120  # of a file or a pipe
_LEAST_WIDTH = 40
_LEAST_TEXT = 8  # columns that a cropped text keeps
_SYMBOLS = {"↑": "^", "↓": "v", "…": "..", "─": "-"}

Style = Callable[[int, int], str | None]
"""From the place of a cell (row, column) to its ANSI style."""


def lay_out(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: Collection[str] = (),
    width: int | None = None,
    color: bool = False,
    style: Style | None = None,
) -> list[str]:
    """Return a table's lines: its head, a rule, and a line for each row.

    The first column and those named in ``text`` stand to the left, all others to the right.
    A column whose cells are all empty is left out. Control characters in cells become visible.

    Args:
        rows: cells, as many in each row as there are in ``head``.
        width: columns of the terminal; texts that make a line longer are cropped, None: nothing is.
        color: whether to use ANSI styles; ``style`` names those of single cells.
    """
    cells = [[_visible(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True)) if cells else [()] * len(head)
    kept = [i for i, column in enumerate(columns) if any(column) or not cells]
    left = {i for i in kept if i == 0 or head[i] in text}
    widths = {i: max(map(width_of, (head[i], *columns[i]))) for i in kept}
    if width is not None:
        _shrink(widths, left, width)

    def join(line: Sequence[str], row: int | None = None) -> str:
        padded = [pad(crop(line[i], widths[i]), widths[i], right=i not in left) for i in kept]
        if row is not None and style is not None and color:
            padded = [
                paint(cell, style(row, i) or "", bool(style(row, i)))
                for i, cell in zip(kept, padded, strict=True)
            ]
        return GAP.join(padded)

    first = join(head)
    rule = "─" * width_of(first)
    lines = [join(line, row) for row, line in enumerate(cells)]
    return [paint(first, DIM, color), paint(rule, DIM, color), *lines]


def _visible(cell: str) -> str:
    """Return a cell on one line, its indent kept."""
    bare = cell.lstrip(" ")
    return cell[: len(cell) - len(bare)] + one_line(bare)


def _shrink(widths: dict[int, int], left: Collection[int], width: int) -> None:
    """Crop text columns, the widest first, until a line fits or each is as narrow as may be."""
    over = sum(widths.values()) + len(GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(left, key=lambda i: widths[i], default=None)
        if widest is None or widths[widest] <= _LEAST_TEXT:
            return
        widths[widest] -= 1
        over -= 1


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes; East Asian letters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Fill a text up with blanks, before it where it stands to the ``right``."""
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def crop(text: str, width: int) -> str:
    """Cut a text to a width; an ellipsis says so."""
    from rich.cells import set_cell_size

    return text if width_of(text) <= width else f"{set_cell_size(text, width - 1)}…"


def wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Cut a text into lines at its blanks.

    Args:
        width: of the terminal; no line gets narrower than some words.
        first: what the first line begins with.
        rest: what the other lines begin with; by default as many blanks.
    """
    text, indent = one_line(text), width_of(first)
    room = max(width, _LEAST_WIDTH) - indent
    if width_of(text) > len(text):  # in letters that take two columns
        room //= 2
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    rest = " " * indent if rest is None else rest
    return [(rest if i else first) + line for i, line in enumerate(lines)]


def terminal_width(stream: TextIO) -> int:
    """Return the columns of a terminal, or those that lines in a file or pipe may take."""
    return shutil.get_terminal_size().columns if has_width(stream) else _PLAIN_WIDTH


def has_width(stream: TextIO) -> bool:
    """Return whether something says how wide lines may be: a terminal, or ``COLUMNS``."""
    # Shells keep COLUMNS to themselves: in the environment it is where somebody put it there.
    given = os.environ.get("COLUMNS", "")
    return stream.isatty() or (given.isdecimal() and int(given) > 0)


def print_lines(lines: Sequence[str], stream: TextIO) -> None:
    """Print lines to a stream; its encoding may lack the symbols that tables are made of."""
    for line in lines:
        print(line if shows(line, stream) else _plain(line), file=stream)


def _plain(line: str) -> str:
    for symbol, substitute in _SYMBOLS.items():
        line = line.replace(symbol, substitute)
    return line


def print_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    stream: TextIO,
    *,
    text: Collection[str] = (),
) -> None:
    """Print a table as wide as the terminal."""
    lines = lay_out(head, rows, text=text, width=terminal_width(stream), color=has_color(stream))
    print_lines(lines, stream)
