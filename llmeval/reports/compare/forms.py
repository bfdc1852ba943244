"""How tasks were asked: runs whose prompt forms differ are not compared silently."""

from __future__ import annotations

from collections.abc import Sequence

from llmeval.reports.compare.comparison import FormDifference
from llmeval.reports.forms import diff_forms, form_of
from llmeval.runs import Run

SAMPLING = "generation"
"""The aspect that is in no prompt: it is told, and hinders nothing."""

_SHOWN = 60  # letters of a system instruction


def compare_forms(baseline: Run, challenger: Run, tasks: Sequence[str]) -> list[FormDifference]:
    """Return in what the forms of tasks differ that both runs have, with the tasks of each."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for task in tasks:
        for each in diff_forms(form_of(baseline, task), form_of(challenger, task)):
            found.setdefault((each.aspect, each.before, each.after), []).append(task)
    return [FormDifference(*key, tuple(names)) for key, names in found.items()]


def tell_difference(difference: FormDifference) -> str:
    """Return a difference in words: ``0-shot against 5-shot (hellaswag and 3 more)``."""
    sides = " against ".join(
        text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        for text in (difference.baseline, difference.challenger)
    )
    first, *more = difference.tasks
    return f"{sides} ({first}{f' and {len(more)} more' if more else ''})"
