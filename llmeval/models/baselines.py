"""Baselines: chance, the zero rule, two shallow rules, and the ceiling, as models.

They read the sample, not the prompt. A choice that a baseline picks gets log-probability 0 and is
greedy; every other gets ``-(1000 + characters)``, so that the sum (``acc``), the sum per character
(``acc_norm``) and the normalised probability (``mc2``) all name the picked choice.
"""

from __future__ import annotations

import difflib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

from llmeval.core.errors import UsageError
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

_VERSION = 1
_UNPICKED = -1000.0
_KEPT_TEXTS = 1024  # other samples' answers that the random baseline can draw from

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Baseline:
    """What all baselines share: which question is which choice, and how a pick is answered."""

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.name, _VERSION, self.seed])

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"loglikelihood", "generate"})

    def describe(self) -> dict[str, Any]:
        return {"backend": "baseline", "name": self.name, "about": self.about, "seed": self.seed}

    def study(self, task: Task) -> None:
        """Look at a task's samples before the run; most baselines need not."""

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
        picked = self.pick(task, sample, choices, asked[0].context)
        positions = _positions(choices, asked)
        return [
            _answer(request.continuation, position in picked)
            if index < len(choices)
            # Asked again without its context (mutual information): the same for all choices,
            # so that the difference still names the picked one.
            else Loglikelihood(_UNPICKED, False, _count_words(request.continuation))
            for index, (request, position) in enumerate(zip(asked, positions, strict=True))
        ]

    def _score_single(self, task: str, sample: Sample, request: LoglikelihoodRequest) -> Response:
        """One continuation and no choice (LAMBADA): right if this baseline would say it."""
        said = self.complete(task, sample, request.context)
        return _answer(
            request.continuation, said is not None and said.strip() == request.continuation.strip()
        )

    def _score_text(self, request: RollingRequest) -> Response:
        """A uniform choice among the 256 bytes: 8 bits per byte."""
        size = len(request.text.encode("utf-8", "surrogatepass"))
        return Loglikelihood(-size * math.log(256), False, _count_words(request.text))

    def _generate(self, task: str, sample: Sample, request: GenerateRequest) -> Response:
        prompt = request.prompt
        text = self.complete(
            task, sample, prompt if isinstance(prompt, str) else prompt[-1].content
        )
        if text is None:
            return Failure(f"{self.name} has no answer: the sample carries no right text")
        return Generation(text, completion_tokens=_count_words(text))


class Random(Baseline):
    """A uniform pick per sample; for open answers, another sample's right answer."""

    name = "baseline:random"
    about = "a uniform pick per sample, from the seed: chance"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._texts: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)

    def study(self, task: Task) -> None:
        texts = self._texts[task.name] = []
        for sample in task.samples():
            if sample.gold is not None and sample.gold.text is not None:
                texts.append((sample.id, sample.gold.text))
                if len(texts) == _KEPT_TEXTS:
                    return

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        return {self._draw(task, sample).randrange(len(choices))}

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        others = [text for id, text in self._texts[task] if id != sample.id]
        return self._draw(task, sample).choice(others) if others else ""

    def _draw(self, task: str, sample: Sample) -> random.Random:
        return random.Random(fingerprint([self.seed, task, sample.id]))


class Majority(Baseline):
    """The zero rule: the most frequent right position, or right text, of the task."""

    name = "baseline:majority"
    about = "the task's most frequent right position or text: the zero rule"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._positions: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._texts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def study(self, task: Task) -> None:
        positions = self._positions[task.name] = Counter()
        texts = self._texts[task.name] = Counter()
        for sample in task.samples():
            if sample.gold is not None:
                positions.update(sample.gold.right)
                if sample.gold.text is not None:
                    texts[sample.gold.text] += 1

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        counts = self._positions[task]
        return {max(range(len(choices)), key=lambda position: counts[position])}

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        counts = self._texts[task]
        return max(counts, key=lambda text: (counts[text], text)) if counts else ""


class Longest(Baseline):
    """The longest choice; for open answers, the prompt's longest sentence."""

    name = "baseline:longest"
    about = "the longest choice (or sentence of the prompt): finds answers given away by length"

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        return {max(range(len(choices)), key=lambda index: len(choices[index]))}

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        return max(_split_sentences(prompt), key=len, default="")


class Overlap(Baseline):
    """The choice that shares most words with the context.

    For open answers: the sentence of the prompt that shares most words with its last sentence.
    """

    name = "baseline:overlap"
    about = "the choice (or sentence) that shares most words with the context"

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        words = _words(context)
        return {max(range(len(choices)), key=lambda index: len(_words(choices[index]) & words))}

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        *sentences, question = _split_sentences(prompt) or [""]
        words = _words(question)
        return max(sentences, key=lambda s: len(_words(s) & words), default=question)


class Oracle(Baseline):
    """Every right choice or the right text: the ceiling, and a test of the task itself."""

    name = "baseline:oracle"
    about = "always right, from the sample's gold answer: the ceiling"

    def pick(self, task: str, sample: Sample, choices: Sequence[str], context: str) -> set[int]:
        return set(sample.gold.right) if sample.gold is not None else set()

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        return sample.gold.text if sample.gold is not None else None

    def _score_single(self, task: str, sample: Sample, request: LoglikelihoodRequest) -> Response:
        """The one continuation that is asked for is the right one."""
        return _answer(request.continuation, picked=True)

    def _score_text(self, request: RollingRequest) -> Response:
        return Loglikelihood(0.0, True, _count_words(request.text))


BASELINES: dict[str, type[Baseline]] = {
    cls.name.partition(":")[2]: cls for cls in (Random, Majority, Longest, Overlap, Oracle)
}


def load_baseline(name: str, seed: int = 0) -> Baseline:
    """Return a baseline by the name after ``baseline:``.

    Raises:
        UsageError: an unknown name, with the nearest ones.
    """
    if name in BASELINES:
        return BASELINES[name](seed)
    near = difflib.get_close_matches(name, BASELINES, n=2)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"unknown baseline {name!r}", mend=f"{guess}known: {', '.join(BASELINES)}")


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


def _answer(continuation: str, picked: bool) -> Loglikelihood:
    logprob = 0.0 if picked else _UNPICKED - len(continuation)
    return Loglikelihood(logprob, picked, _count_words(continuation))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _count_words(text: str) -> int:
    """Baselines have no tokenizer: words stand for tokens."""
    return len(text.split())


def _split_sentences(text: str) -> list[str]:
    return [s for part in _SENTENCE_END.split(text) if (s := part.strip())]
