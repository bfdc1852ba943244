"""The rows of a comparison as plain text: values, differences with verdicts, what could be seen."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.cli.columns import crop, lay_out, width_of
from llmeval.cli.page import Page
from llmeval.cli.streams import BOLD, RED, one_line, paint
from llmeval.reports.compare import Row
from llmeval.reports.compare.measures import (
    EXCHANGE,
    MCNEMAR,
    NOTHING_DIFFERS,
    SIGNS,
    SIGNS_OF_CLUSTERS,
)
from llmeval.reports.compare.words import FORM_MARK
from llmeval.reports.formats import (
    format_difference,
    format_interval,
    format_pvalue,
    format_value,
)

_VERDICT = "verdict"
_TEXT = ("metric", "test", _VERDICT)
_LONGEST_HEAD = 18
_SHORT = {"no difference seen": "none seen", "not estimable": "unknown"}


_TESTS = {
    MCNEMAR: "McNemar",
    SIGNS: "signs",
    SIGNS_OF_CLUSTERS: "signs",
    EXCHANGE: "sides",
    NOTHING_DIFFERS: "",
}

Column = tuple[str, list[str]]
"""A head and its cells."""


def tabulate_rows(
    rows: Sequence[Row],
    letters: tuple[str, str],
    names: tuple[str, str],
    page: Page,
    what: str = "task",
) -> list[str]:
    """Return values and differences, side by side where they fit, and what could be seen.

    Args:
        letters: what the two runs are called for short.
        names: what they are called in full, where that fits.
        what: what the rows are named after.
    """
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
        lines += ["", *_table(table, rows, page, what)]
    return lines


def _fits(columns: Sequence[Column], rows: Sequence[Row], page: Page) -> bool:
    return width_of(_lay_out([*_names(rows), *columns], rows, None, False)[0]) <= page.width


def _table(columns: Sequence[Column], rows: Sequence[Row], page: Page, what: str) -> list[str]:
    """Return a table with each task beside its metrics, or above them where that does not fit."""
    if _fits(columns, rows, page):
        return _lay_out([*_names(rows, what), *columns], rows, page.width, page.color)
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


def _names(rows: Sequence[Row], what: str = "task") -> list[Column]:
    names, before = [], None
    for row in rows:
        mark = f" {FORM_MARK}" if row.across else ""
        names.append("" if row.name == before else f"{'  ' * row.depth}{one_line(row.name)}{mark}")
        before = row.name
    arrows = ["↑" if row.higher_is_better else "↓" for row in rows]
    metrics = [f"{one_line(r.metric)} {arrow}" for r, arrow in zip(rows, arrows, strict=True)]
    return [(what, names), ("metric", metrics)]


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
