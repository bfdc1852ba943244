"""What a run sets on its tasks, and what a task may use while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import UsageError

if TYPE_CHECKING:
    from llmeval.sandbox import Sandbox

ChatTemplate = Callable[[Sequence[Mapping[str, str]], bool], str]
"""``(messages, add_generation_prompt) -> text``, the model's own template."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Settings of a run that change what its tasks ask. None leaves the task's own value.

    Args:
        num_fewshot: solved examples before each question.
        limit: only the first so many samples of each task.
        apply_chat_template: render prompts with the model's chat template.
        system_instruction: text of a system turn (or of a preamble without a chat template).
        fewshot_as_multiturn: examples as user/assistant turns rather than in one user turn.
        gen_kwargs: generation settings that override the task's: ``temperature``, ``top_p``,
            ``top_k``, ``max_gen_toks``, ``until``.
        repeats: draws per question for generation tasks.
        seed: seeds few-shot draws (lm-eval's default 1234) and sampled completions.

    Raises:
        UsageError: a value that no task could use.
    """

    num_fewshot: int | None = None
    limit: int | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    seed: int = 1234

    def __post_init__(self) -> None:
        check_count("--limit", self.limit, least=1)
        check_count("--num-fewshot", self.num_fewshot, least=0)
        check_count("--repeats", self.repeats, least=1)
        if not isinstance(self.gen_kwargs, Mapping):
            raise UsageError("not a mapping", where=_GEN_KWARGS, mend="e.g. temperature=0.7")
        for name, value in self.gen_kwargs.items():
            _check_generation(name, value)


@dataclass(frozen=True, slots=True)
class Workbench:
    """What tasks stand on during a run.

    Args:
        mirror: local mirror folder of data sets (``--data``), None for the hub.
        chat_template: the model's renderer, needed when ``apply_chat_template`` is set.
        sandbox: gives the sandbox, started when the first task needs it.
    """

    mirror: Path | None = None
    chat_template: ChatTemplate | None = None
    sandbox: Callable[[], Sandbox] | None = None


_GEN_KWARGS = "--gen-kwargs"
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_STOPS = ("until", "stop")
_NEUTRAL: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0}
_KNOWN = (*_LENGTHS, *_STOPS, "temperature", "top_p", "top_k", "do_sample", *_NEUTRAL)


def check_count(where: str, value: Any, *, least: int) -> None:
    """Refuse what is neither None nor a whole number of at least ``least``."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"must be a whole number, not {value!r}", where=where)
    if value < least:
        raise UsageError(f"must be at least {least}, not {value}", where=where)


def _check_generation(name: str, value: Any) -> None:
    """Refuse a generation setting that is unknown, or a value that makes no sense."""
    where = f"{_GEN_KWARGS} {name}"
    if name not in _KNOWN:
        raise UsageError(
            "unknown generation setting", where=where, mend=f"known: {', '.join(_KNOWN)}"
        )
    if name in _NEUTRAL and value != _NEUTRAL[name]:
        raise UsageError(f"{value!r} is not supported", where=where, mend="leave it out")
    if name in (*_LENGTHS, "top_k"):
        check_count(where, value, least=1)
    elif name in _STOPS and not _is_text(value):
        raise UsageError(f"must be a text or a list of texts, not {value!r}", where=where)
    elif name == "do_sample" and not isinstance(value, bool):
        raise UsageError(f"must be true or false, not {value!r}", where=where)
    elif name in ("temperature", "top_p"):
        _check_share(name, value, where)


def _check_share(name: str, value: Any, where: str) -> None:
    high = 1.0 if name == "top_p" else float("inf")
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= float(value) <= high or (name == "top_p" and value == 0):
        bound = "above 0 and at most 1" if name == "top_p" else "at least 0"
        raise UsageError(f"must be a number {bound}, not {value!r}", where=where)


def _is_text(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(part, str) for part in parts)
