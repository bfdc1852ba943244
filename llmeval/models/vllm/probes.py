"""What an engine is asked, and what it says: plain data, free of vLLM's own names."""

from __future__ import annotations

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
    """New tokens, whether they ended by themselves, and the first token's alternatives."""

    tokens: list[int]
    stopped: bool
    top: dict[int, float]


@dataclass(slots=True)
class Work:
    """What an engine did, in tokens: ``computed``, ``cached``, and prompts ``reread`` in full."""

    computed: int = 0
    cached: int = 0
    reread: int = 0
