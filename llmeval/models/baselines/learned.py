"""Baselines that learn a task from its own training rows: the simplest models, before large ones.

They read the bare question (no examples, no chat template, no letters put to it) and never an
evaluated row: what they know is there before the first sample is asked.

A choice's log-probability is that of its class less that of the likeliest choice. So normalised
over the choices it is the classifier's probability (``mc2``, Brier), and sum (``acc``) and sum per
character (``acc_norm``) name the same choice: a classifier judges a choice as a whole, and its
length says nothing. Of ``pairs`` (see ``lessons``), where a classifier gives each choice a
probability p of being right, the choices share their odds p / (1 - p): the probability that this
one is right, given that exactly one is.
"""

from __future__ import annotations

import importlib.metadata
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import LearnableTask, Task
from llmeval.core.requests import LoglikelihoodRequest, Request
from llmeval.core.responses import Response
from llmeval.core.samples import Sample, Unscorable
from llmeval.models.baselines import hyperparameters
from llmeval.models.baselines.base import Baseline, answer
from llmeval.models.baselines.lessons import Form, collect_lessons, identify
from llmeval.models.settings import ModelSettings

_VERSION = 1
_LEAST = 1e-12  # probability of what a classifier holds impossible
_TIE = 1e-9  # nats: nearer than this is equally likely


@dataclass(slots=True)
class _Known:
    """What was learned of one task.

    Attributes:
        classes: the answers, in the order of the classifier's columns.
        data: which rows were there to learn from.
        figures: for the report.
        evaluated: digests of the samples asked, by id.
    """

    task: LearnableTask
    form: Form
    pipeline: Any
    classes: Sequence[str]
    data: Mapping[str, Any]
    figures: dict[str, Any]
    seen: frozenset[str]
    evaluated: dict[str, str] = field(default_factory=dict)

    def predict(self, inputs: Sequence[Any]) -> Any:
        from llmeval.models.baselines.classifiers import predict

        return predict(self.pipeline, inputs, self.form == "pairs")

    def question(self, sample: Sample, choices: Sequence[str]) -> str:
        question = self.task.question(sample)
        self.evaluated[sample.id] = identify(question, choices)
        return question

    def report(self) -> dict[str, Any]:
        also = sum(digest in self.seen for digest in self.evaluated.values())
        return {**self.figures, "evaluated": len(self.evaluated), "evaluated_in_training": also}


class Learned(Baseline):
    """What the baselines that learn share; they differ in the classifier."""

    algorithm: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]]

    def __init__(self, seed: int = 0, max_training_rows: int = 50_000) -> None:
        super().__init__(seed)
        self.max_training_rows = max_training_rows
        self._known: dict[str, _Known] = {}
        self._why_not: dict[str, str] = {}

    @classmethod
    def load(cls, settings: ModelSettings) -> Self:
        return cls(settings.seed, settings.max_training_rows)

    @property
    def fingerprint(self) -> str:
        return fingerprint([self.name, _VERSION, self._recipe(), self._data()])

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **self._recipe(), "training": self._data()}

    def _recipe(self) -> dict[str, Any]:
        return {
            "algorithm": self.algorithm,
            "hyperparameters": {"words": hyperparameters.WORDS, **self.settings},
            "max_training_rows": self.max_training_rows,
            "seed": self.seed,
            "versions": {"scikit-learn": importlib.metadata.version("scikit-learn")},
        }

    def _data(self) -> dict[str, Any]:
        return {name: dict(known.data) for name, known in self._known.items()}

    def report(self) -> dict[str, Any]:
        training = {name: known.report() for name, known in self._known.items()}
        not_learned = {name: {"not_learned": why} for name, why in self._why_not.items()}
        return {"training": training | not_learned}

    # -- learning --

    def study(self, tasks: Sequence[Task]) -> None:
        self._known, errors = {}, dict[str, UsageError]()
        for task in tasks:
            try:
                self._known[task.name] = self._learn(task)
            except UsageError as error:
                errors[task.name] = error
        self._why_not = {name: error.what for name, error in errors.items()}
        if errors and not self._known:
            name, first = next(iter(errors.items()))
            which = "it" if len(tasks) == 1 else "any of these tasks"
            mend = "baseline:majority needs no rows to learn from"
            raise UsageError(
                f"{self.name} cannot learn {which}: {first.what}",
                where=name,
                mend=f"{first.mend}; {mend}" if first.mend else mend,
            )

    def _learn(self, task: Task) -> _Known:
        """Learn one task.

        Raises:
            UsageError: it cannot be learned.
        """
        if not isinstance(task, LearnableTask):
            raise UsageError("it is no task whose answers could be labels")
        rows = task.training_rows()
        lessons = collect_lessons(task, rows, self.seed, self.max_training_rows)
        from llmeval.models.baselines.classifiers import fit, measure

        began = time.perf_counter()
        paired = lessons.form == "pairs"
        # By number: NumPy's texts are all as long as the longest, and lose a NUL at their end.
        classes = sorted(set(lessons.targets), key=str)
        numbers = {name: number for number, name in enumerate(classes)}
        targets = [numbers[target] for target in lessons.targets]
        try:
            pipeline = fit(self.algorithm, lessons.inputs, targets, paired, self.seed)
        except ValueError as error:
            what = str(error).splitlines()[0]
            raise UsageError(f"scikit-learn cannot learn its rows: {what}") from error
        seconds = time.perf_counter() - began
        size, terms = measure(pipeline)
        figures = {
            "form": lessons.form,
            "split": rows.data.get("split"),
            "rows": lessons.rows,
            "of": lessons.of,
            "left_out": lessons.left_out,
            "inputs": len(lessons.inputs),
            "classes": len(classes),
            "terms": terms,
            "seconds": round(seconds, 3),
            "bytes": size,
        }
        names = [str(name) for name in classes]
        return _Known(task, lessons.form, pipeline, names, rows.data, figures, lessons.seen)

    # -- answering --

    def answer_sample(
        self, task: str, sample: Sample, requests: Sequence[Request]
    ) -> Sequence[Response]:
        if task not in self._known:
            why = self._why_not.get(task, "the task was not there to be studied")
            raise Unscorable(f"not learned: {why}")
        return super().answer_sample(task, sample, requests)

    def weigh(
        self, task: str, sample: Sample, choices: Sequence[str], context: str
    ) -> Sequence[float]:
        known = self._known[task]
        question = known.question(sample, choices)
        if known.form == "pairs":
            right = known.predict([(question, choice) for choice in choices])[:, 1]
            logs = [_log(p) - _log(1 - p) for p in right]
        else:
            by_class = self._classes(known, question)
            logs = [by_class.get(choice, -math.inf) for choice in choices]
        if max(logs) == -math.inf:
            raise Unscorable("none of its choices was an answer in training")
        return _less_best(logs, choices)

    def complete(self, task: str, sample: Sample, prompt: str) -> str | None:
        texts = self._weigh_texts(task, sample)
        return max(texts, key=texts.__getitem__)

    def _score_single(self, task: str, sample: Sample, request: LoglikelihoodRequest) -> Response:
        texts = self._weigh_texts(task, sample)
        stripped = {text.strip(): weight for text, weight in texts.items()}
        return answer(request.continuation, stripped.get(request.continuation.strip(), -math.inf))

    def _weigh_texts(self, task: str, sample: Sample) -> dict[str, float]:
        known = self._known[task]
        if known.form != "texts":
            raise Unscorable("its training rows have choices, and it asks for none")
        by_class = self._classes(known, known.question(sample, ()))
        return dict(zip(by_class, _less_best(list(by_class.values()), list(by_class)), strict=True))

    def _classes(self, known: _Known, question: str) -> dict[str, float]:
        """Return the log-probability of each class."""
        (probabilities,) = known.predict([question])
        return {name: _log(p) for name, p in zip(known.classes, probabilities, strict=True)}


def _log(probability: float) -> float:
    return math.log(max(float(probability), _LEAST))


def _less_best(logs: Sequence[float], texts: Sequence[str]) -> list[float]:
    """Return log-probabilities less the largest; of equal ones, one is 0 and the others not quite.

    Which one depends on the texts alone, not on their order: in some data sets the right choice
    always comes first.
    """
    best = max(logs)
    ties = [index for index, value in enumerate(logs) if value > best - _TIE]
    first = min(ties, key=lambda index: fingerprint(texts[index], size=8))
    return [0.0 if index == first else min(value - best, -_TIE) for index, value in enumerate(logs)]


class TfidfLogreg(Learned):
    """Logistic regression on words and pairs of words."""

    name = "baseline:tfidf-logreg"
    about = "logistic regression on tf-idf, learned from the task's training rows"
    algorithm = "LogisticRegression"
    settings: ClassVar[Mapping[str, Any]] = {"classifier": hyperparameters.LOGREG}


class Gbdt(Learned):
    """Gradient-boosted trees on the main components of tf-idf."""

    name = "baseline:gbdt"
    about = "boosted trees on components of tf-idf, learned from the task's training rows"
    algorithm = "HistGradientBoostingClassifier"
    settings: ClassVar[Mapping[str, Any]] = {
        "topics": hyperparameters.TOPICS,
        "classifier": hyperparameters.TREES,
    }


class Knn(Learned):
    """The nearest training rows."""

    name = "baseline:knn"
    about = "the nearest of the task's training rows, by the cosine of tf-idf"
    algorithm = "nearest neighbours"
    settings: ClassVar[Mapping[str, Any]] = {"classifier": hyperparameters.NEIGHBOURS}
