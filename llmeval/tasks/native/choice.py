"""Multiple choice: every choice's log-probability after the prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from llmeval.core import (
    Ask,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Metric,
    Response,
    Sample,
    Score,
    Unscorable,
)
from llmeval.tasks.native.rows import Row
from llmeval.tasks.native.scorers import mean
from llmeval.tasks.native.spec import ChoiceMetric, ChoiceSet, ChoiceTask
from llmeval.tasks.native.task import Prepared, PromptedTask, Setting
from llmeval.tasks.native.templates import TemplateError, is_template


@dataclass(frozen=True, slots=True)
class Choices:
    """One row's choices and the indices of the right ones."""

    texts: tuple[str, ...]
    right: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """The prompt, the texts that are asked for, and which of them each metric is about."""

    context: str
    asked: tuple[str, ...]
    sets: tuple[Choices, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A choice set with its log-probabilities in nats."""

    choices: Choices
    logprobs: Sequence[float]


class ChoiceTaskRunner(PromptedTask):
    """A ``choice`` task."""

    def __init__(self, spec: ChoiceTask, setting: Setting) -> None:
        super().__init__(spec, setting)
        # Under a chat template the answer follows the assistant's header, as in lm-eval.
        self._joint = "" if setting.options.apply_chat_template else spec.delimiter
        own = [metric.own_choices() for metric in spec.metrics]
        self._main = self._reader(spec.main_choices())
        self._readers = [
            self._main if choices is None else self._reader(choices) for choices in own
        ]
        self._measures = spec.metrics
        self._has_own_sets = any(choices is not None for choices in own)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        return {
            _key(metric): self._declare(metric, reader)
            for metric, reader in zip(self._measures, self._readers, strict=True)
        }

    def _declare(self, metric: ChoiceMetric, reader: Callable[[Row], Choices]) -> Metric:
        if metric.type == "brier_score":
            return Metric(_key(metric), mean, higher_is_better=False)
        chance: float | Literal["choices"] | None = "choices"
        if self._has_own_sets:  # a sample's gold names the choices of all sets together
            chance = self._chance(reader)
        return Metric(_key(metric), mean, chance=chance)

    def _chance(self, reader: Callable[[Row], Choices]) -> float | None:
        shares = []
        for row in self._rows:
            try:
                choices = reader(row)
            except TemplateError:
                continue  # its sample is unscored
            shares.append(len(choices.right) / len(choices.texts))
        return sum(shares) / len(shares) if shares else None

    def _prepare(self, row: Row, sample_id: str) -> Prepared:
        sets = self._sets(row)
        gold = _join(sets)
        context = self._prompter.write_text(self._question(row), self._examples_for(row, sample_id))
        target = sets[0].texts[sets[0].right[0]]
        size = len(context) + sum(len(self._joint) + len(text) for text in gold.choices)
        return Prepared(Payload(context, gold.choices, sets[1:]), target, gold, size)

    def _gold(self, row: Row) -> Gold:
        return _join(self._sets(row))

    def _sets(self, row: Row) -> tuple[Choices, ...]:
        """Return the row's main choices, then those of each metric."""
        main = self._main(row)
        return (main, *(main if read is self._main else read(row) for read in self._readers))

    def _answer(self, row: Row) -> str:
        choices = self._main(row)
        return choices.texts[choices.right[0]]

    async def _evaluate(self, sample: Sample, ask: Ask) -> list[Score]:
        payload: Payload = sample.payload
        requests = [LoglikelihoodRequest(payload.context, self._joint + t) for t in payload.asked]
        logprobs = [_logprob(response) for response in await ask(requests)]
        by_text = dict(zip(payload.asked, logprobs, strict=True))
        return [
            _score(metric, Measured(choices, [by_text[text] for text in choices.texts]))
            for metric, choices in zip(self._measures, payload.sets, strict=True)
        ]

    def _reader(self, choices: ChoiceSet) -> Callable[[Row], Choices]:
        """Return a function from a row to its choices; TemplateError where they are amiss."""
        read_texts = self._texts_reader(choices.choices)
        if choices.labels is not None:
            read_labels = self._value(choices.labels, "labels")
            return lambda row: _labelled(read_texts(row), read_labels(row))
        if isinstance(choices.answer, int):
            index = choices.answer
            return lambda row: _answered(read_texts(row), index)
        read_answer = self._value(str(choices.answer), "answer")
        return lambda row: _answered(read_texts(row), read_answer(row))

    def _texts_reader(self, choices: str | list[str]) -> Callable[[Row], Any]:
        if isinstance(choices, str):
            return self._value(choices, "choices")
        parts = [
            self._text(text, f"choices[{i}]") if is_template(text) else _constant(text)
            for i, text in enumerate(choices)
        ]
        return lambda row: [part(row) for part in parts]


def _constant(text: str) -> Callable[[Row], str]:
    return lambda row: text


def _key(metric: ChoiceMetric) -> str:
    return metric.name or metric.type


def _join(sets: Sequence[Choices]) -> Gold:
    """Return all sets' choices together: the main ones, then what others have besides.

    A text that two sets share is asked for once; within the main set positions count.
    """
    main = sets[0]
    others = dict.fromkeys(text for choices in sets for text in choices.texts)
    asked = main.texts + tuple(text for text in others if text not in main.texts)
    right = [asked.index(c.texts[i]) for c in sets if c is not main for i in c.right]
    return Gold(asked, tuple(dict.fromkeys([*main.right, *right])))


# -- reading choices -------------------------------------------------------------------------------


def _check_texts(texts: Any) -> tuple[str, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TemplateError(f"choices must be a list of texts, not {texts!r:.80}")
    if len(texts) < 2:
        raise TemplateError(f"a choice needs two texts or more, not {len(texts)}")
    return tuple(texts)


def _labelled(raw: Any, labels: Any) -> Choices:
    texts = _check_texts(raw)
    if not isinstance(labels, list) or not all(label in (0, 1) for label in labels):
        raise TemplateError(f"labels must be a list of 0 and 1, not {labels!r:.80}")
    if len(labels) != len(texts):
        raise TemplateError(f"there are {len(texts)} choices and {len(labels)} labels")
    right = tuple(index for index, label in enumerate(labels) if label)
    if not right:
        raise TemplateError("labels: no choice is right")
    return Choices(texts, right)


def _answered(raw: Any, answer: Any) -> Choices:
    texts = _check_texts(raw)
    given = answer if isinstance(answer, list) else [answer]
    if not given:
        raise TemplateError("answer: no choice is right")
    return Choices(texts, tuple(_index(texts, one) for one in given))


def _index(texts: tuple[str, ...], answer: Any) -> int:
    if isinstance(answer, str):
        if answer in texts:
            return texts.index(answer)
        number = answer.strip().isdecimal()
        hint = "; for an index in a text write {{ field | int }}" if number else ""
        raise TemplateError(f"answer: {answer!r:.80} is none of the choices{hint}")
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise TemplateError(f"answer must be an index or a text, not {answer!r:.80}")
    if not 0 <= answer < len(texts):
        raise TemplateError(f"answer: index {answer} is outside the {len(texts)} choices")
    return answer


# -- scoring ---------------------------------------------------------------------------------------


def _logprob(response: Response) -> float:
    if not isinstance(response, Loglikelihood):
        raise TypeError(f"expected a log-probability, got {response.kind}")
    return response.logprob


def _score(metric: ChoiceMetric, measured: Measured) -> Score:
    try:
        _check_logprobs(measured.logprobs)
        value, picked = _MEASURES[metric.type](measured)
    except Unscorable as verdict:
        return Score(_key(metric), status="unscored", reason=str(verdict))
    return Score(_key(metric), value, extracted=picked, item=_calibration(metric, measured))


def _check_logprobs(logprobs: Sequence[float]) -> None:
    if any(math.isnan(value) for value in logprobs):
        raise Unscorable("the log-probability of a choice is not a number")
    if all(value == -math.inf for value in logprobs):
        raise Unscorable("every choice has probability 0, so none is preferred")


def _acc(measured: Measured) -> tuple[float, str]:
    return _pick(measured.choices, measured.logprobs)


def _acc_norm(measured: Measured) -> tuple[float, str]:
    """lm-eval's: the sum divided by the number of characters of the choice."""
    texts = measured.choices.texts
    if not all(texts):
        raise Unscorable("a choice is empty: its log-probability has no length to be divided by")
    per_character = [x / len(t) for x, t in zip(measured.logprobs, texts, strict=True)]
    return _pick(measured.choices, per_character)


def _pick(choices: Choices, values: Sequence[float]) -> tuple[float, str]:
    best = max(range(len(values)), key=values.__getitem__)  # the first of equals, as in lm-eval
    return float(best in choices.right), choices.texts[best]


def _mc2(measured: Measured) -> tuple[float, None]:
    """Share of the choices' probability that is on right ones (TruthfulQA, Lin et al. 2022)."""
    probabilities = normalise(measured.logprobs)
    return sum(probabilities[i] for i in set(measured.choices.right)), None


def _brier(measured: Measured) -> tuple[float, None]:
    """Squared distance between the probabilities and the right answer, in [0, 2]; 0 is best."""
    right = set(measured.choices.right)
    if len(right) != 1:
        raise Unscorable("the Brier score needs exactly one right choice")
    probabilities = normalise(measured.logprobs)
    return sum((p - (i in right)) ** 2 for i, p in enumerate(probabilities)), None


_MEASURES: dict[str, Callable[[Measured], tuple[float, str | None]]] = {
    "acc": _acc,
    "acc_norm": _acc_norm,
    "mc2": _mc2,
    "brier_score": _brier,
}


def normalise(logprobs: Sequence[float]) -> list[float]:
    """Return probabilities that sum to 1 over the choices."""
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _calibration(metric: ChoiceMetric, measured: Measured) -> dict[str, Any] | None:
    """What a study of calibration reads beside the Brier score."""
    if metric.type != "brier_score":
        return None
    return {"probabilities": normalise(measured.logprobs), "right": list(measured.choices.right)}
