"""The results of a run for people: never a number without its n, interval and coverage.

Plain text that fits the terminal: one line a metric with the task beside it where that fits, the
task on a line of its own where it does not. Groups come before their subtasks; the subtasks of a
large group are folded.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from llmeval.cli.streams import BOLD, DIM, RED, has_color, one_line, paint, shows

_FOLDED_FROM = 9  # subtasks of one group
_PLAIN_WIDTH = 120  # of a file or a pipe
_SYMBOLS = {"↑": "^", "↓": "v", "…": "..", "─": "-"}
_COLUMNS = ("metric", "value", "95% interval", "n", "scored", "chance", "shots")
_GAP = "  "
_REASONS = 8


@dataclass(frozen=True, slots=True)
class _Row:
    """A task or group with its metrics; ``depth`` says below how many groups it stands."""

    name: str
    entry: Mapping[str, Any]
    depth: int
    is_group: bool


def print_results(summary: Mapping[str, Any], *, all_tasks: bool = False) -> None:
    """Print a run's results to stdout, as wide as the terminal."""
    stream = sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else _PLAIN_WIDTH
    for line in render(summary, width, color=has_color(stream), all_tasks=all_tasks):
        print(_showable(line, stream))


def _showable(line: str, stream: IO[str]) -> str:
    if not shows(line, stream):
        for symbol, plain in _SYMBOLS.items():
            line = line.replace(symbol, plain)
    return line


def render(
    summary: Mapping[str, Any], width: int, *, color: bool = False, all_tasks: bool = False
) -> list[str]:
    """Return the lines of a summary: title, table, what was folded, what was not scored, usage."""
    rows = list(_arrange(summary))
    shown = [row for row in rows if all_tasks or not _is_folded(row, rows)]
    title = paint(summary["model"]["name"], BOLD, color)
    status = summary["status"]
    lines = [f"{title}  ({paint(status, '' if status == 'complete' else RED, color)})", ""]
    lines += _table(shown, width, color)
    if len(shown) < len(rows):
        folded = f"{len(rows) - len(shown)} subtasks are in summary.json; --all-tasks shows them"
        lines += [paint(folded, DIM, color)]
    return [*lines, "", *_not_scored(summary, color), *_usage(summary, color), ""]


def _arrange(summary: Mapping[str, Any]) -> Iterator[_Row]:
    """Yield groups with what is in them, then the tasks of no group; each once."""
    tasks, groups = summary["tasks"], summary["groups"]
    inner = {member for group in groups.values() for member in group["tasks"]}
    seen: set[str] = set()

    def walk(name: str, depth: int) -> Iterator[_Row]:
        if name in seen:
            return
        seen.add(name)
        if name in groups:
            group = groups[name]
            if group["metrics"]:
                yield _Row(name, group, depth, is_group=True)
                depth += 1
            # Groups first: they say more, and their subtasks may be folded.
            for member in sorted(group["tasks"], key=lambda m: m not in groups):
                yield from walk(member, depth)
        elif name in tasks:
            yield _Row(name, tasks[name], depth, is_group=False)

    for name in [*groups, *tasks]:
        if name not in inner:
            yield from walk(name, 0)
    for name in tasks:  # what only a group that holds itself would lead to
        yield from walk(name, 0)


def _is_folded(row: _Row, rows: Sequence[_Row]) -> bool:
    """Whether a row is one of many subtasks below a group that sums them up."""
    if row.is_group or row.depth == 0:
        return False
    return sum(r.depth > 0 and not r.is_group for r in rows) >= _FOLDED_FROM


def _table(rows: Sequence[_Row], width: int, color: bool) -> list[str]:
    cells = [(row, [_cells(row, key, m) for key, m in row.entry["metrics"].items()]) for row in rows]
    every = [_COLUMNS, *(line for _, lines in cells for line in lines)]
    used = [i for i in range(len(_COLUMNS)) if any(line[i] for line in every[1:])] or [0]
    widths = {i: max(_cell_width(line[i]) for line in every) for i in used}
    names = max((_cell_width(_label(row)) for row in rows), default=0)
    beside = max(names, len("task"))
    numbers = sum(widths.values()) + len(_GAP) * (len(used) - 1)
    flat = beside + len(_GAP) + numbers <= width
    head = _join(_COLUMNS, widths)
    head = f"{'task'.ljust(beside)}{_GAP}{head}" if flat else f"{_GAP}{head}"
    lines = [paint(head, DIM, color), paint("─" * min(_cell_width(head), width), DIM, color)]
    for row, metrics in cells:
        label = _label(row)
        if not flat:
            lines.append(paint(label, BOLD if row.is_group else "", color))
        for number, line in enumerate(metrics):
            name = label if number == 0 else ""
            start = _pad(name, beside) if flat else "  " * row.depth
            start = paint(start, BOLD, color and row.is_group)
            lines.append(f"{start}{_GAP}{_join(line, widths, partly_red(row, number, color))}")
    return [line.rstrip() for line in lines]
