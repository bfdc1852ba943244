"""A night as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.reports.page import render_page
from llmeval.reports.page.plots import ForestRow, forest
from llmeval.reports.regress.night import Night
from llmeval.reports.regress.verdicts import Outcome
from llmeval.reports.regress.words import (
    HEAD,
    PLAN_HEAD,
    TRIAGE_HEAD,
    count_outcomes,
    headline,
    list_closing,
    list_plan,
    list_rows,
    name_unit,
    tell_units,
)

_CLASSES = {Outcome.PASS: "good", Outcome.INCONCLUSIVE: "warn"}
_TEXTS = {"task", "model", "verdict", "cause", "spread from"}

Cell = dict[str, str]


def render_night(night: Night) -> str:
    """Return a night as a page; names and answers are foreign, and the page escapes them."""
    kinds = [_kind(unit.outcome) for unit in night.units]
    return render_page(
        "regress.html",
        title=headline(night),
        name=f"{night.name} {night.night}" if night.name else night.night,
        verdict=night.outcome.value,
        kind=_kind(night.outcome),
        summary=count_outcomes(night),
        verdicts=_table(HEAD, list_rows(night), {"verdict": kinds}),
        plot=_draw(night),
        sections=[
            (told, _kind(told.outcome), _table(TRIAGE_HEAD, told.causes))
            for told in tell_units(night)
        ],
        plan=_table(PLAN_HEAD, list_plan(night.plan)),
        closing=list_closing(night),
        records=[str(m.side.tonight.path) for m in night.models if m.side.tonight is not None],
    )


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    classes: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[Cell], list[list[Cell]]]:
    """Return the cells of a table without its empty columns; numbers stand to the right.

    Args:
        classes: of each row's cell in a column.
    """
    kept = [i for i, _ in enumerate(head) if any(row[i] for row in rows)]

    def cell(column: int, text: str, row: int | None = None) -> Cell:
        name = head[column]
        own = (classes or {}).get(name)
        if row is not None and own is not None:
            return {"text": text, "class": own[row]}
        return {"text": text} if name in _TEXTS else {"text": text, "class": "num"}

    return (
        [cell(i, head[i]) for i in kept],
        [[cell(i, row[i], number) for i in kept] for number, row in enumerate(rows)],
    )


def _kind(outcome: Outcome) -> str:
    return _CLASSES.get(outcome, "bad")


def _draw(night: Night) -> Any:
    """Draw the differences with their tested bounds and tolerances; None where there are none."""
    rows = [
        ForestRow(
            label=name_unit(night, unit),
            value=difference.value,
            low=unit.bounds[0] if unit.bounds else None,
            high=unit.bounds[1] if unit.bounds else None,
            note=unit.outcome.value,
            limit=-unit.pairs.tolerance,
        )
        for unit in night.units
        if (difference := unit.difference) is not None and difference.value is not None
    ]
    return forest(rows, zero=0.0) if rows else None
