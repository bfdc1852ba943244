"""The results of a run for people: never a number without its n, interval and coverage.

Plain text that fits the terminal: a line for each metric, the task beside it where that fits and
on a line of its own where it does not. Groups come before their subtasks; many subtasks are folded.
"""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmeval.cli.streams import BOLD, DIM, RED, has_color, one_line, paint, shows

_FOLDED_FROM = 9  # subtasks under one top-level group
_REASONS_SHOWN = 8
_PLAIN_WIDTH = 120  # of a file or a pipe
_SYMBOLS = {"↑": "^", "↓": "v", "…": "..", "─": "-"}
_COLUMNS = ("metric", "value", "95% interval", "n", "scored", "chance", "shots")
_SCORED, _SHOTS = _COLUMNS.index("scored"), _COLUMNS.index("shots")
_ALL = "100%"
_FORM_MARK = "*"
_GAP = "  "


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
        mark = f" {_FORM_MARK}" if self.entry.get("form") else ""
        return "  " * self.depth + one_line(self.name) + mark


def print_results(
    summary: Mapping[str, Any],
    performance: Mapping[str, Any] | None = None,
    *,
    all_tasks: bool = False,
) -> None:
    """Print a run's results and its model's figures to stdout, as wide as the terminal."""
    stream = sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else _PLAIN_WIDTH
    color = has_color(stream)
    lines = render(summary, width, performance=performance, color=color, all_tasks=all_tasks)
    for line in lines:
        print(line if shows(line, stream) else _plain(line))


def _plain(line: str) -> str:
    for symbol, substitute in _SYMBOLS.items():
        line = line.replace(symbol, substitute)
    return line


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
    notes = [*_not_scored(summary), *_truncated(summary)]
    lines += ["", *_forms(rows), *(paint(note, RED, color) for note in notes), *_usage(summary)]
    lines += _performance(performance or {})
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
    fits = all(_width_of(line) <= width for line in _lay_out(rows, width, beside=True))
    return _lay_out(rows, width, beside=fits, color=color)


def _lay_out(rows: Sequence[_Row], width: int, *, beside: bool, color: bool = False) -> list[str]:
    """Return the table's lines, with each task ``beside`` its metrics or above them."""
    cells = [[_cells(row, *item) for item in row.entry["metrics"].items()] for row in rows]
    widths = _widths(list(itertools.chain.from_iterable(cells)), with_shots=beside)
    starts = [row.label for row in rows] if beside else ["  " * row.depth for row in rows]
    start = max(map(_width_of, ["task" if beside else "", *starts]))
    head = _pad("task" if beside else "", start) + _GAP + _join(_COLUMNS, widths)
    table = [paint(head, DIM, color), paint("─" * _width_of(head), DIM, color)]
    for row, lines in zip(rows, cells, strict=True):
        name, bold = row.label, color and row.is_group
        if not beside:
            table.append(paint(_crop(f"{name}{_shots_of(row)}", width), BOLD, bold))
            name = ""
        for line in lines:
            red = color and line[_SCORED] != _ALL
            table.append(paint(_pad(name, start), BOLD, bold) + _GAP + _join(line, widths, red))
            name = ""
    return table


def _widths(lines: Sequence[Sequence[str]], *, with_shots: bool) -> list[int]:
    """Return the width of every column, 0 for one that is left out."""
    widths = [
        max(map(_width_of, (head, *cells))) if any(cells) else 0
        for head, *cells in zip(_COLUMNS, *lines, strict=True)
    ]
    return widths if with_shots else [*widths[:_SHOTS], 0]


def _shots_of(row: _Row) -> str:
    shots = row.entry.get("num_fewshot")
    return "" if shots is None else f" ({shots}-shot)"


def _cells(row: _Row, key: str, metric: Mapping[str, Any]) -> tuple[str, ...]:
    ci95, chance, shots = metric["ci95"], metric["chance"], row.entry.get("num_fewshot")
    return (
        f"{one_line(key)} {'↑' if metric['higher_is_better'] else '↓'}",
        _number(metric["value"]),
        f"{_number(ci95[0])} … {_number(ci95[1])}" if ci95 else "unknown",
        str(metric["n"]),
        _share(metric["coverage"]),
        "" if chance is None else _number(chance),
        "" if shots is None else str(shots),
    )


def _join(cells: Sequence[str], widths: Sequence[int], red: bool = False) -> str:
    """Put a line together; names to the left, numbers to the right, empty columns left out."""
    padded = [
        _pad(cell, w, right=i > 0) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    padded[_SCORED] = paint(padded[_SCORED], RED, red)
    return _GAP.join(text for text, w in zip(padded, widths, strict=True) if w)


def _width_of(text: str) -> int:
    from rich.cells import cell_len  # East Asian letters take two columns

    return cell_len(text)


def _pad(text: str, width: int, *, right: bool = False) -> str:
    space = " " * (width - _width_of(text))
    return space + text if right else text + space


def _crop(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return text if _width_of(text) <= width else f"{set_cell_size(text, width - 1)}…"


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    if value != 0 and abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def _share(coverage: float) -> str:
    """Return a coverage in percent, rounded down: only all is 100%."""
    return _ALL if coverage >= 1 else f"{math.floor(coverage * 1000) / 10:.1f}%"


def _not_scored(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each task that has samples without a score: how many, and mostly why."""
    lines = []
    for name, task in summary["tasks"].items():
        worst = max(task["metrics"].values(), key=lambda m: task["n"] - m["n"], default=None)
        if worst is None or not worst.get("not_scored"):
            continue
        reason, count = max(worst["not_scored"].items(), key=lambda item: item[1])
        lost = sum(worst["not_scored"].values())
        mostly = reason if count == lost else f"mostly ({count}) {reason}"
        shown = one_line(f"not scored: {name}: {lost} of {task['n']}: {mostly}")
        lines.append(shown if len(shown) <= 200 else f"{shown[:197]}...")
    if len(lines) > _REASONS_SHOWN:
        more = len(lines) - _REASONS_SHOWN
        lines[_REASONS_SHOWN:] = [f"not scored: samples of {more} more tasks, see summary.json"]
    return lines


def _forms(rows: Sequence[_Row]) -> list[str]:
    """Name the forms that are not the tasks' own: their numbers compare with nothing else."""
    forms = sorted({row.entry["form"] for row in rows if row.entry.get("form")})
    return [
        f"{_FORM_MARK} asked as {form}: not comparable with other ways of asking" for form in forms
    ]


def _truncated(summary: Mapping[str, Any]) -> list[str]:
    usage = summary["usage"]
    lines = []
    if count := usage.get("truncated", 0):
        lines.append(f"{count:,} prompts were too long for the model and were cut from the left")
    if count := usage.get("cut", 0):
        lines.append(f"{count:,} answers ended at the token limit")
    return lines


def _usage(summary: Mapping[str, Any]) -> list[str]:
    usage, seconds = summary["usage"], summary["seconds"]
    asked = f"{usage['requests']:,} questions"
    if usage["cached"]:
        asked += f", {usage['cached']:,} of them repeated or from the journal"
    phases = ", ".join(f"{name} {seconds[name]:.1f}" for name in ("startup", "model", "scoring"))
    took = f"{seconds['total']:.1f} s ({phases})"
    if tokens := usage["prompt_tokens"] + usage["completion_tokens"]:
        took = f"{tokens:,} tokens, {usage['completion_tokens']:,} of them generated; {took}"
    lines = [asked, took]
    if usage.get("usd") is not None:
        cached, thought = usage.get("cached_tokens", 0), usage.get("reasoning_tokens", 0)
        parts = [f"${usage['usd']:.4f}"]
        parts += [f"{cached:,} prompt tokens from the provider's cache"] if cached else []
        parts += [f"{thought:,} tokens of thoughts"] if thought else []
        lines.append(", ".join(parts))
    return lines


def _performance(figures: Mapping[str, Any]) -> list[str]:
    """Say how fast the model computed, and why it did not pack; nothing where it does not tell."""
    computed, distinct = figures.get("computed_tokens"), figures.get("distinct_tokens")
    parts = []
    if computed:
        floor = f" ({computed / distinct:.2f} x distinct)" if distinct else ""
        parts.append(f"computed {computed:,} tokens{floor}")
        if rate := figures.get("tokens_per_second"):
            parts.append(f"{rate:,.0f} tokens/s")
        if share := figures.get("matmul_share"):
            parts.append(f"{share:.0%} of this machine's matrix rate")
    lines = [", ".join(parts)] if parts else []
    if (traffic := figures.get("traffic")) and traffic["calls"]:
        lines.append(_traffic(traffic))
    if fallback := figures.get("fallback"):
        lines.append(one_line(f"scored in plain batches: {fallback}"))
    return lines


def _traffic(traffic: Mapping[str, Any]) -> str:
    """Say what went over the wire: what was tried again, and why mostly."""
    line = f"{traffic['calls']:,} calls, {traffic['most_in_flight']} at once at most"
    retries = traffic["retries"]
    if again := sum(retries.values()):
        reason = max(retries, key=retries.get)
        line += f"; {again:,} tried again, mostly ({retries[reason]:,}): {one_line(reason)}"
    return line
