"""The results of a run for people: never a number without its n, interval and coverage.

Plain text that fits the terminal: a line for each metric, the task beside it where that fits and
on a line of its own where it does not. Groups come before their subtasks; many subtasks are folded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_FOLDED_FROM = 9  # subtasks under one top-level group
_COLUMNS = ("metric", "value", "95% interval", "n", "scored", "chance", "shots")
_SCORED = 1 + _COLUMNS.index("scored")  # behind the task
_ALL = "100%"


@dataclass(frozen=True, slots=True)
class _Row:
    """A task or a group.

    Args:
        root: the top-level group above it, None for what stands at the top itself.
        depth: how many groups stand above it.
    """

    name: str
    entry: Mapping[str, Any]
    is_group: bool
    root: str | None
    depth: int

    @property
    def label(self) -> str:
        mark = f" {FORM_MARK}" if self.entry.get("form") else ""
        return "  " * self.depth + one_line(self.name) + mark


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
    rows = _arrange(summary)
    shown = rows if all_tasks else _fold(rows)
    name, status = one_line(summary["model"]["name"]), summary["status"]
    styled = paint(status, RED, color and status != "complete")
    lines = [f"{paint(name, BOLD, color)}  ({styled})", "", *_table(shown, width, color)]
    if folded := len(rows) - len(shown):
        note = f"{folded} subtasks are folded: --all-tasks shows them, summary.json holds them"
        lines.append(paint(note, DIM, color))
    notes = [*list_not_scored(summary), *list_cut(summary)]
    lines += ["", *list_forms(row.entry for row in rows)]
    lines += [paint(note, RED, color) for note in notes]
    lines += [*list_usage(summary), *list_performance(performance or {})]
    return [line.rstrip() for line in lines]


def _arrange(summary: Mapping[str, Any]) -> list[_Row]:
    """Return groups, each with what is in it, and the tasks of no group; everything once."""
    tasks, groups = summary["tasks"], summary["groups"]
    seen: set[str] = set()

    def walk(name: str, root: str | None, depth: int) -> Iterator[_Row]:
        if name in seen or (name not in groups and name not in tasks):
            return
        seen.add(name)
        is_group = name in groups
        entry = groups[name] if is_group else tasks[name]
        if entry["metrics"]:
            yield _Row(name, entry, is_group, root, depth)
            root, depth = root or name, depth + 1
        if is_group:  # inner groups first: they sum up what comes after them
            for member in sorted(entry["tasks"], key=lambda member: member not in groups):
                yield from walk(member, root, depth)

    inner = {member for group in groups.values() for member in group["tasks"]}
    tops = [name for name in [*groups, *tasks] if name not in inner]
    # Then all others: groups that hold one another have no top.
    return [row for name in [*tops, *groups, *tasks] for row in walk(name, None, 0)]


def _fold(rows: Sequence[_Row]) -> list[_Row]:
    """Leave out the subtasks of groups with many: the group's own row says what they come to."""
    leaves = [row.root for row in rows if row.root and not row.is_group]
    large = {root for root in leaves if leaves.count(root) >= _FOLDED_FROM}
    return [row for row in rows if row.is_group or row.root not in large]


def _table(rows: Sequence[_Row], width: int, color: bool) -> list[str]:
    beside = _lay_out(rows, width, beside=True, color=False)
    fits = all(width_of(line) <= width for line in beside)
    return _lay_out(rows, width, beside=fits, color=color)


def _lay_out(rows: Sequence[_Row], width: int, *, beside: bool, color: bool) -> list[str]:
    """Return the table's lines, with each task ``beside`` its metrics or above them."""
    places = [(row, i) for row in rows for i in range(len(row.entry["metrics"]))]
    cells = [
        _cells(row, *item, beside=beside and i == 0)
        for row in rows
        for i, item in enumerate(row.entry["metrics"].items())
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
            title = crop(f"{row.label}{_shots_of(row)}", width)
            table.append(paint(title, BOLD, color and row.is_group))
        table.append(line)
    return table


def _shots_of(row: _Row) -> str:
    shots = row.entry.get("num_fewshot")
    return "" if shots is None else f" ({shots}-shot)"


def _cells(row: _Row, key: str, metric: Mapping[str, Any], *, beside: bool) -> tuple[str, ...]:
    ci95, chance, shots = metric["ci95"], metric["chance"], row.entry.get("num_fewshot")
    return (
        row.label if beside else "",
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
