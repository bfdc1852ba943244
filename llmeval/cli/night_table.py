"""A night and its plan for people: tables, and a line for everything that is to be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from llmeval.cli.columns import crop, lay_out, terminal_width, width_of
from llmeval.cli.streams import BOLD, RED, has_color, one_line, paint
from llmeval.reports.formats import format_usd
from llmeval.reports.regress.verdicts import Outcome
from llmeval.reports.regress.words import (
    HEAD,
    PLAN_HEAD,
    PLAN_TEXT_COLUMNS,
    TEXT_COLUMNS,
    TRIAGE_HEAD,
    Told,
    headline,
    list_closing,
    list_plan,
    list_plan_doubts,
    list_rows,
    tell_units,
)

if TYPE_CHECKING:
    from llmeval.nightly import Plan
    from llmeval.reports.regress.night import Night

_GREEN, _YELLOW = "32", "33"
_STYLES = {
    Outcome.INVALID: RED,
    Outcome.REGRESSED: RED,
    Outcome.INCONCLUSIVE: _YELLOW,
    Outcome.PASS: _GREEN,
}
_LEAST_MODEL = 12  # columns of a model's name that are kept
_VERDICT = HEAD.index("verdict")


def lay_out_night(night: Night, stream: TextIO) -> list[str]:
    """Return a night's lines: headline, table, why, what is controlled, where the records are."""
    color = has_color(stream)
    units = night.units

    def style(row: int, column: int) -> str | None:
        return _STYLES[units[row].outcome] if column == _VERDICT else None

    lines = [paint(one_line(headline(night)), BOLD, color), ""]
    width = terminal_width(stream)
    lines += lay_out(
        HEAD,
        _cut_models(HEAD, list_rows(night), width),
        text=TEXT_COLUMNS,
        width=width,
        color=color,
        style=style,
    )
    for told in tell_units(night):
        lines += _tell(told)
    lines += ["", *(one_line(line) for line in list_closing(night))]
    for model in night.models:
        if model.side.tonight is not None:
            lines.append(one_line(f"record: {model.side.tonight.path}"))
    return lines


def _cut_models(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Cut the names of models where lines are too long: tasks and models tell rows apart.

    What all of them begin with goes first, then the middle of each.
    """
    column = head.index("model")
    names = [one_line(row[column]) for row in rows]
    longest = max(map(width_of, names), default=0)
    room = max(longest + width - width_of(lay_out(head, rows)[0]), _LEAST_MODEL)
    if room < longest:
        letters = enumerate(zip(*names, strict=False))
        shared = next((i for i, found in letters if len(set(found)) > 1), 0)
        names = [_cut_middle(f"…{name[shared:]}" if shared else name, room) for name in names]
    return [
        [*row[:column], name, *row[column + 1 :]] for row, name in zip(rows, names, strict=True)
    ]


def _cut_middle(text: str, width: int) -> str:
    if width_of(text) <= width:
        return text
    tail = text[-((width - 1) // 2) :]
    return f"{crop(text, width - width_of(tail))}{tail}"


def _tell(told: Told) -> list[str]:
    why = f"{told.name}: {told.outcome}: {told.why}"
    lines = ["", one_line(why), *(f"  {one_line(note)}" for note in told.notes)]
    if told.causes:
        lines += [f"  {line}" for line in lay_out(TRIAGE_HEAD, told.causes)]
        lines += [f"  {one_line(line)}" for line in told.examples]
    return lines


def lay_out_plan(plan: Plan, stream: TextIO) -> list[str]:
    """Return a plan's lines."""
    width = terminal_width(stream)
    lines = lay_out(
        PLAN_HEAD,
        _cut_models(PLAN_HEAD, list_plan(plan.units), width),
        text=PLAN_TEXT_COLUMNS,
        width=width,
        color=has_color(stream),
    )
    noun = "unit" if len(plan.units) == 1 else "units"
    many = f"alpha {plan.alpha:g} over {len(plan.units)} {noun}"
    how = f"a drop of that size is detected, and an unchanged model passes, with {plan.power:.0%}"
    told = [f"{how} power at {many}"] if any(unit.basis for unit in plan.units) else []
    doubts = [one_line(doubt) for doubt in list_plan_doubts(plan.units, plan.faults)]
    return [*lines, *told, *doubts, *_tell_costs(plan)]


def _tell_costs(plan: Plan) -> Sequence[str]:
    lines = []
    for cost in plan.costs:
        if cost.problem is not None:
            lines.append(one_line(f"{cost.label}: INVALID, nothing can be asked: {cost.problem}"))
            continue
        price = f", {format_usd(cost.usd)} at most" if cost.usd is not None else ""
        lines.append(one_line(f"{cost.label}: {cost.questions:,} questions to ask{price}"))
    return lines
