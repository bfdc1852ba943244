"""The two shapes everything meets in: a task asks, a model answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from llmeval.core.metrics import Metric
from llmeval.core.requests import Request
from llmeval.core.responses import Response
from llmeval.core.samples import Sample, Score

Ask = Callable[[Sequence[Request]], Awaitable[list[Response]]]
"""Ask questions together; the answers come in the order asked.

``ask`` never calls a model: the engine gathers what all samples wait for. It raises for a question
without an answer, so a task only ever sees answers.
"""


@runtime_checkable
class Task(Protocol):
    """What is asked and how it is scored. See ``docs/tasks.md``."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def num_fewshot(self) -> int: ...

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Every metric that :meth:`evaluate` reports, by its key."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def samples(self) -> Iterator[Sample]:
        """Yield the samples lazily, in the same order with the same prompts every time."""
        ...

    async def evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        """Ask what is needed and score the answers; may ask again after reading an answer."""
        ...

    def data(self) -> list[dict[str, Any]]:
        """Fingerprints of the data sets that the task reads: id, config, split, rows, digest."""
        ...

    def describe(self) -> dict[str, Any]:
        """The configuration as JSON data, for the manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """A batch's responses in the order asked, and what they took.

    Args:
        computed_tokens: positions that the model computed, padding and recomputation included.
        distinct_tokens: of the batch's tokens, those that no other question of the plan has in
            common with it: what had to be computed at least. 0 where a backend does not know.
    """

    responses: Sequence[Response]
    computed_tokens: int = 0
    distinct_tokens: int = 0


@runtime_checkable
class Model(Protocol):
    """Who answers, in batches. See ``docs/models.md``."""

    @property
    def name(self) -> str:
        """As on the command line, e.g. ``hf:gpt2``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with anything that may change an answer (weights, dtype, template, length)."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """Of ``loglikelihood``, ``generate``, ``chat``, ``top_logprobs``."""
        ...

    @property
    def concurrency(self) -> int:
        """How many :meth:`answer` may run at once, each in a thread of its own; 1 or more."""
        ...

    def describe(self) -> dict[str, Any]:
        """What stands in the manifest and identifies a run: resolved settings, fallbacks taken."""
        ...

    def prepare(self, requests: Sequence[Request]) -> None:
        """Warm up for questions that a later :meth:`plan` will hold, e.g. tokenize them.

        Called in a thread of its own, one call at a time, while :meth:`plan` and :meth:`answer`
        work on other questions. Changes no answer; a question may come twice, or never be planned.
        """
        ...

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut requests into batches of indices; pure, so that a resumed run cuts the same ones.

        Equal batches give bit-equal answers, so a killed and resumed run equals an unbroken one.
        """
        ...

    def answer(self, requests: Sequence[Request]) -> Answers:
        """Answer one batch of :meth:`plan`."""
        ...

    def report(self) -> dict[str, Any]:
        """Figures of the run as JSON data, asked for once at its end (tokens/s, ...)."""
        ...

    def close(self) -> None:
        """End its processes and connections; it is asked nothing more."""
        ...

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        """Render a chat with the model's own template; UsageError where it has none."""
        ...


@runtime_checkable
class InformedModel(Protocol):
    """A baseline: it answers from the sample itself (its gold, its lengths), not from a prompt.

    The engine hands it every ask of a sample directly; nothing is journaled.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[str]: ...

    def describe(self) -> dict[str, Any]: ...

    def study(self, task: Task) -> None:
        """Look at a task's samples before the run (the zero rule counts the targets)."""
        ...

    def answer_sample(
        self, task: str, sample: Sample, requests: Sequence[Request]
    ) -> Sequence[Response]:
        """Answer one ask of one sample."""
        ...
