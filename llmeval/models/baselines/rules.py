"""Rules: chance, the zero rule, two shallow ones, and the ceiling.

They read the sample, not the prompt, and learn at most how often each answer is right.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Task
from llmeval.core.requests import LoglikelihoodRequest, RollingRequest
from llmeval.core.responses import Loglikelihood, Response
from llmeval.core.samples import Sample
from llmeval.models.baselines.base import Baseline, answer, count_words

_KEPT_TEXTS = 1024  # other samples' answers that the random baseline can draw from

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Random(Baseline):
    """A uniform pick per sample; for open answers, another sample's right answer."""

    name = "baseline:random"
    about = "a uniform pick per sample, from the seed: chance"

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._texts: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)

    def study_task(self, task: Task) -> None:
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

    def study_task(self, task: Task) -> None:
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
        return answer(request.continuation, 0.0)

    def _score_text(self, request: RollingRequest) -> Response:
        return Loglikelihood(0.0, True, count_words(request.text))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _split_sentences(text: str) -> list[str]:
    return [s for part in _SENTENCE_END.split(text) if (s := part.strip())]
