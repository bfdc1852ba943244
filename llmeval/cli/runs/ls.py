"""``llmeval runs ls``: the runs of a folder, newest first."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from llmeval.cli.columns import GAP, crop, has_width, lay_out, print_lines, terminal_width, width_of
from llmeval.cli.streams import RED, has_color, one_line, say
from llmeval.core.errors import UsageError
from llmeval.home import find_workspace
from llmeval.reports.formats import format_bytes, format_interval, format_value
from llmeval.runs.catalog import SHOWN_STATUSES, CatalogRow, MainMetric, Wanted, list_runs
from llmeval.runs.find import records_folder
from llmeval.runs.tags import read_tags

_HEAD = ("run", "started (UTC)", "model", "tasks", "result", "n", "status", "tags", "size")
_TEXT = ("started (UTC)", "model", "tasks", "result", "status", "tags")
_STATUS = _HEAD.index("status")
_TASKS_SHOWN = 2
_LONGEST = 40  # letters of a model's name or a reason


def main(arguments: Namespace) -> int:
    folder = records_folder(arguments.out)
    rows = _choose(folder, arguments)
    if arguments.json:
        print(json.dumps([row.to_plain() for row in rows], indent=2))
        return 0
    if rows:
        _print(rows)
    size = format_bytes(sum(row.size for row in rows))
    say(one_line(f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}, {size} in {folder}"))
    return 0


def _choose(folder: Path, arguments: Namespace) -> list[CatalogRow]:
    limit, status = arguments.limit, arguments.status
    if arguments.out is not None and not folder.is_dir():
        raise UsageError("no such folder", where=str(folder))
    if limit is not None and limit < 1:
        raise UsageError(f"must be at least 1, not {limit}", where="--limit")
    if status is not None and status not in SHOWN_STATUSES:
        known = ", ".join(SHOWN_STATUSES)
        raise UsageError(f"unknown status {status!r}", where="--status", mend=f"one of {known}")
    wanted = Wanted(arguments.tag, arguments.model, arguments.task, status)
    rows = list_runs(folder, find_workspace(), _tags(folder))
    return [row for row in rows if wanted.takes(row)][:limit]


def _tags(folder: Path) -> dict[str, str]:
    """Return the tags; a listing goes on without them where they cannot be read."""
    try:
        return read_tags(folder)
    except UsageError as error:
        say(one_line(f"llmeval: warning: {error}"))
        return {}


def _print(rows: Sequence[CatalogRow]) -> None:
    """Print a table; where a terminal is too narrow for it, three lines a run: ids stay whole."""
    stream = sys.stdout
    cells = [_cells(row) for row in rows]

    def style(row: int, column: int) -> str | None:
        return RED if column == _STATUS and rows[row].status != "complete" else None

    color = has_color(stream)
    widest = max(map(width_of, lay_out(_HEAD, cells, text=_TEXT)))
    if has_width(stream) and widest > terminal_width(stream):
        lines = [line for row in cells for line in _stack(row)]
    else:
        lines = lay_out(_HEAD, cells, text=_TEXT, color=color, style=style)
    print_lines(lines, stream)


def _stack(cells: Sequence[str]) -> list[str]:
    run, started, model, tasks, result, n, status, tags, size = cells
    samples = f"{n} samples" if n else ""
    first, *more = (
        GAP.join(filter(None, parts))
        for parts in ([run, status, tags], [started, samples, size, result], [model, tasks])
    )
    return [first, *(crop(f"    {line}", terminal_width(sys.stdout)) for line in more)]


def _cells(row: CatalogRow) -> tuple[str, ...]:
    return (
        row.id,
        f"{row.when:%Y-%m-%d %H:%M}",
        _shorten(row.model or ""),
        _shorten(row.problem) if row.problem else _name_tasks(row.shown_tasks),
        _result(row.main),
        "" if row.n is None else f"{row.n:,}",
        row.status,
        ", ".join(row.tags),
        format_bytes(row.size),
    )


def _name_tasks(tasks: Sequence[str]) -> str:
    shown = ", ".join(map(_shorten, tasks[:_TASKS_SHOWN]))
    more = len(tasks) - _TASKS_SHOWN
    return f"{shown} +{more}" if more > 0 else shown


def _shorten(text: str) -> str:
    text = one_line(text[: 4 * _LONGEST])  # hostile names may be very long
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _result(main: MainMetric | None) -> str:
    if main is None:
        return ""
    return f"{main.metric} {format_value(main.value)} ({format_interval(main.ci95)})"
