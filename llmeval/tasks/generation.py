"""Generation settings: lm-eval's names, checked where they come in, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from llmeval.core import GenerateRequest, Generation, Sampling, Unscorable, UsageError

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_STOPS = ("stop", "until")
# Settings that no backend here has, with the value that asks for nothing.
_NEUTRAL: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0}
_KNOWN = (*_LENGTHS, *_STOPS, "temperature", "top_p", "top_k", "do_sample", *_NEUTRAL)


def to_sampling(settings: Mapping[str, Any], seed: int, where: str | None = None) -> Sampling:
    """Translate generation settings; aliases and defaults are lm-eval's.

    Args:
        settings: by lm-eval's names; ``stop`` stands for ``until`` and goes before it.
        seed: of sampled answers.
        where: the task that has the settings, for errors.

    Raises:
        UsageError: a setting that would change the answers and that no backend here has.
    """
    check_generation(settings, where or "generation settings")
    stop = settings.get("stop") or settings.get("until") or []
    longest = next((settings[k] for k in _LENGTHS if settings.get(k) is not None), None)
    temperature = float(settings.get("temperature") or 0.0)
    sampled = settings.get("do_sample")
    sampled = temperature > 0 if sampled is None else sampled
    if sampled and settings.get("temperature") is None:
        temperature = 1.0  # what `transformers` samples with
    return Sampling(
        max_tokens=longest,
        temperature=temperature if sampled else 0.0,
        top_p=settings.get("top_p"),
        top_k=settings.get("top_k"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=seed,
    )


def override_generation(own: Mapping[str, Any], nearer: Mapping[str, Any]) -> dict[str, Any]:
    """Return two settings as one, setting by setting; ``nearer`` wins, by whichever alias."""
    said = [names for names in (_LENGTHS, _STOPS) if any(name in nearer for name in names)]
    hidden = {name for names in said for name in names}
    return {name: value for name, value in own.items() if name not in hidden} | dict(nearer)


def check_generation(settings: Any, where: str) -> None:
    """Refuse settings that are unknown or make no sense; None stands for not set.

    Raises:
        UsageError: names the setting, its value and what is known.
    """
    if not isinstance(settings, Mapping):
        raise UsageError("not a mapping", where=where, mend="e.g. temperature=0.7")
    for name, value in settings.items():
        if name not in _KNOWN:
            known = ", ".join(_KNOWN)
            raise UsageError(f"unknown setting {name!r}", where=where, mend=f"known: {known}")
        if value is not None:
            _check(name, value, f"{where} {name}")


def _check(name: str, value: Any, where: str) -> None:
    if name in _NEUTRAL and value != _NEUTRAL[name]:
        raise UsageError(f"{value!r} is not supported", where=where, mend="leave it out")
    if name in (*_LENGTHS, "top_k"):
        check_count(where, value, least=1)
    elif name in _STOPS and not _is_text(value):
        raise UsageError(f"must be a text or a list of texts, not {value!r}", where=where)
    elif name == "do_sample" and not isinstance(value, bool):
        raise UsageError(f"must be true or false, not {value!r}", where=where)
    elif name == "temperature" and not (_is_number(value) and value >= 0):
        raise UsageError(f"must be a number at least 0, not {value!r}", where=where)
    elif name == "top_p" and not (_is_number(value) and 0 < value <= 1):
        raise UsageError(f"must be a number above 0 and at most 1, not {value!r}", where=where)


def check_count(where: str, value: Any, *, least: int) -> None:
    """Refuse what is neither None nor a whole number of at least ``least``."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"must be a whole number, not {value!r}", where=where)
    if value < least:
        raise UsageError(f"must be at least {least}, not {value}", where=where)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(part, str) for part in parts)


SHORT = 16
"""New tokens up to which a limit is meant to cut: the task reads a beginning."""


def require_whole(request: GenerateRequest, answer: Generation, grade_cut: bool) -> None:
    """Refuse to have an answer graded that is none, or is not all of one.

    Args:
        grade_cut: grade an answer that ended at the token limit, as lm-eval does. A text that is
            completed has no end of its own; a chat's answer has one, and without it is incomplete.

    Raises:
        Unscorable: says what happened to it.
    """
    if answer.finish_reason == "content_filter":
        raise Unscorable("the answer was withheld by the backend's content filter")
    if answer.finish_reason == "tool_call":
        raise Unscorable("the model called a tool instead of answering")
    if answer.finish_reason != "length":
        return
    limit = request.sampling.max_tokens
    if not answer.text.strip() and (answer.reasoning or answer.reasoning_tokens):
        raise Unscorable("the token limit was reached before the model had thought to its end")
    if not grade_cut and (limit is None or limit > SHORT):
        after = f" after {limit} tokens" if limit else ""
        raise Unscorable(f"the answer was cut{after}: --gen-kwargs max_gen_toks=N allows more")
