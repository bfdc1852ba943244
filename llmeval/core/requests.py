"""What a task can ask of a model. Frozen and hashable, with one canonical form each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw a completion. ``temperature == 0`` means greedy.

    Args:
        max_tokens: most new tokens; None leaves it to the backend's default.
        temperature: 0 for greedy, else the softmax temperature.
        top_p, top_k: nucleus and top-k truncation; None for no truncation.
        stop: the text ends before the first of these strings.
        seed: seeds the draw; the request and its repeat index are mixed in by the backend.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    def canonical(self) -> dict[str, Any]:
        """The fields that change the answer: a greedy draw has no seed, no defaults are written."""
        skip = {"temperature", "top_p", "top_k", "seed"} if self.greedy else set()
        given = {
            f.name: value
            for f in fields(self)
            if f.name not in skip and (value := getattr(self, f.name)) not in (None, ())
        }
        # A YAML file's 1 and 1.0 are equal, so they are the same question.
        return given | {k: float(given[k]) for k in ("temperature", "top_p") if k in given}


@dataclass(frozen=True, slots=True)
class LoglikelihoodRequest:
    """The log-probability of ``continuation`` after ``context``."""

    kind: ClassVar[str] = "loglikelihood"
    context: str
    continuation: str

    def canonical(self) -> list[Any]:
        return [self.context, self.continuation]

    @property
    def prompt(self) -> str:
        return self.context


@dataclass(frozen=True, slots=True)
class RollingRequest:
    """The log-probability of a whole text, in windows of the model's length (perplexity tasks)."""

    kind: ClassVar[str] = "rolling"
    text: str

    def canonical(self) -> list[Any]:
        return [self.text]

    @property
    def prompt(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One completion of a prompt: plain text, or chat messages that the backend renders.

    ``repeat`` numbers the draws of one question (pass@k, maj@k): each draw is a question of its own
    to the journal, so a killed run keeps the draws it has; backends may answer them together.

    ``top_logprobs`` asks for the first token's most probable alternatives, so many of them, from a
    model that is capable of ``top_logprobs``.
    """

    kind: ClassVar[str] = "generate"
    prompt: str | tuple[Message, ...]
    sampling: Sampling = Sampling()
    repeat: int = 0
    top_logprobs: int = 0

    def canonical(self) -> list[Any]:
        prompt: Any = self.prompt
        if not isinstance(prompt, str):
            prompt = [[m.role, m.content] for m in prompt]
        plain = [prompt, self.sampling.canonical(), self.repeat]
        return [*plain, self.top_logprobs] if self.top_logprobs else plain

    def draws(self, n: int) -> Iterator[GenerateRequest]:
        """Yield this question ``n`` times with its repeat indices."""
        return (replace(self, repeat=i) for i in range(n))

    @property
    def size(self) -> int:
        """Characters of the prompt."""
        if isinstance(self.prompt, str):
            return len(self.prompt)
        return sum(len(message.content) for message in self.prompt)


Request = LoglikelihoodRequest | RollingRequest | GenerateRequest
