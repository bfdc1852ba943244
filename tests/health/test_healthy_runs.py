"""Healthy runs raise each check in less than one of a hundred: one that cries wolf is ignored."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from llmeval.health import HealthTally, RunFacts
from tests.health.rows import (
    MODEL,
    at_random,
    choice,
    completion,
    examine,
    guesses,
    make_facts,
    mostly_right,
)

RUNS = 150


def count(findings: Iterator[dict[str, dict[str, Any]]]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for found in findings:
        seen.update(found.keys())
    return seen


@pytest.mark.parametrize("picker", [at_random, mostly_right])
@pytest.mark.parametrize("n", [40, 400])
def test_choices_of_a_model_without_a_habit(picker: Any, n: int) -> None:
    seen = count(examine(guesses(seed, n, picker)) for seed in range(RUNS))
    assert all(times < RUNS / 100 for times in seen.values()), seen


def test_57_subjects_of_a_model_that_guesses() -> None:
    """All tests of a run are one family: more tasks give no more false alarms."""
    seen: Counter[str] = Counter()
    for seed in range(30):
        names = [f"subject {i}" for i in range(57)]
        tally = HealthTally([make_facts(name) for name in names])
        for i, name in enumerate(names):
            for row in guesses(seed * 57 + i, 30, at_random):
                tally.add(name, *row)
        metrics = {name: {"acc": {"chance": 0.25}} for name in names}
        tasks, _ = tally.find(metrics, RunFacts(MODEL))
        seen.update({finding["check"] for found in tasks.values() for finding in found})
    assert not seen


def test_two_labels_of_which_one_is_frequent() -> None:
    """The model follows the base rate of its task, and is right in 7 of 10."""

    def run(seed: int) -> dict[str, Any]:
        draw = random.Random(seed)
        rows = []
        for number in range(200):
            target = "yes" if draw.random() < 0.65 else "no"
            said = target if draw.random() < 0.7 else ("yes" if target == "no" else "no")
            rows.append(completion(number, said, target))
        return examine(rows)

    seen = count(run(seed) for seed in range(RUNS))
    assert all(times < RUNS / 100 for times in seen.values()), seen


def test_open_answers_with_the_accidents_that_happen() -> None:
    """One answer in a hundred is empty, cut, or cannot be read; some numbers come often."""

    def run(seed: int) -> dict[str, Any]:
        draw = random.Random(seed)
        rows = []
        for number in range(200):
            target = str(draw.randrange(30))
            said = target if draw.random() < 0.5 else str(draw.randrange(30))
            accident = draw.random()
            finish = "length" if accident < 0.01 else "stop"
            text = "" if 0.01 < accident < 0.015 else said
            unread = 0.02 < accident < 0.03
            rows.append(completion(number, text, target, finish=finish, unread=unread))
        return examine(rows)

    seen = count(run(seed) for seed in range(RUNS))
    assert all(times < RUNS / 100 for times in seen.values()), seen


def test_a_task_whose_right_choice_is_always_the_first() -> None:
    """As in TruthfulQA: what is picked cannot be spread as what is right."""
    draw = random.Random(0)
    choices = [f"statement {i}" for i in range(5)]
    picks = [0 if draw.random() < 0.3 else draw.randrange(5) for _ in range(400)]
    rows = [choice(i, pick, 0, choices=choices) for i, pick in enumerate(picks)]
    assert not examine(rows)


def test_refusing_every_harmful_request_is_no_fault() -> None:
    rows = [completion(i, "I can't help with that.", None, value=float(i % 2)) for i in range(100)]
    assert not examine(rows)


def test_a_baseline_that_always_says_b_is_what_it_is() -> None:
    rows = [choice(i, 1, i % 4) for i in range(200)]
    assert "one answer favoured" in examine(rows)
    assert not examine(rows, informed=True)
