"""A comparison for people at a terminal: tables that fit it, what was excluded, flips, costs."""

from __future__ import annotations

import string
from collections.abc import Sequence

from llmeval.cli.columns import crop, lay_out, width_of
from llmeval.cli.flips import render_flips
from llmeval.cli.page import Page
from llmeval.cli.streams import BOLD, RED, one_line, paint
from llmeval.reports.compare import Comparison, Pair, Row
from llmeval.reports.compare.comparison import POPULATION
from llmeval.reports.compare.measures import (
    EXCHANGE,
    MCNEMAR,
    NOTHING_DIFFERS,
    SIGNS,
    SIGNS_OF_CLUSTERS,
)
from llmeval.reports.compare.words import (
    COST_HEAD,
    COST_NOTE,
    FORM_MARK,
    MDE,
    TESTS,
    cost_rows,
    fold,
    list_excluded,
    list_notes,
    sum_up,
    tell_family,
    tell_forms,
)
from llmeval.reports.formats import (
    format_difference,
    format_interval,
    format_pvalue,
    format_value,
)

_VERDICT = "verdict"
_TEXT = ("metric", "test", _VERDICT)
_EXCLUDED_SHOWN = 8
_LONGEST_HEAD = 18


Column = tuple[str, list[str]]
"""A head and its cells."""


def render(
    comparison: Comparison,
    width: int,
    *,
    color: bool = False,
    all_tasks: bool = False,
    examples: int = 1,
) -> list[str]:
    """Return the lines of a comparison.

    Args:
        width: columns of the terminal.
        all_tasks: whether to show subtasks of large groups that have no finding.
        examples: flips to tell of each headline in each direction.
    """
    page = Page(width, color)
    letters = [_letter(i) for i in range(len(comparison.contestants))]
    lines = _legend(comparison, letters, page)
    for letter, pair in zip(letters[1:], comparison.pairs, strict=True):
        lines += ["", *_pair(comparison, pair, letter, page, all_tasks)]
        lines += render_flips(pair, letter, page, examples)
    lines += ["", *page.wrap(MDE), *page.wrap(POPULATION), ""]
    lines += lay_out(COST_HEAD, cost_rows(comparison, letters), width=width, color=color)
    lines += page.wrap(COST_NOTE)
    return [line.rstrip() for line in lines]


def _letter(place: int) -> str:
    letters = string.ascii_uppercase
    return letters[place] if place < len(letters) else f"run {place + 1}"


def _legend(comparison: Comparison, letters: Sequence[str], page: Page) -> list[str]:
    rows = [
        [letter, one.label, one.run_id, *_role(place, one.status)]
        for place, (letter, one) in enumerate(zip(letters, comparison.contestants, strict=True))
    ]
    head = ("", "model", "run", "role")
    _, _, *lines = lay_out(head, rows, text=head, width=page.width)
    return lines


def _role(place: int, status: str) -> list[str]:
    role = "baseline" if place == 0 else ""
    return [role if status == "complete" else f"{role} ({status})".strip()]


def _pair(
    comparison: Comparison, pair: Pair, letter: str, page: Page, all_tasks: bool
) -> list[str]:
    names = comparison.baseline.label, pair.challenger.label
    title = page.wrap(sum_up(pair, names[1], names[0]))
    lines = [*(paint(line, BOLD, page.color) for line in title), ""]
    rows, folded = (list(pair.rows), 0) if all_tasks else fold(pair)
    lines += _tables(rows, ("A", letter), names, page)
    if folded:
        lines += page.wrap(f"{folded} subtasks without a finding are folded: see --all-tasks")
    lines += [line for told in tell_forms(pair) for line in page.wrap(told)]
    lines += page.wrap(f"{tell_family(pair)} {TESTS}")
    excluded = [f"not compared: {told}" for told in list_excluded(pair, ("A", letter))]
    if len(excluded) > _EXCLUDED_SHOWN:
        more = len(excluded) - _EXCLUDED_SHOWN
        excluded[_EXCLUDED_SHOWN:] = [f"not compared: items of {more} more tasks, see --json"]
    notes = [*excluded, *list_notes(pair, ("A", letter))]
    if notes:
        lines += ["", *(line for note in notes for line in page.wrap(note))]
    return lines


# -- tables ----------------------------------------------------------------------------------------


def _tables(
    rows: Sequence[Row], letters: tuple[str, str], names: tuple[str, str], page: Page
) -> list[str]:
    """Return values and differences, side by side where they fit, and what could be seen."""
    values, differences = _values(rows, letters), _differences(rows, letters)
    named = _values(rows, names)
    tables = [[*values, *differences]]
    if max(map(width_of, names)) <= _LONGEST_HEAD and _fits([*named, *differences], rows, page):
        tables = [[*named, *differences]]
    elif not _fits(tables[0], rows, page):
        tables = [values, differences]
    tables.append(_power(rows))
    lines: list[str] = []
    for table in tables:
        lines += [*_table(table, rows, page), ""]
    return lines


def _fits(columns: Sequence[Column], rows: Sequence[Row], page: Page) -> bool:
    return width_of(_lay_out([*_names(rows), *columns], rows, None, False)[0]) <= page.width


def _table(columns: Sequence[Column], rows: Sequence[Row], page: Page) -> list[str]:
    """Return a table with each task beside its metrics, or above them where that does not fit."""
    if _fits(columns, rows, page):
        return _lay_out([*_names(rows), *columns], rows, page.width, page.color)
    (_, names), (_, metrics) = _names(rows)
    indented = [f"{'  ' * (row.depth + 1)}{m}" for row, m in zip(rows, metrics, strict=True)]
    head, rule, *lines = _lay_out([("  metric", indented), *columns], rows, page.width, page.color)
    table = [head, rule]
    for row, name, line in zip(rows, names, lines, strict=True):
        if name:
            table.append(paint(crop(name, page.width), BOLD, page.color and row.is_group))
        table.append(line)
    return table


def _lay_out(
    columns: Sequence[Column], rows: Sequence[Row], width: int | None, color: bool
) -> list[str]:
    cells = list(zip(*(cells for _, cells in columns), strict=True))
    heads = [head for head, _ in columns]
    verdict = heads.index(_VERDICT) if _VERDICT in heads else -1

    def style(line: int, column: int) -> str | None:
        if column == 0 and rows[line].is_group:
            return BOLD
        return (
            {"worse": RED, "better": BOLD}.get(cells[line][column]) if column == verdict else None
        )

    return lay_out(heads, cells, text=_TEXT, width=width, color=color, style=style)


def _names(rows: Sequence[Row]) -> list[Column]:
    names, before = [], None
    for row in rows:
        mark = f" {FORM_MARK}" if row.across else ""
        names.append("" if row.name == before else f"{'  ' * row.depth}{one_line(row.name)}{mark}")
        before = row.name
    arrows = ["↑" if row.higher_is_better else "↓" for row in rows]
    metrics = [f"{one_line(r.metric)} {arrow}" for r, arrow in zip(rows, arrows, strict=True)]
    return [("task", names), ("metric", metrics)]


def _values(rows: Sequence[Row], heads: tuple[str, str]) -> list[Column]:
    columns: list[Column] = [("n", [f"{row.n:,}" for row in rows])]
    for head, side in zip(heads, ("baseline", "challenger"), strict=True):
        estimates = [getattr(row, side) for row in rows]
        columns.append((one_line(head), [format_value(e.value) for e in estimates]))
        columns.append(("95% interval", [format_interval(e.ci95) for e in estimates]))
    return columns


def _differences(rows: Sequence[Row], letters: tuple[str, str]) -> list[Column]:
    differences = [row.difference for row in rows]
    return [
        (f"{letters[1]} - {letters[0]}", [format_difference(d.value) for d in differences]),
        ("95% interval", [format_interval(d.ci95, signed=True) for d in differences]),
        ("p", [_format_p(row.test.p_holm) for row in rows]),
        (_VERDICT, [_SHORT.get(row.verdict, row.verdict) for row in rows]),
    ]


_SHORT = {"no difference seen": "none seen", "not estimable": "unknown"}


_TESTS = {
    MCNEMAR: "McNemar",
    SIGNS: "signs",
    SIGNS_OF_CLUSTERS: "signs",
    EXCHANGE: "sides",
    NOTHING_DIFFERS: "",
}


def _power(rows: Sequence[Row]) -> list[Column]:
    flips = [row.flips for row in rows]
    return [
        ("lost", ["" if f is None else f"{f.lost:,}" for f in flips]),
        ("gained", ["" if f is None else f"{f.gained:,}" for f in flips]),
        ("p alone", [_format_p(row.test.p) for row in rows]),
        ("MDE", ["unknown" if row.mde is None else format_value(row.mde) for row in rows]),
        ("n to see it", [_tell_needed(row) for row in rows]),
        ("test", [_TESTS.get(row.test.name, "none") for row in rows]),
    ]


def _format_p(p: float | None) -> str:
    return "none" if p is None else format_pvalue(p)


def _tell_needed(row: Row) -> str:
    """How many items would find the difference that was observed, where it was not found."""
    if row.verdict != "no difference seen" or row.needed_n is None:
        return ""
    return f"{row.needed_n:,}"
