"""A night as one self-contained HTML file."""

from __future__ import annotations

from typing import Any

from llmeval.reports.page import render_page
from llmeval.reports.page.plots import ForestRow, forest
from llmeval.reports.regress.night import Night
from llmeval.reports.regress.verdicts import Judged, Outcome
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
_VERDICT = HEAD.index("verdict")


def render_night(night: Night) -> str:
    """Return a night as a page; names and answers are foreign, and the page escapes them."""
    return render_page(
        "regress.html",
        title=headline(night),
        name=f"{night.name} {night.night}" if night.name else night.night,
        verdict=night.outcome.value,
        kind=_kind(night.outcome),
        summary=count_outcomes(night),
        head=HEAD,
        rows=[_row(unit, cells) for unit, cells in zip(night.units, list_rows(night), strict=True)],
        plot=_draw(night),
        sections=[(told, _kind(told.outcome)) for told in tell_units(night)],
        triage_head=TRIAGE_HEAD,
        plan_head=PLAN_HEAD,
        plan_rows=list_plan(night.plan),
        closing=list_closing(night),
        records=[str(m.side.tonight.path) for m in night.models if m.side.tonight is not None],
    )


def _row(unit: Judged, cells: tuple[str, ...]) -> list[Any]:
    row: list[Any] = [
        cells[0],
        *({"text": text, "class": "num", "sort": text or ""} for text in cells[1:]),
    ]
    row[_VERDICT] = {"text": cells[_VERDICT], "class": _kind(unit.outcome)}
    return row


def _kind(outcome: Outcome) -> str:
    return _CLASSES.get(outcome, "bad")


def _draw(night: Night) -> Any:
    """Draw the differences with their intervals; None where there are none."""
    rows = [
        ForestRow(
            label=name_unit(night, unit),
            value=difference.value,
            low=difference.ci95[0] if difference.ci95 else None,
            high=difference.ci95[1] if difference.ci95 else None,
            note=unit.outcome.value,
        )
        for unit in night.units
        if (difference := unit.difference) is not None and difference.value is not None
    ]
    return forest(rows, zero=0.0) if rows else None
