"""lm-eval's generation settings in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmeval.core import Sampling, UsageError

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_KNOWN = frozenset({"until", "do_sample", "temperature", "top_p", "top_k", *_LENGTHS})
_NEUTRAL: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0}


def to_sampling(settings: Mapping[str, Any], seed: int) -> Sampling:
    """Translate generation settings; aliases and defaults are lm-eval's.

    Raises:
        UsageError: a setting that would change the answers and that no backend here has.
    """
    for name, value in settings.items():
        if name not in _KNOWN and not (name in _NEUTRAL and value == _NEUTRAL[name]):
            raise UsageError(
                f"generation setting {name}={value!r} is not known here",
                mend=f"known are {', '.join(sorted(_KNOWN))}",
            )
    until = settings.get("until") or []
    until = [until] if isinstance(until, str) else until
    longest = next((settings[k] for k in _LENGTHS if settings.get(k) is not None), None)
    temperature = float(settings.get("temperature") or 0.0)
    sampled = settings.get("do_sample", temperature > 0)
    if sampled and settings.get("temperature") is None:
        temperature = 1.0  # what `transformers` samples with
    return Sampling(
        max_tokens=None if longest is None else int(longest),
        temperature=temperature if sampled else 0.0,
        top_p=settings.get("top_p"),
        top_k=settings.get("top_k"),
        stop=tuple(str(text) for text in until),
        seed=seed,
    )
