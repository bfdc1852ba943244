"""How a leaderboard's numbers are written, on terminals and pages alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmeval.reports.formats import (
    ALL,
    format_bytes,
    format_interval,
    format_seconds,
    format_share,
    format_usd,
    format_value,
)
from llmeval.reports.leaderboard.board import Board, Cell, Column, Figures, Row
from llmeval.reports.leaderboard.notes import CHANCE, FAULT
from llmeval.reports.leaderboard.standings import AVERAGE


@dataclass(frozen=True, slots=True)
class Words:
    """A number in words; "" for what there is not to say.

    Attributes:
        marks: `CHANCE` and `FAULT`.
        n: where it is not what most rows of the column have.
        coverage: where not all samples are scored.
    """

    value: str
    marks: str = ""
    interval: str = ""
    tier: str = ""
    n: str = ""
    coverage: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.value + self.marks, self.interval, self.tier, self.n, self.coverage)


NOTHING = Words("")


def say_cell(cell: Cell | None, column: Column) -> Words:
    """Return a cell's words."""
    if cell is None:
        return NOTHING
    measured = cell.measured
    marks = (CHANCE if cell.at_chance else "") + (FAULT if cell.faults else "")
    value = format_value(measured.value)
    if cell.run is None:
        return Words(value)
    return Words(
        value,
        marks,
        format_interval(measured.ci95),
        f"({cell.standing.tier})" if cell.standing else "",
        f"n {measured.n}" if measured.n != column.n else "",
        "" if (share := format_share(measured.coverage)) == ALL else share,
    )


def say_average(row: Row) -> Words:
    """Return the words of a row's average."""
    average = row.average
    if average is None:
        return NOTHING
    if row.kind == "reference":  # nothing was measured
        return Words(format_value(average.value))
    return Words(format_value(average.value), interval=format_interval(average.ci95))


def say_title(board: Board) -> str:
    """Say how many models there are, or baselines where there is no model, and their order."""
    kind, count = "model", len(board.models)
    if not count:
        kind, count = "baseline", sum(row.kind == "baseline" for row in board.rows)
    return f"{count} {kind}{'' if count == 1 else 's'}, best first by {board.sort or AVERAGE}"


def say_tier(board: Board, row: Row) -> tuple[str, str]:
    """Return the tier and the bounds of the rank in what the board is sorted by."""
    holder = row.average if board.sort is None else row.cells.get(board.sort)
    standing = holder.standing if holder is not None else None
    return ("", "") if standing is None else (str(standing.tier), standing.ranks)


# -- what it took ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FigureColumn:
    """A column of what rows took."""

    field: str
    title: str
    write: Callable[[float], str]
    about: str

    def say(self, figures: Figures) -> str:
        """Return a figure in words, "" where it is not known."""
        value = getattr(figures, self.field)
        return "" if value is None else self.write(value)


def format_count(number: float) -> str:
    """Return a large count with its unit."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


FIGURES = (
    FigureColumn("parameters", "size", format_count, "parameters"),
    FigureColumn("usd", "cost", format_usd, "of the tasks shown, by list prices"),
    FigureColumn("usd_per_1000", "per 1,000", format_usd, "cost of 1,000 samples"),
    FigureColumn(
        "tokens_per_second",
        "prompt+answer tokens/s",
        _rate,
        "as asked and answered; `llmeval run` tells computed tokens, which share beginnings",
    ),
    FigureColumn("seconds_per_sample", "s/sample", lambda s: f"{s:.2g}", "of the model's time"),
    FigureColumn("latency", "latency", lambda s: f"{s:.2g} s", "median of a call"),
    FigureColumn("memory", "memory", format_bytes, "at the peak"),
    FigureColumn("training_seconds", "training", format_seconds, "of a baseline that learns"),
    FigureColumn("learned_bytes", "learned", format_bytes, "what a baseline keeps of it"),
)


def known_figures(rows: Sequence[Row]) -> list[FigureColumn]:
    """Return the columns in which any row has a figure."""
    return [c for c in FIGURES if any(getattr(row.figures, c.field) is not None for row in rows)]
