"""A night as Markdown: for a pull request, a chat, or GitHub's summary of a job."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.reports.formats import escape_markdown, to_markdown
from llmeval.reports.regress.night import Night
from llmeval.reports.regress.words import (
    HEAD,
    PLAN_HEAD,
    TRIAGE_HEAD,
    Told,
    headline,
    list_closing,
    list_plan,
    list_rows,
    tell_units,
)

_SHOWN = 40  # units that are explained; a summary of a job has a megabyte


def render_markdown(night: Night) -> str:
    """Return a night as a Markdown document. Names and answers are foreign: no markup of theirs."""
    parts = [f"## {escape_markdown(headline(night))}", _table(HEAD, list_rows(night))]
    told = tell_units(night)
    parts += [_section(one) for one in told[:_SHOWN]]
    if len(told) > _SHOWN:
        parts.append(f"And {len(told) - _SHOWN} more, see the verdict's JSON.")
    if night.plan:
        plan = _table(PLAN_HEAD, list_plan(night.plan))
        parts.append(f"### Planned before the run\n\n{plan}")
    parts.append(_list(list_closing(night)))
    return "\n\n".join(parts) + "\n"


def _section(told: Told) -> str:
    parts = [f"### {escape_markdown(f'{told.name}: {told.outcome}')}", escape_markdown(told.why)]
    if told.notes:
        parts.append(_list(told.notes))
    if told.causes:
        parts += [to_markdown(TRIAGE_HEAD, told.causes), _list(told.examples)]
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without its empty columns."""
    kept = [i for i, _ in enumerate(head) if any(row[i] for row in rows)]
    return to_markdown([head[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape_markdown(line)}" for line in lines)
