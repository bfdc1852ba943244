"""In which form a run asked a task: runs of different forms are not compared."""

from __future__ import annotations

from typing import Any

from llmeval.core import canonical_json
from llmeval.runs import Run

_ALWAYS = ("gen_kwargs", "repeats", "cut_answers", "system_instruction", "apply_chat_template")


def form_of(run: Run, task: str) -> dict[str, Any]:
    """Return what decides in which form a task was asked, by name."""
    entry = run.summary["tasks"][task]
    options = run.manifest.get("options") or {}
    form = {name: entry.get(name) for name in ("form", "num_fewshot", "version")}
    form |= {name: options.get(name) for name in _ALWAYS}
    if form["num_fewshot"] and form["apply_chat_template"]:
        form["fewshot_as_multiturn"] = options.get("fewshot_as_multiturn")
    return form


def diff_forms(before: Run, after: Run, task: str) -> list[str]:
    """Return what differs between the forms of two runs, as ``num_fewshot 0 -> 5``."""
    old, new = form_of(before, task), form_of(after, task)
    return [
        f"{name} {_show(old.get(name))} -> {_show(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if (old.get(name) or None) != (new.get(name) or None)
    ]


def _show(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()
