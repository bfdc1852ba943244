"""The results of a run for people: never a number without its n, interval and coverage.

Plain text that fits the terminal: a line for each metric, the task beside it where that fits and
on a line of its own where it does not. Groups come before their subtasks; many subtasks are folded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.cli.columns import crop, lay_out, print_lines, terminal_width, width_of
from llmeval.cli.footer import (
    FORM_MARK,
    list_cut,
    list_forms,
    list_not_scored,
    list_performance,
    list_usage,
)
from llmeval.cli.streams import BOLD, DIM, RED, has_color, one_line, paint
from llmeval.reports.outline import Entry, outline

_FOLDED_FROM = 9  # subtasks under one top-level group
_COLUMNS = ("metric", "value", "95% interval", "n", "scored", "chance", "shots")
_SCORED = 1 + _COLUMNS.index("scored")  # behind the task
_ALL = "100%"


def print_results(
    summary: Mapping[str, Any],
    performance: Mapping[str, Any] | None = None,
    *,
    all_tasks: bool = False,
) -> None:
    """Print a run's results and its model's figures to stdout, as wide as the terminal."""
    stream = sys.stdout
    width, color = terminal_width(stream), has_color(stream)
    lines = render(summary, width, performance=performance, color=color, all_tasks=all_tasks)
    print_lines(lines, stream)


def render(
    summary: Mapping[str, Any],
    width: int,
    *,
    performance: Mapping[str, Any] | None = None,
    color: bool = False,
    all_tasks: bool = False,
) -> list[str]:
    """Return the lines of a summary: title, table, what was folded or not scored, usage."""
    rows = outline(summary)
    shown = rows if all_tasks else _fold(rows)
    name, status = one_line(summary["model"]["name"]), summary["status"]
    styled = paint(status, RED, color and status != "complete")
    lines = [f"{paint(name, BOLD, color)}  ({styled})", "", *_table(shown, width, color)]
    if folded := len(rows) - len(shown):
        note = f"{folded} subtasks are folded: --all-tasks shows them, summary.json holds them"
        lines.append(paint(note, DIM, color))
    notes = [*list_not_scored(summary), *list_cut(summary)]
    lines += ["", *list_forms(row.about for row in rows)]
    lines += [paint(note, RED, color) for note in notes]
    lines += [*list_usage(summary), *list_performance(performance or {})]
    return [line.rstrip() for line in lines]


def _fold(rows: Sequence[Entry]) -> list[Entry]:
    """Leave out the subtasks of groups with many: the group's own row says what they come to."""
    leaves = [row.root for row in rows if row.root and not row.is_group]
    large = {root for root in leaves if leaves.count(root) >= _FOLDED_FROM}
    return [row for row in rows if row.is_group or row.root not in large]


def _table(rows: Sequence[Entry], width: int, color: bool) -> list[str]:
    beside = _lay_out(rows, width, beside=True, color=False)
    fits = all(width_of(line) <= width for line in beside)
    return _lay_out(rows, width, beside=fits, color=color)


def _lay_out(rows: Sequence[Entry], width: int, *, beside: bool, color: bool) -> list[str]:
    """Return the table's lines, with each task ``beside`` its metrics or above them."""
    places = [(row, i) for row in rows for i in range(len(row.about["metrics"]))]
    cells = [
        _cells(row, *item, beside=beside and i == 0)
        for row in rows
        for i, item in enumerate(row.about["metrics"].items())
    ]
    head = ("task", *_COLUMNS)
    if not beside:
        indents = ["  " * (row.depth + 1) for row, _ in places]
        cells = [
            (indent + line[1], "", *line[2:-1], "")
            for indent, line in zip(indents, cells, strict=True)
        ]
        head = ("  metric", *head[1:])

    def style(line: int, column: int) -> str | None:
        if column == 0 and beside and places[line][0].is_group:
            return BOLD
        return RED if column == _SCORED and cells[line][column] != _ALL else None

    first, rule, *lines = lay_out(head, cells, text=("metric",), color=color, style=style)
    table = [first, rule]
    for (row, i), line in zip(places, lines, strict=True):
        if i == 0 and not beside:
            title = crop(f"{_label(row)}{_shots_of(row)}", width)
            table.append(paint(title, BOLD, color and row.is_group))
        table.append(line)
    return table


def _label(row: Entry) -> str:
    mark = f" {FORM_MARK}" if row.about.get("form") else ""
    return "  " * row.depth + one_line(row.name) + mark


def _shots_of(row: Entry) -> str:
    shots = row.about.get("num_fewshot")
    return "" if shots is None else f" ({shots}-shot)"


def _cells(row: Entry, key: str, metric: Mapping[str, Any], *, beside: bool) -> tuple[str, ...]:
    ci95, chance, shots = metric["ci95"], metric["chance"], row.about.get("num_fewshot")
    return (
        _label(row) if beside else "",
        f"{one_line(key)} {'↑' if metric['higher_is_better'] else '↓'}",
        _number(metric["value"]),
        f"{_number(ci95[0])} … {_number(ci95[1])}" if ci95 else "unknown",
        str(metric["n"]),
        _share(metric["coverage"]),
        "" if chance is None else _number(chance),
        "" if shots is None else str(shots),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    if value != 0 and abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def _share(coverage: float) -> str:
    """Return a coverage in percent, rounded down: only all is 100%."""
    return _ALL if coverage >= 1 else f"{math.floor(coverage * 1000) / 10:.1f}%"
