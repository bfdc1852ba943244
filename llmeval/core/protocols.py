"""The two shapes everything meets in: a task asks, a model answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
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
class TrainingRows:
    """Labelled rows of a task, none of which it evaluates.

    Args:
        data: which rows they are, as an entry of :meth:`Task.data`.
        size: how many.
        read: yields the rows of the numbers given, in that order, as samples with their gold; a
            row that does not fit the task has none.
    """

    data: Mapping[str, Any]
    size: int
    read: Callable[[Sequence[int]], Iterator[Sample]]


@runtime_checkable
class LearnableTask(Protocol):
    """A task that a baseline may learn from its own training rows."""

    @property
    def name(self) -> str: ...

    def training_rows(self) -> TrainingRows:
        """Return the rows to learn from.

        Raises:
            UsageError: there are none beside those that are evaluated.
        """
        ...

    def question(self, sample: Sample) -> str:
        """Return what a sample asks: no examples before it, no chat template, no choices after."""
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
class PricedModel(Protocol):
    """A batch model whose answers cost something."""

    def price(self, response: Response) -> float | None:
        """Return what an answer cost in USD; None where no price is known."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call of a served model gave.

    Args:
        responses: in the order asked.
        wait: seconds in which the server wants no further call of anybody, by its rate limits.
    """

    responses: Sequence[Response]
    wait: float = 0.0


@runtime_checkable
class ServedModel(Protocol):
    """Who answers call by call, many at once: a server. See ``docs/served-models.md``.

    The engine keeps calls in flight, tries them again and journals what they give.
    """

    @property
    def name(self) -> str:
        """As on the command line, e.g. ``openai:gpt-4o``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with anything known that may change an answer (server, model, settings)."""
        ...

    @property
    def scoring_fingerprint(self) -> str:
        """The fingerprint for log-probabilities: changes with how texts become tokens, too."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """Of ``loglikelihood``, ``generate``, ``chat``, ``completions``, ``top_logprobs``."""
        ...

    def explore(self, kinds: Collection[str]) -> None:
        """Find out what the server has of the kinds of questions that a run will ask.

        Its capabilities and its fingerprint hold from then on.

        Args:
            kinds: of ``loglikelihood`` and ``generate``.

        Raises:
            UsageError: nobody answers there, the key is refused, the model is unknown.
        """
        ...

    @property
    def traffic(self) -> Traffic:
        """How much the server can be asked at once."""
        ...

    def describe(self) -> dict[str, Any]:
        """What stands in the manifest and identifies a run; never a secret."""
        ...

    def group(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut what one sample asks together into calls, as indices: draws of one question, ..."""
        ...

    async def call(self, requests: Sequence[Request]) -> Reply:
        """Answer one group.

        Raises:
            TryAgain: no answer this time.
            LlmevalError: no question will ever be answered (wrong key, unknown model, ...).
        """
        ...

    def estimate(self, requests: Sequence[Request]) -> Estimated:
        """Say what a group will take, before it is asked."""
        ...

    def price(self, response: Response) -> float | None:
        """Return what an answer cost in USD; None where no price is known."""
        ...

    def report(self) -> dict[str, Any]:
        """Figures of the run as JSON data, asked for once at its end."""
        ...

    async def hang_up(self) -> None:
        """End the connections of the running event loop."""
        ...

    def close(self) -> None:
        """End what belongs to the model, such as a server that was started for it."""
        ...

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        """Render a chat as text; UsageError where only the server can."""
        ...


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a server may be asked at once.

    Args:
        max_connections: most calls in flight.
        requests_per_minute, tokens_per_minute: rate limits; None for none that is known.
        deadline: seconds after which a call counts as hung.
        max_attempts: calls for one question before it is given up.
        patience: seconds without any answer at all after which the run is given up.
    """

    max_connections: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    deadline: float = 600.0
    max_attempts: int = 8
    patience: float = 900.0


@dataclass(frozen=True, slots=True)
class Estimated:
    """What a call will take, by a rough count; tokens of the answer at most."""

    prompt_tokens: int
    completion_tokens: int
    usd: float | None = None


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

    def study(self, tasks: Sequence[Task]) -> None:
        """Look at the tasks before the run: count targets, learn from training rows.

        The fingerprint and the description hold from then on.

        Raises:
            UsageError: it can answer nothing of any of these tasks.
        """
        ...

    def report(self) -> dict[str, Any]:
        """Figures of the run as JSON data, asked for once at its end; empty where it has none."""
        ...

    def answer_sample(
        self, task: str, sample: Sample, requests: Sequence[Request]
    ) -> Sequence[Response]:
        """Answer one ask of one sample."""
        ...
