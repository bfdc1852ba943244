"""In which form a run asked a task: runs of different forms are not compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmeval.core import canonical_json
from llmeval.runs import Run

_ALWAYS = ("apply_chat_template", "system_instruction")
_OF_GENERATION = ("gen_kwargs", "repeats", "cut_answers")
_SCORED = ("choice", "multiple_choice", "loglikelihood", "loglikelihood_rolling")


def form_of(run: Run, task: str) -> dict[str, Any]:
    """Return what decides in which form a task was asked, by name, as far as the record tells."""
    entry: Mapping[str, Any] = run.summary["tasks"][task]
    options: Mapping[str, Any] = run.manifest.get("options") or {}
    form = {name: entry[name] for name in ("form", "num_fewshot", "version") if name in entry}
    names = [*_ALWAYS, *(() if _generates_nothing(run, task) else _OF_GENERATION)]
    if entry.get("num_fewshot") and options.get("apply_chat_template"):
        names.append("fewshot_as_multiturn")
    return form | {name: options[name] for name in names if name in options}


def _generates_nothing(run: Run, task: str) -> bool:
    described = (run.manifest.get("tasks") or {}).get(task) or {}
    config = described.get("config") or {}
    asked_by_letter = run.summary["tasks"][task].get("form") is not None
    return (config.get("type") or config.get("output_type")) in _SCORED and not asked_by_letter


def diff_forms(before: Run, after: Run, task: str) -> list[str]:
    """Return what differs between the forms of two runs, as ``num_fewshot 0 -> 5``.

    What only one of the records tells is no difference: items know how they were asked.
    """
    old, new = form_of(before, task), form_of(after, task)
    return [
        f"{name} {_show(old[name])} -> {_show(new[name])}"
        for name in old
        if name in new and (old[name] or None) != (new[name] or None)
    ]


def _show(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()
