"""A comparison as a page of its own: differences as a forest, tables, flips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmeval.reports import page as shell
from llmeval.reports.compare.comparison import Comparison, Flip, Pair, Row
from llmeval.reports.compare.words import (
    COST_HEAD,
    COST_NOTE,
    FORM_MARK,
    cost_rows,
    fold,
    list_excluded,
    list_fine_print,
    list_notes,
    say_prompt,
    sum_up,
    tell_answer,
    tell_counts,
    tell_flip,
    tell_forms,
)
from llmeval.reports.formats import (
    format_difference,
    format_interval,
    format_pvalue,
    format_value,
)
from llmeval.reports.page.plots import ForestRow

_STYLE = Path(shell.__file__).parent / "compare.css"
_CLASSES = {"better": "good", "worse": "bad"}
_LONGEST_HEAD = 24
_LONGEST = 20_000  # letters of an answer on the page

Cell = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Forest:
    """Differences on one scale."""

    title: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True, slots=True)
class FlipView:
    """A flip as the page shows it: ``answers`` are (label, extracted, answer)."""

    title: str
    direction: str
    asked: str
    target: str | None
    answers: tuple[tuple[str, str | None, str | None], ...]


@dataclass(frozen=True, slots=True)
class FlipList:
    """A row's flips."""

    title: str
    flips: tuple[FlipView, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A challenger against the baseline.

    Attributes:
        rows, power_rows: what is shown at once.
        all_rows: all of them, where subtasks without a finding are folded.
    """

    label: str
    summary: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    forests: tuple[Forest, ...]
    head: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    power_head: tuple[Cell, ...]
    power_rows: tuple[tuple[Cell, ...], ...]
    all_rows: tuple[tuple[Cell, ...], ...]
    flips: tuple[FlipList, ...]
    fine_print: tuple[str, ...]


def to_html(comparison: Comparison) -> str:
    """Return the page's text."""
    labels = [one.label for one in comparison.contestants]
    others = " and ".join(labels[1:]) if len(labels) < 4 else f"{len(labels) - 1} runs"
    return shell.render_page(
        "compare.html",
        title=f"{others} against {labels[0]}",
        styles=[_STYLE],
        comparison=comparison,
        others=others,
        run_rows=[
            [one.run_id, "challenger" if place else "baseline", one.model, one.status]
            for place, one in enumerate(comparison.contestants)
        ],
        sections=[_section(comparison, pair) for pair in comparison.pairs],
        cost_head=[COST_HEAD[0], *(_number(head) for head in COST_HEAD[1:])],
        cost_rows=[
            [row[0], *({"text": cell, "class": "num"} for cell in row[1:])]
            for row in cost_rows(comparison, labels)
        ],
        cost_note=COST_NOTE,
    )


def _section(comparison: Comparison, pair: Pair) -> Section:
    labels = comparison.baseline.label, pair.challenger.label
    excluded = [f"Not compared: {told}" for told in list_excluded(pair, labels)]
    shown, folded = fold(pair)
    return Section(
        label=labels[1],
        summary=sum_up(pair, labels[1], labels[0]),
        warnings=tuple(tell_forms(pair)),
        notes=(*list_notes(pair, labels), *excluded),
        forests=tuple(_forests(shown)),
        head=(
            *("task", "metric", _number("n")),
            *(_number(head) for head in _heads(labels)),
            _number("difference"),
            _number("p (Holm)"),
            "verdict",
        ),
        rows=tuple(_cells(row) for row in shown),
        power_head=(
            *("task", "metric", _number("lost"), _number("gained")),
            *(_number("p alone"), _number("MDE"), _number("n to see it"), "test"),
        ),
        power_rows=tuple(_power_cells(row) for row in shown),
        all_rows=tuple(_cells(row) for row in pair.rows) if folded else (),
        flips=tuple(_flip_lists(pair, labels)),
        fine_print=tuple(list_fine_print(pair)),
    )


def _heads(labels: tuple[str, str]) -> tuple[str, str]:
    """Return the runs' names where they are short enough for a column."""
    return labels if max(map(len, labels)) <= _LONGEST_HEAD else ("baseline", "challenger")


def _number(text: str) -> Cell:
    return {"text": text, "class": "num"}


def _name(row: Row) -> Cell:
    text = f"{row.name} {FORM_MARK}" if row.across else row.name
    return {"text": text, "class": f"in-{min(row.depth, 3)}" if row.depth else ""}


def _metric(row: Row) -> str:
    return f"{row.metric} {'↑' if row.higher_is_better else '↓'}"


def _cells(row: Row) -> tuple[Cell, ...]:
    sides = (row.baseline, row.challenger)
    difference = row.difference
    return (
        _name(row),
        _metric(row),
        {"text": f"{row.n:,}", "sort": row.n, "class": "num"},
        *(
            {
                "text": _stack(format_value(side.value), format_interval(side.ci95)),
                "sort": _sort(side.value),
                "class": "num",
                "title": f"n {side.n:,}, {side.method}",
            }
            for side in sides
        ),
        {
            "text": _stack(
                format_difference(difference.value), format_interval(difference.ci95, signed=True)
            ),
            "sort": _sort(difference.value),
            "class": "num strong",
            "title": difference.method,
        },
        _p(row.test.p_holm),
        {"text": row.verdict, "class": _CLASSES.get(row.verdict, "quiet"), "title": row.why},
    )


def _stack(value: str, interval: str) -> Any:
    """Return a value with its interval below it."""
    from markupsafe import Markup

    return Markup('{}<br><span class="interval-text">{}</span>').format(value, interval)


def _power_cells(row: Row) -> tuple[Cell, ...]:
    counts = (None, None) if row.flips is None else (row.flips.lost, row.flips.gained)
    needed = row.needed_n if row.verdict == "no difference seen" else None
    return (
        _name(row),
        _metric(row),
        *(_count(count) for count in counts),
        _p(row.test.p),
        {"text": _or_unknown(row.mde), "sort": _sort(row.mde), "class": "num"},
        _count(needed),
        row.test.name,
    )


def _count(count: int | None) -> Cell:
    text = "" if count is None else f"{count:,}"
    return {"text": text, "sort": "" if count is None else count, "class": "num"}


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else format_value(value)


def _p(p: float | None) -> Cell:
    text = "none" if p is None else format_pvalue(p)
    return {"text": text, "sort": _sort(p), "class": "num"}


def _sort(value: float | None) -> float | str:
    return "" if value is None else value


def _forests(shown: Sequence[Row]) -> Iterator[Forest]:
    """Yield the differences by their scale: shares together, every other metric by itself."""
    scales: dict[str, list[Row]] = {}
    for row in shown:
        values = (row.baseline.value, row.challenger.value)
        share = all(value is not None and 0 <= value <= 1 for value in values)
        if row.difference.value is not None:
            scales.setdefault("" if share else row.metric, []).append(row)
    for metric, rows in scales.items():
        title = "Differences" if not metric else f"Differences in {metric}"
        yield Forest(title, tuple(_forest_row(row) for row in rows))


def _forest_row(row: Row) -> ForestRow:
    low, high = row.difference.ci95 or (None, None)
    indent = "\u2003" * row.depth
    label = f"{indent}{row.name} {_metric(row)}"
    return ForestRow(label, row.difference.value, low, high, row.verdict)


def _flip_lists(pair: Pair, labels: tuple[str, str]) -> Iterator[FlipList]:
    for row in pair.rows:
        if row.flips is None or not row.flips.examples:
            continue
        flips = tuple(_flip(flip, row, labels) for flip in row.flips.examples)
        yield FlipList(f"{row.name} {row.metric}: {tell_counts(row)}", flips)


def _flip(flip: Flip, row: Row, labels: tuple[str, str]) -> FlipView:
    return FlipView(
        title=tell_flip(flip, row),
        direction=flip.direction,
        asked=say_prompt(flip),
        target=flip.target,
        answers=tuple(_answer(flip, side, label) for side, label in enumerate(labels)),
    )


def _answer(flip: Flip, side: int, label: str) -> tuple[str, str | None, str | None]:
    extracted, answer = tell_answer(flip, side)
    return label, _crop(extracted), _crop(answer)


def _crop(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
