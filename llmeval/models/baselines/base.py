"""What all baselines share: which question is which choice, and how a pick is answered.

A choice that a rule picks gets log-probability 0 and is greedy; every other gets
``-(1000 + characters)``, so that the sum (``acc``), the sum per character (``acc_norm``) and the
normalised probability (``mc2``) all name the picked choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Task
from llmeval.core.requests import (
    GenerateRequest,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)
from llmeval.core.responses import Failure, Generation, Loglikelihood, Response
from llmeval.core.samples import Sample
from llmeval.models.settings import ModelSettings

_VERSION = 1
_UNPICKED = -1000.0


class Baseline:
    """A model that answers from the sample; see :class:`llmeval.core.InformedModel`."""

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @classmethod
    def load(cls, settings: ModelSettings) -> Self:
        """Return the baseline with what the settings say about it."""
        return cls(settings.seed)

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.name, _VERSION, self.seed])

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"loglikelihood", "generate"})

    def describe(self) -> dict[str, Any]:
        return {"backend": "baseline", "name": self.name, "about": self.about, "seed": self.seed}

    def study(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self.study_task(task)

    def study_task(self, task: Task) -> None:
        """Look at one task before the run; most baselines need not."""

    def report(self) -> dict[str, Any]:
        return {}

    def answer_sample(
        self, task: str, sample: Sample, requests: Sequence[Request]
    ) -> Sequence[Response]:
        """Answer one ask of one sample; choices are told apart by their position."""
        asked = [r for r in requests if isinstance(r, LoglikelihoodRequest)]
        scored = iter(self._score(task, sample, asked))
        return [
            next(scored)
            if isinstance(request, LoglikelihoodRequest)
            else self._score_text(request)
            if isinstance(request, RollingRequest)
            else self._generate(task, sample, request)
            for request in requests
        ]

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        """Return the indices of the picked choices."""
        raise NotImplementedError

    def weigh(
        self, task: str, sample: Sample, choices: Sequence[str], context: str
    ) -> Sequence[float]:
        """Return a log-probability for each choice: 0 for what is picked, ``-inf`` for the rest."""
        picked = self.pick(task, sample, choices, context)
        return [0.0 if index in picked else -math.inf for index in range(len(choices))]

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        """Return a completion, or None where this baseline has none for the sample."""
        raise NotImplementedError

    def _score(
        self, task: str, sample: Sample, asked: Sequence[LoglikelihoodRequest]
    ) -> list[Response]:
        if not asked:
            return []
        choices = _choices(sample, asked)
        if len(choices) < 2:
            return [self._score_single(task, sample, request) for request in asked]
        weights = self.weigh(task, sample, choices, asked[0].context)
        positions = _positions(choices, asked)
        return [
            answer(request.continuation, -math.inf if position is None else weights[position])
            if index < len(choices)
            # Asked again without its context (mutual information): the same for all choices,
            # so that the difference still names the picked one.
            else Loglikelihood(_UNPICKED, False, count_words(request.continuation))
            for index, (request, position) in enumerate(zip(asked, positions, strict=True))
        ]

    def _score_single(self, task: str, sample: Sample, request: LoglikelihoodRequest) -> Response:
        """One continuation and no choice (LAMBADA): right if this baseline would say it."""
        said = self.complete(task, sample, request.context)
        agrees = said is not None and said.strip() == request.continuation.strip()
        return answer(request.continuation, 0.0 if agrees else -math.inf)

    def _score_text(self, request: RollingRequest) -> Response:
        """A uniform choice among the 256 bytes: 8 bits per byte."""
        size = len(request.text.encode("utf-8", "surrogatepass"))
        return Loglikelihood(-size * math.log(256), False, count_words(request.text))

    def _generate(self, task: str, sample: Sample, request: GenerateRequest) -> Response:
        prompt = request.prompt
        text = self.complete(
            task, sample, prompt if isinstance(prompt, str) else prompt[-1].content
        )
        if text is None:
            return Failure(f"{self.name} has no answer: the sample carries no right text")
        return Generation(text, completion_tokens=count_words(text))


def answer(continuation: str, logprob: float) -> Loglikelihood:
    """Return the answer about a continuation; 0 is what the baseline picks."""
    if logprob == -math.inf:
        logprob = _UNPICKED - len(continuation)
    return Loglikelihood(logprob, logprob == 0.0, count_words(continuation))


def count_words(text: str) -> int:
    """Baselines have no tokenizer: words stand for tokens."""
    return len(text.split())


def _choices(sample: Sample, asked: Sequence[LoglikelihoodRequest]) -> Sequence[str]:
    """The sample's choices; a sample that names none is read from its questions."""
    if sample.gold is not None and sample.gold.choices:
        return sample.gold.choices
    return [request.continuation for request in asked]


def _positions(choices: Sequence[str], asked: Sequence[LoglikelihoodRequest]) -> list[int | None]:
    """Which choice each question asks for: by position, or by text where only some are asked."""
    if len(asked) % len(choices) == 0:
        return [index % len(choices) for index in range(len(asked))]
    by_text = {choice.strip(): index for index, choice in reversed(list(enumerate(choices)))}
    return [by_text.get(request.continuation.strip()) for request in asked]
