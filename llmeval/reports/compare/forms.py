"""How tasks were asked: runs whose prompt forms differ are not compared silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmeval.reports.compare.comparison import FormDifference
from llmeval.runs import Run

_SHOWN = 60  # letters of a system instruction


def compare_forms(baseline: Run, challenger: Run, tasks: Sequence[str]) -> list[FormDifference]:
    """Return in what the forms of tasks differ that both runs have, with the tasks of each.

    What a record does not tell is not counted as a difference: items know how they were asked.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for task in tasks:
        ours, theirs = _describe(baseline, task), _describe(challenger, task)
        for aspect, value in ours.items():
            if aspect in theirs and theirs[aspect] != value:
                found.setdefault((aspect, value, theirs[aspect]), []).append(task)
    return [FormDifference(*key, tuple(names)) for key, names in found.items()]


def _describe(run: Run, task: str) -> dict[str, str]:
    """Return each aspect of a task's form in words."""
    entry = run.summary["tasks"][task]
    options = run.manifest.get("options") or {}
    return dict([*_of_task(entry), *_of_options(options, entry)])


def _of_task(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "form" in entry:
        yield "form", entry["form"] or "the task's own form"
    if entry.get("num_fewshot") is not None:
        yield "examples", f"{entry['num_fewshot']}-shot"
    if entry.get("version") is not None:
        yield "task version", f"version {entry['version']}"


def _of_options(options: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "apply_chat_template" in options:
        chat = options["apply_chat_template"]
        yield "chat template", "with a chat template" if chat else "without a chat template"
        if chat and entry.get("num_fewshot") and "fewshot_as_multiturn" in options:
            turns = options["fewshot_as_multiturn"]
            yield "examples' turns", "examples as turns" if turns else "examples in one turn"
    if "system_instruction" in options:
        text = options["system_instruction"]
        yield "system instruction", _quote(text) if text else "no system instruction"


def _quote(text: str) -> str:
    return f"system instruction {text!r}"


def tell_difference(difference: FormDifference) -> str:
    """Return a difference in words: ``0-shot against 5-shot (hellaswag and 3 more)``."""
    sides = " against ".join(
        text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        for text in (difference.baseline, difference.challenger)
    )
    first, *more = difference.tasks
    return f"{sides} ({first}{f' and {len(more)} more' if more else ''})"


def compare_settings(baseline: Run, challenger: Run) -> list[str]:
    """Return in what else the runs were asked differently: settings that are in no prompt."""
    ours, theirs = (run.manifest.get("options") or {} for run in (baseline, challenger))
    names = {"gen_kwargs": "--gen-kwargs", "repeats": "--repeats", "cut_answers": "--cut-answers"}
    return [
        f"{option} differs: {_show(ours[key])} against {_show(theirs[key])}"
        for key, option in names.items()
        if key in ours and key in theirs and ours[key] != theirs[key]
    ]


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "none"
    return "the task's own" if value is None else str(value)
