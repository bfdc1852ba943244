"""What an engine is asked, and what it says: plain data, free of vLLM's own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Probe:
    """What is to be known about a prompt.

    Args:
        prompt: token ids, at least one.
        wanted: tokens whose log-probability after the prompt is wanted, at least one.
        inner: for so many of the prompt's last tokens their own log-probability is wanted.
    """

    prompt: list[int]
    wanted: list[int]
    inner: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine says about a prompt: float32 natural-log softmax of unchanged logits.

    Args:
        best: the most probable token after the prompt.
        logprobs: of the wanted tokens.
        inner: of the prompt's last tokens, and whether each is the most probable at its place.
    """

    best: int
    logprobs: dict[int, float]
    inner: list[tuple[float, bool]]


@dataclass(frozen=True, slots=True)
class Draw:
    """A text to be made; ``temperature`` 0 is greedy, ``stops`` end it, ``top`` asks for the first
    token's most probable alternatives."""

    prompt: list[int]
    max_tokens: int
    stops: tuple[str, ...]
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    top: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """New tokens, whether they ended by themselves, and the first token's alternatives with their
    log-probabilities, the most probable first."""

    tokens: list[int]
    stopped: bool
    top: dict[int, float]


@dataclass(slots=True)
class Work:
    """What an engine did, in tokens: ``computed``, ``cached``, and prompts ``reread`` in full."""

    computed: int = 0
    cached: int = 0
    reread: int = 0


def cut_wanted(probe: Probe, most: int) -> list[Probe]:
    """Cut a probe that wants more tokens than one request may; the first part has the rest."""
    parts = [probe.wanted[start : start + most] for start in range(0, len(probe.wanted), most)]
    return [
        Probe(probe.prompt, part, 0 if number else probe.inner) for number, part in enumerate(parts)
    ]


def join_parts(parts: Sequence[Reading]) -> Reading:
    """Put the readings of a cut probe together."""
    logprobs = {token: value for part in parts for token, value in part.logprobs.items()}
    return Reading(parts[0].best, logprobs, parts[0].inner)
