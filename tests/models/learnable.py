"""A task to learn: training rows and evaluated samples in memory, and what a baseline answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.core import (
    Gold,
    LoglikelihoodRequest,
    Response,
    Sample,
    TrainingRows,
    UsageError,
)
from llmeval.models import ModelSettings, load_model

Item = tuple[str, Gold]
"""A question and what is right."""

LABELS = ("bad", "good")


@dataclass
class Learnable:
    """As much of a task as a baseline that learns needs; its samples cannot be looked at."""

    training: Sequence[Item]
    name: str = "task"
    digest: str = "00"
    read: list[int] = field(default_factory=list)

    def training_rows(self) -> TrainingRows:
        if not self.training:
            raise UsageError("no rows", mend="give some")
        data = {"id": "made", "split": "train", "digest": self.digest}
        return TrainingRows(data, len(self.training), self._read)

    def _read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        for number in numbers:
            self.read.append(number)
            question, gold = self.training[number]
            yield Sample(str(number), {"question": question}, gold=gold)

    def question(self, sample: Sample) -> str:
        return str(sample.fields["question"])

    def samples(self) -> Iterator[Sample]:
        raise AssertionError("a baseline that learns looked at evaluated samples")


def labelled(question: str, label: int) -> Item:
    """Return an item whose choices are those of every other one."""
    return question, Gold(LABELS, (label,))


def learn(name: str, *tasks: Any, **settings: Any) -> Any:
    """Return a baseline that has studied the tasks."""
    model: Any = load_model(f"baseline:{name}", ModelSettings(**settings))
    model.study(list(tasks))
    return model


def answer(model: Any, item: Item, id: str = "1", task: str = "task") -> list[Response]:
    """Return the answers to all choices of an item."""
    question, gold = item
    asked = [LoglikelihoodRequest("another prompt", " " + choice) for choice in gold.choices]
    return list(model.answer_sample(task, Sample(id, {"question": question}, gold=gold), asked))


def probabilities(answers: Sequence[Any]) -> list[float]:
    """Return what log-probabilities come to, normalised over the choices."""
    weights = [math.exp(one.logprob) for one in answers]
    return [weight / math.fsum(weights) for weight in weights]


def picked(answers: Sequence[Any]) -> int:
    values = [one.logprob for one in answers]
    return values.index(max(values))


def share_right(model: Any, items: Sequence[Item]) -> float:
    """Return the share of items of which the pick is right."""
    hits = [picked(answer(model, item)) in item[1].right for item in items]
    return sum(hits) / len(hits)
