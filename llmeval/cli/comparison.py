"""A comparison for people at a terminal: tables that fit it, what was excluded, flips, costs."""

from __future__ import annotations

import string
from collections.abc import Sequence

from llmeval.cli.columns import lay_out
from llmeval.cli.flips import render_flips
from llmeval.cli.page import Page
from llmeval.cli.row_tables import tabulate_rows
from llmeval.cli.streams import BOLD, paint
from llmeval.reports.compare import Comparison, Pair
from llmeval.reports.compare.comparison import POPULATION
from llmeval.reports.compare.words import (
    COST_HEAD,
    COST_NOTE,
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

_EXCLUDED_SHOWN = 8


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
        [letter, one.model, one.run_id, *_role(place, one.status)]
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
    lines = [paint(line, BOLD, page.color) for line in title]
    rows, folded = (list(pair.rows), 0) if all_tasks else fold(pair)
    lines += [*tabulate_rows(rows, ("A", letter), names, page), ""]
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
