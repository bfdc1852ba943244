"""Baselines against hand computation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    RollingRequest,
    Sample,
)
from llmeval.models import ModelSettings, load_model

CHOICES = ("red", "a dark green fox", "blue", "fox")
CONTEXT = "What does the dark fox see?"


@dataclass
class Items:
    """As much of a task as a baseline studies."""

    items: list[Sample]
    name: str = "task"

    def samples(self) -> Iterator[Sample]:
        return iter(self.items)


def choice_sample(right: int, id: str = "1", choices: tuple[str, ...] = CHOICES) -> Sample:
    return Sample(id, {}, gold=Gold(choices=choices, right=(right,)))


def requests_for(choices: tuple[str, ...] = CHOICES) -> list[LoglikelihoodRequest]:
    return [LoglikelihoodRequest(CONTEXT, " " + choice) for choice in choices]


def best(answers: list[Loglikelihood], lengths: list[int] | None = None) -> int:
    divisors = lengths or [1] * len(answers)
    values = [a.logprob / d for a, d in zip(answers, divisors, strict=True)]
    return max(range(len(values)), key=values.__getitem__)


@pytest.mark.parametrize(
    ("name", "picked"), [("oracle", 2), ("longest", 1), ("overlap", 1), ("majority", 3)]
)
def test_the_pick_wins_by_sum_by_length_and_by_probability(name: str, picked: int) -> None:
    model = load_model(f"baseline:{name}")
    golds = [3, 3, 0, 2]
    model.study([Items([choice_sample(r, str(i)) for i, r in enumerate(golds)])])
    answers = list(model.answer_sample("task", choice_sample(2), requests_for()))
    assert best(answers) == picked
    assert best(answers, [len(c) for c in CHOICES]) == picked
    assert [a.is_greedy for a in answers] == [i == picked for i in range(4)]
    weights = [math.exp(a.logprob) for a in answers]
    assert weights[picked] / sum(weights) == 1.0


def test_random_is_uniform_and_repeatable() -> None:
    model = load_model("baseline:random", ModelSettings(seed=1))
    other = load_model("baseline:random", ModelSettings(seed=2))
    picks, others = (
        [best(m.answer_sample("t", choice_sample(0, str(i)), requests_for())) for i in range(2000)]
        for m in (model, other)
    )
    counts = Counter(picks)
    # A binomial count of 2000 draws at 1/4 has a standard deviation of 19.4.
    assert all(abs(counts[i] - 500) < 5 * 19.4 for i in range(4))
    assert picks != others
    again = load_model("baseline:random", ModelSettings(seed=1))
    assert picks[7] == best(again.answer_sample("t", choice_sample(0, "7"), requests_for()))
    assert model.fingerprint != other.fingerprint


def test_contexts_that_differ_before_a_shared_ending_go_by_position() -> None:
    sample = choice_sample(1, choices=("Sarah", "Maria"))
    asked = [LoglikelihoodRequest(f"so {n}", " got the cases.") for n in ("Sarah", "Maria")]
    for name, picked in (("oracle", 1), ("longest", 0)):
        answers = load_model(f"baseline:{name}").answer_sample("t", sample, asked)
        assert best(list(answers)) == picked


def test_several_right_choices_are_all_right() -> None:
    sample = Sample("1", {}, gold=Gold(choices=CHOICES, right=(0, 3)))
    answers = load_model("baseline:oracle").answer_sample("t", sample, requests_for())
    weights = [math.exp(a.logprob) for a in answers]
    assert (weights[0] + weights[3]) / sum(weights) == 1.0


def test_mutual_information_names_the_same_choice() -> None:
    asked = [*requests_for(), *(LoglikelihoodRequest("", " " + c) for c in CHOICES)]
    answers = load_model("baseline:oracle").answer_sample("t", choice_sample(2), asked)
    differences = [answers[i].logprob - answers[i + 4].logprob for i in range(4)]
    assert max(range(4), key=differences.__getitem__) == 2


def test_a_choice_asked_alone_is_known_by_its_text() -> None:
    model = load_model("baseline:oracle")
    for index, request in enumerate(requests_for()):
        [answer] = model.answer_sample("t", choice_sample(2), [request])
        assert answer.is_greedy == (index == 2)


def test_a_single_continuation_is_right_if_the_baseline_would_say_it() -> None:
    request = [LoglikelihoodRequest("He saw a fox. He likes the", " fox")]
    sample = Sample("1", {}, gold=Gold(text="fox"))
    items = Items(
        [Sample(str(i), {}, gold=Gold(text=t)) for i, t in enumerate(["fox", "ox", "fox"])]
    )
    for name, greedy in (("oracle", True), ("majority", True), ("longest", False)):
        model = load_model(f"baseline:{name}")
        model.study([items])
        [answer] = model.answer_sample("task", sample, request)
        assert (name, answer.is_greedy) == (name, greedy)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oracle", "42"),
        ("majority", "7"),
        ("longest", "The fox has seven very long red tails."),
        ("overlap", "A dog has four legs."),
    ],
)
def test_open_answers(name: str, text: str) -> None:
    prompt = "The fox has seven very long red tails. A dog has four legs.\nHow many legs has a dog?"
    model = load_model(f"baseline:{name}")
    model.study(
        [Items([Sample(str(i), {}, gold=Gold(text=t)) for i, t in enumerate(["7", "7", "8"])])]
    )
    sample = Sample("x", {}, gold=Gold(text="42"))
    for request in (GenerateRequest(prompt), GenerateRequest((Message("user", prompt),))):
        [answer] = model.answer_sample("task", sample, [request])
        assert isinstance(answer, Generation)
        assert answer.text == text


def test_random_draws_another_samples_answer() -> None:
    model = load_model("baseline:random")
    samples = [Sample(str(i), {}, gold=Gold(text=f"answer {i}")) for i in range(3)]
    model.study([Items(samples)])
    for sample in samples:
        [answer] = model.answer_sample("task", sample, [GenerateRequest("?")])
        assert answer.text in {f"answer {i}" for i in range(3) if str(i) != sample.id}
    [answer] = model.answer_sample("another task", samples[0], [GenerateRequest("?")])
    assert answer.text == ""


def test_without_gold_the_oracle_fails_and_the_others_answer() -> None:
    sample = Sample("1", {})
    requests: list[Any] = [GenerateRequest("?"), *requests_for()]
    first, *_ = load_model("baseline:oracle").answer_sample("t", sample, requests)
    assert isinstance(first, Failure)
    _, *answers = load_model("baseline:longest").answer_sample("t", sample, requests)
    assert best(answers) == 1


def test_a_whole_text_costs_eight_bits_per_byte() -> None:
    text = "naïve 你"
    [answer] = load_model("baseline:random").answer_sample(
        "t", Sample("1", {}), [RollingRequest(text)]
    )
    assert -answer.logprob / math.log(2) / len(text.encode()) == pytest.approx(8)
    [answer] = load_model("baseline:oracle").answer_sample(
        "t", Sample("1", {}), [RollingRequest(text)]
    )
    assert answer.logprob == 0
