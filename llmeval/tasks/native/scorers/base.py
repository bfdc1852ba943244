"""What a scorer is: an answer and its targets in, a number or a reason out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from llmeval.core import Metric, Unscorable
from llmeval.stats import Estimate, estimate_mean


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion to be judged.

    Args:
        text: the completion.
        truncated: it ended at the token limit, not where the model ended it.
    """

    text: str
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a scorer says of one answer.

    Args:
        value: the number; None for corpus metrics, which have one only for all answers together.
        extracted: what was read out of the answer.
        item: what a corpus metric aggregates.
    """

    value: float | None
    extracted: str | None = None
    item: Any = None


class Judge(Protocol):
    """Judge an answer; Unscorable where what is looked for is not in it.

    A scorer that compares the whole text judges an empty one too: leaving it out would give a model
    that is mostly silent the score of what it did say.
    """

    def __call__(self, answer: Answer, targets: Sequence[str]) -> Judgement: ...


@dataclass(frozen=True, slots=True)
class Scorer:
    """A metric and how one answer is judged for it."""

    metric: Metric
    judge: Judge

    @property
    def is_corpus(self) -> bool:
        """Whether the metric has no value for a single answer."""
        return self.metric.aggregation != "mean"


class Strict(BaseModel):
    """A part of a task's YAML: nothing is guessed from another type, nothing unknown is let in."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ScorerSpec(Strict):
    """Settings of a scorer; ``type`` tells which."""

    name: str | None = None

    @abstractmethod
    def build(self) -> Scorer:
        """Return the scorer."""


def mean(items: Sequence[Any], clusters: Sequence[str] | None) -> Estimate:
    """The estimator of every metric that is a mean over samples."""
    return estimate_mean([float(item) for item in items], clusters)


def mean_scorer(name: str, judge: Judge) -> Scorer:
    """Return a scorer whose metric is the mean over samples."""
    return Scorer(Metric(name, mean), judge)


def read_text(answer: Answer) -> str:
    """Return the answer without blanks around it, for a scorer that looks for something in it.

    Raises:
        Unscorable: nothing is left.
    """
    text = answer.text.strip()
    if not text:
        raise Unscorable(f"the answer is empty{cut_note(answer)}")
    return text


def cut_note(answer: Answer) -> str:
    """Say that an answer was cut, where something was not found in it."""
    return " (it was cut at the token limit)" if answer.truncated else ""
