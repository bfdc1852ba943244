"""What changed between two runs, task by task: the table of a page that shows both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmeval.reports.compare import Comparison, Options, Row, compare_runs
from llmeval.reports.compare.comparison import POPULATION
from llmeval.reports.formats import (
    format_difference,
    format_interval,
    format_pvalue,
    format_value,
)
from llmeval.reports.page.plots import interval_bar
from llmeval.reports.view.content import Cell, number_cell
from llmeval.runs import Run

PAIR_HEAD: list[Cell] = [
    "task",
    "metric",
    {"text": "before", "class": "num"},
    {"text": "after", "class": "num"},
    {"text": "difference", "class": "num"},
    {"text": "its 95% interval", "class": "bar", "sort": "none"},
    {"text": "", "class": "num", "sort": "none"},
    {"text": "lost", "class": "num"},
    {"text": "gained", "class": "num"},
    {"text": "p (Holm)", "class": "num"},
    {"text": "n", "class": "num"},
    "verdict",
]


@dataclass(frozen=True, slots=True)
class Changes:
    """The table's rows, with what a reader must know of them: a sentence each."""

    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]


def list_changes(before: Run, after: Run, *, across_forms: bool = False) -> Changes:
    """Return what changed, for each task and group that both runs have.

    Raises:
        UsageError: the runs were asked in different forms, or have nothing in common.
    """
    for run in (before, after):
        if run.status == "invalid":
            what = f"{run.id} is invalid: too little of it was measured to compare its numbers."
            return Changes((), (what,))
    comparison = compare_runs([before, after], _options(across_forms))
    rows = comparison.pairs[0].rows
    return Changes(
        [_row(row, _find_reach(rows)) for row in rows], [*_notes(comparison), POPULATION]
    )


def _find_reach(rows: Sequence[Row]) -> float:
    """Return how far the scale of differences goes on both sides of zero; shares only."""
    ends = [end for row in rows for end in row.difference.ci95 or ()]
    shares = [abs(end) for end in ends if math.isfinite(end) and abs(end) <= 1]
    return 1.05 * max(shares, default=1.0)


def _options(across_forms: bool) -> Options:
    return Options(across_forms=across_forms, partial=True, examples=0)


def _notes(comparison: Comparison) -> list[str]:
    pair = comparison.pairs[0]
    notes = [*pair.notes]
    for what, tasks in (("first", pair.only_baseline), ("second", pair.only_challenger)):
        if tasks:
            notes.append(f"Only the {what} run has {', '.join(tasks)}.")
    excluded = sum(one.count for row in pair.rows if row.is_headline for one in row.excluded)
    if excluded:
        notes.append(
            f"{excluded:,} times an item had no comparable number in one of the runs and was left"
            " out: llmeval compare names them."
        )
    return notes


def _row(row: Row, reach: float) -> list[Cell]:
    difference = row.difference
    low, high = difference.ci95 or (None, None)
    fits = all(bound is None or abs(bound) <= reach for bound in (difference.value, low, high))
    domain = (-reach, reach)
    bar = interval_bar(difference.value, low, high, domain=domain, mark=0.0) if fits else ""
    classes = [f"in-{min(row.depth, 3)}" if row.depth else "", "strong" if row.is_group else ""]
    lost, gained = (row.flips.lost, row.flips.gained) if row.flips else (None, None)
    return [
        {"text": row.name, "class": " ".join(filter(None, classes))},
        f"{row.metric} {'↑' if row.higher_is_better else '↓'}",
        number_cell(row.baseline.value, format_value(row.baseline.value)),
        number_cell(row.challenger.value, format_value(row.challenger.value)),
        number_cell(difference.value, format_difference(difference.value), "num strong"),
        {"text": bar, "class": "bar"},
        {"text": format_interval(difference.ci95, signed=True), "class": "num"},
        number_cell(lost, "" if lost is None else f"{lost:,}"),
        number_cell(gained, "" if gained is None else f"{gained:,}"),
        number_cell(row.test.p_holm, format_pvalue(row.test.p_holm)),
        number_cell(row.n, f"{row.n:,}"),
        {"text": row.verdict, "class": f"verdict {row.verdict.split()[0]}", "title": row.why},
    ]
