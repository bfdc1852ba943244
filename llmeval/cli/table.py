"""The results of a run for people: never a number without its n, interval and coverage.

Plain text that fits the terminal: a line for each metric, the task beside it where that fits and
on a line of its own where it does not. Groups come before their subtasks; many subtasks are folded.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.cli.columns import crop, lay_out, print_lines, terminal_width, width_of
from llmeval.cli.findings import ERROR, list_findings, list_leaves, mark
from llmeval.cli.footer import (
    FORM_MARK,
    list_cut,
    list_forms,
    list_not_scored,
    list_usage,
)
from llmeval.cli.streams import BOLD, DIM, RED, has_color, one_line, paint
from llmeval.reports.formats import ALL, format_interval, format_share, format_usd, format_value
from llmeval.reports.outline import Entry, outline

_FOLDED_FROM = 9  # subtasks under one top-level group
_COLUMNS = (
    *("task", "metric", "value", "95% interval", "n", "scored", "chance", "shots", "cost"),
    "health",
)
_SCORED, _HEALTH = _COLUMNS.index("scored"), _COLUMNS.index("health")
_TEXTS = ("metric", "health")
_ABOVE = ("metric", "shots")  # what a task's own line says, or the first column


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
    table = _table(_make_rows(summary, shown), width, color)
    lines = [f"{paint(name, BOLD, color)}  ({styled})", "", *table]
    if folded := len(rows) - len(shown):
        note = f"{folded} subtasks are folded: --all-tasks shows them, summary.json holds them"
        lines.append(paint(note, DIM, color))
    notes = [*list_not_scored(summary), *list_cut(summary)]
    blocks = [
        [*list_forms(row.about for row in rows), *(paint(note, RED, color) for note in notes)],
        list_findings(summary, width, color=color),
        list_usage(summary, performance or {}, width),
    ]
    for block in filter(None, blocks):
        lines += ["", *block]
    return [line.rstrip() for line in lines]


def _fold(rows: Sequence[Entry]) -> list[Entry]:
    """Leave out the subtasks of groups with many: the group's own row says what they come to."""
    leaves = Counter(row.root for row in rows if row.root and not row.is_group)
    large = {root for root, count in leaves.items() if count >= _FOLDED_FROM}
    return [row for row in rows if row.is_group or row.root not in large]


@dataclass(frozen=True, slots=True)
class _Row:
    """A task or a group in the table.

    Args:
        cost: of its answers in USD; None where no price is known.
        health: the mark for its findings.
    """

    entry: Entry
    cost: float | None
    health: str


def _make_rows(summary: Mapping[str, Any], entries: Sequence[Entry]) -> list[_Row]:
    rows = []
    for entry in entries:
        tasks = list_leaves(summary, entry.name)
        usages = [summary["tasks"][task].get("usage") or {} for task in tasks]
        known = [usd for usage in usages if (usd := usage.get("usd")) is not None]
        rows.append(_Row(entry, sum(known) if known else None, mark(summary, tasks)))
    return rows


def _table(rows: Sequence[_Row], width: int, color: bool) -> list[str]:
    beside = _lay_out(rows, width, beside=True, color=False)
    fits = all(width_of(line) <= width for line in beside)
    return _lay_out(rows, width, beside=fits, color=color)


def _lay_out(rows: Sequence[_Row], width: int, *, beside: bool, color: bool) -> list[str]:
    """Return the table's lines, with each task ``beside`` its metrics or above them."""
    places = [(row.entry, i) for row in rows for i in range(len(row.entry.about["metrics"]))]
    cells = [
        _cells(row, *item, first=i == 0)
        for row in rows
        for i, item in enumerate(row.entry.about["metrics"].items())
    ]
    head: tuple[str, ...] = _COLUMNS
    if not beside:
        head = ("  metric", *(name if name not in _ABOVE else "" for name in head[1:]))
        cells = [_below(entry, line) for (entry, _), line in zip(places, cells, strict=True)]

    def style(line: int, column: int) -> str | None:
        text = cells[line][column]
        if column == 0 and beside and places[line][0].is_group:
            return BOLD
        alarming = (column == _SCORED and text != ALL) or (column == _HEALTH and ERROR in text)
        return RED if alarming else None

    first, rule, *lines = lay_out(head, cells, text=_TEXTS, color=color, style=style)
    table = [first, rule]
    for (entry, i), line in zip(places, lines, strict=True):
        if i == 0 and not beside:
            title = crop(f"{_label(entry)}{_shots_of(entry)}", width)
            table.append(paint(title, BOLD, color and entry.is_group))
        table.append(line)
    return table


def _below(entry: Entry, line: Sequence[str]) -> tuple[str, ...]:
    """Return a row's cells for below its task's name, which says the shots as well."""
    cells = dict(zip(_COLUMNS, line, strict=True))
    metric = "  " * (entry.depth + 1) + cells["metric"]
    return (metric, *("" if name in _ABOVE else cells[name] for name in _COLUMNS[1:]))


def _label(row: Entry) -> str:
    mark = f" {FORM_MARK}" if row.about.get("form") else ""
    return "  " * row.depth + one_line(row.name) + mark


def _shots_of(row: Entry) -> str:
    shots = row.about.get("num_fewshot")
    return "" if shots is None else f" ({shots}-shot)"


def _cells(row: _Row, key: str, metric: Mapping[str, Any], *, first: bool) -> tuple[str, ...]:
    """Return the cells of a metric; what is the task's own stands beside its ``first`` one."""
    chance, shots = metric["chance"], row.entry.about.get("num_fewshot")
    return (
        _label(row.entry) if first else "",
        f"{one_line(key)} {'↑' if metric['higher_is_better'] else '↓'}",
        format_value(metric["value"]),
        format_interval(metric["ci95"]),
        str(metric["n"]),
        format_share(metric["coverage"]),
        "" if chance is None else format_value(chance),
        "" if shots is None else str(shots),
        format_usd(row.cost) if first and row.cost is not None else "",
        row.health if first else "",
    )
