"""In which form a task was asked. Numbers of different forms are numbers about different things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from llmeval.core import canonical_json, fingerprint
from llmeval.runs import Run

_SCORED = ("choice", "multiple_choice", "loglikelihood", "loglikelihood_rolling")
_OWN = ("asked_as", "generation")  # None is the task's own, and so is told


@dataclass(frozen=True, slots=True)
class PromptForm:
    """What must be alike for two runs' numbers on a task to be compared.

    None stands for what the record does not tell, or what does not apply.

    Attributes:
        version: of the task.
        shots: solved examples before each question.
        asked_as: a form that is not the task's own (``letters``), None for its own.
        chat: whether each model's chat template was applied.
        multiturn: whether examples were turns of the chat; None without examples or chat.
        system: the system instruction, empty without one.
        generation: sampling settings that override the task's, as JSON; None for the task's own,
            and for tasks that generate nothing.
        data: fingerprint of the data set.
    """

    version: str | None = None
    shots: int | None = None
    asked_as: str | None = None
    chat: bool | None = None
    multiturn: bool | None = None
    system: str | None = None
    generation: str | None = None
    data: str | None = None

    def digest(self) -> str:
        """Return a name of the form for programs."""
        return fingerprint(asdict(self), 4)

    def say(self, aspect: str) -> str:
        """Return one field in words."""
        value = getattr(self, aspect)
        match aspect:
            case "version":
                return f"version {value}"
            case "shots":
                return "shots unknown" if value is None else f"{value}-shot"
            case "asked_as":
                return value or "own form"
            case "chat":
                return "chat template" if value else "no chat template"
            case "multiturn":
                turns = {None: "no turns", True: "examples as turns", False: "examples in one turn"}
                return turns[value]
            case "system":
                return f"system instruction {value!r}" if value else "no system instruction"
            case "generation":
                return value or "own sampling"
            case _:
                return f"data {value[:6]}" if value else "data unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    """An aspect in which two forms differ, in words."""

    aspect: str
    before: str
    after: str


def form_of(run: Run, task: str) -> PromptForm:
    """Return the form in which a run asked a task."""
    described = (run.manifest.get("tasks") or {}).get(task) or {}
    return read_form(run.summary["tasks"][task], described, run.manifest.get("options") or {})


def read_form(
    task: Mapping[str, Any], described: Mapping[str, Any], options: Mapping[str, Any]
) -> PromptForm:
    """Return the form in which a run asked a task.

    Args:
        task: the task in ``summary.json``.
        described: the task in ``manifest.json``.
        options: the manifest's ``options``.
    """
    chat, shots = options.get("apply_chat_template"), task.get("num_fewshot")
    version = task.get("version")
    return PromptForm(
        version=None if version is None else str(version),
        shots=shots,
        asked_as=task.get("form"),
        chat=None if chat is None else bool(chat),
        multiturn=bool(options.get("fewshot_as_multiturn", True)) if chat and shots else None,
        system=(options["system_instruction"] or "") if "system_instruction" in options else None,
        generation=_read_generation(task, described, options),
        data=(task.get("data") or {}).get("fingerprint"),
    )


def _read_generation(
    task: Mapping[str, Any], described: Mapping[str, Any], options: Mapping[str, Any]
) -> str | None:
    config = described.get("config") or {}
    scored = (config.get("type") or config.get("output_type")) in _SCORED
    if scored and task.get("form") is None:  # letters may be generated
        return None
    changed = dict(options.get("gen_kwargs") or {})
    for name, own in (("repeats", None), ("cut_answers", "auto")):
        if options.get(name, own) != own:
            changed[name] = options[name]
    return canonical_json(changed).decode() if changed else None


def diff_forms(before: PromptForm, after: PromptForm) -> list[Difference]:
    """Return in what two forms differ, the data aside: items know theirs.

    What only one of them tells is no difference.
    """
    return [
        Difference(field.name, before.say(field.name), after.say(field.name))
        for field in fields(PromptForm)
        if field.name != "data" and _differ(field.name, before, after)
    ]


def _differ(aspect: str, before: PromptForm, after: PromptForm) -> bool:
    old, new = getattr(before, aspect), getattr(after, aspect)
    told = aspect in _OWN or (old is not None and new is not None)
    return bool(told and old != new)


def tell_apart(forms: Iterable[PromptForm]) -> dict[PromptForm, str]:
    """Return a short name of each form that says how it differs from the others; "" if alone."""
    known = list(dict.fromkeys(forms))
    differing = [
        field.name
        for field in fields(PromptForm)
        if len({getattr(form, field.name) for form in known}) > 1
    ]
    shown = [name for name in differing if name != "data"]
    if len({tuple(getattr(form, name) for name in shown) for form in known}) < len(known):
        shown = differing  # the data alone tell some apart
    return {form: ", ".join(form.say(name) for name in shown) for form in known}
