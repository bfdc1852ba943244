"""The tables of slices and of calibration."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.reports.formats import (
    format_interval,
    format_pvalue,
    format_share,
    format_value,
)
from llmeval.reports.page.plots import interval_bar
from llmeval.reports.view.calibration import Calibration
from llmeval.reports.view.content import Cell, number_cell
from llmeval.reports.view.slices import Panel, Part

CALIBRATION_HEAD: list[Cell] = [
    "task",
    {"text": "ECE", "class": "num"},
    {"text": "95% interval", "class": "num", "sort": "none"},
    {"text": "n", "class": "num"},
]


def list_calibrations(calibrations: Sequence[Calibration]) -> list[list[Cell]]:
    """Return a row for each task."""
    return [
        [
            one.task,
            number_cell(one.error.value, format_value(one.error.value)),
            {"text": format_interval(one.error.ci95), "class": "num"},
            number_cell(one.n, f"{one.n:,}"),
        ]
        for one in calibrations
    ]


def slice_head(panel: Panel) -> list[Cell]:
    """Return the head of a panel's table."""
    return [
        panel.key,
        {"text": "value", "class": "num"},
        {"text": "", "class": "bar", "sort": "none"},
        {"text": "95% interval", "class": "num", "sort": "none"},
        {"text": "n", "class": "num"},
        {"text": "scored", "class": "num"},
        {"text": "p against the rest (Holm)", "class": "num"},
    ]


def list_parts(panel: Panel) -> list[list[Cell]]:
    """Return a row for each part, all on one scale."""
    bounds = [
        bound
        for part in panel.parts
        for bound in (part.slice.estimate.value, *(part.slice.estimate.ci95 or ()))
        if bound is not None
    ]
    shares = bool(bounds) and min(bounds) >= 0 and max(bounds) <= 1
    domain = (0.0, 1.0) if shares or not bounds else (min(bounds), max(bounds))
    return [_part(part, domain, tested=panel.tested) for part in panel.parts]


def _part(part: Part, domain: tuple[float, float], *, tested: bool) -> list[Cell]:
    estimate, samples = part.slice.estimate, part.slice.samples
    coverage = estimate.n / samples if samples else 0.0
    low, high = estimate.ci95 or (None, None)
    p = format_pvalue(part.p) if tested else "not tested"
    return [
        part.slice.value,
        number_cell(estimate.value, format_value(estimate.value), "num strong"),
        {"text": interval_bar(estimate.value, low, high, domain=domain), "class": "bar"},
        {"text": format_interval(estimate.ci95), "class": "num"},
        number_cell(estimate.n, f"{estimate.n:,}"),
        number_cell(coverage, format_share(coverage), "num" if coverage >= 1 else "num bad"),
        number_cell(part.p, p, "num strong" if part.differs else "num quiet"),
    ]
