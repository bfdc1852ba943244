"""In which form a task was asked. Numbers of different forms are numbers about different things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llmeval.core import canonical_json, fingerprint

_GENERATED = ("generate", "code", "steps", "generate_until")


@dataclass(frozen=True, slots=True)
class PromptForm:
    """What must be alike for two runs' numbers on a task to be compared.

    Attributes:
        version: of the task.
        shots: solved examples before each question.
        asked_as: a form that is not the task's own (``letters``), None for its own.
        chat: whether each model's chat template was applied.
        multiturn: whether examples were turns of the chat; None without examples or chat.
        system: digest of the system instruction, None without one.
        generation: sampling settings that override the task's, as JSON; None for the task's own
            and for tasks that generate nothing.
        data: fingerprint of the data set; None where it is not known, as in imported results.
    """

    version: str | None = None
    shots: int | None = None
    asked_as: str | None = None
    chat: bool = False
    multiturn: bool | None = None
    system: str | None = None
    generation: str | None = None
    data: str | None = None

    def digest(self) -> str:
        """Return a name of the form for programs."""
        return fingerprint(asdict(self), 4)


def read_form(
    task: Mapping[str, Any], described: Mapping[str, Any], options: Mapping[str, Any]
) -> PromptForm:
    """Return the form in which a run asked a task.

    Args:
        task: the task in ``summary.json``.
        described: the task in ``manifest.json``.
        options: the manifest's ``options``.
    """
    chat = bool(options.get("apply_chat_template"))
    shots = task.get("num_fewshot")
    system = options.get("system_instruction")
    return PromptForm(
        version=None if task.get("version") is None else str(task["version"]),
        shots=shots,
        asked_as=task.get("form"),
        chat=chat,
        multiturn=bool(options.get("fewshot_as_multiturn", True)) if chat and shots else None,
        system=None if not system else fingerprint(system, 4),
        generation=_generation(described, options),
        data=(task.get("data") or {}).get("fingerprint"),
    )


def _generation(described: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    config = described.get("config") or {}
    if (config.get("type") or config.get("output_type")) not in _GENERATED:
        return None
    changed = dict(options.get("gen_kwargs") or {})
    for name, own in (("repeats", None), ("cut_answers", "auto")):
        if options.get(name, own) != own:
            changed[name] = options[name]
    return canonical_json(changed).decode() if changed else None


def tell_apart(forms: Iterable[PromptForm]) -> dict[PromptForm, str]:
    """Return a short name of each form that says how it differs from the others; "" if alone."""
    known = list(dict.fromkeys(forms))
    differing = [
        name
        for name in PromptForm.__dataclass_fields__
        if len({getattr(form, name) for form in known}) > 1
    ]
    shown = [name for name in differing if name != "data"]
    if len({tuple(getattr(form, name) for name in shown) for form in known}) < len(known):
        shown = differing  # the data alone tell some apart
    return {form: ", ".join(_say(form, name) for name in shown) for form in known}


def _say(form: PromptForm, field: str) -> str:
    value = getattr(form, field)
    match field:
        case "version":
            return f"version {value}"
        case "shots":
            return "shots unknown" if value is None else f"{value}-shot"
        case "asked_as":
            return value or "own form"
        case "chat":
            return "chat" if value else "no chat"
        case "multiturn":
            turns = {None: "no turns", True: "examples as turns", False: "examples in one turn"}
            return turns[value]
        case "system":
            return f"system {value}" if value else "no system"
        case "generation":
            return value or "own sampling"
        case _:
            return f"data {value[:6]}" if value else "data unknown"
