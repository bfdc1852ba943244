"""One letter, position or label that is given whatever is asked."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from llmeval.core import Gold, Sample, Score
from tests.health.rows import LETTERS, choice, completion, examine


def test_one_letter_nearly_always() -> None:
    rows = [choice(i, 2 if i % 20 else 0, i % 4) for i in range(100)]
    finding = examine(rows)["one answer favoured"]
    assert finding["what"].startswith("the choice 'C' was given 95 of 100 times, where about 25")
    assert finding["severity"] == "error"
    assert (finding["count"], finding["n"], finding["share"]) == (95, 100, 0.95)


def test_a_position_whose_choices_change_from_row_to_row() -> None:
    rows = [
        choice(i, 0 if i % 3 else 1, i % 4, choices=[f"{i} {name}" for name in LETTERS])
        for i in range(90)
    ]
    finding = examine(rows)["one answer favoured"]
    assert finding["what"].startswith("choice 1 was given 60 of 90 times")
    assert finding["severity"] == "warning"


def test_a_good_model_may_pick_what_is_right() -> None:
    """Nine of ten right choices stand first, and the model finds them."""
    rows = [choice(i, 0 if i % 10 else 2, 0 if i % 10 else 2) for i in range(100)]
    assert "one answer favoured" not in examine(rows)


def letters(i: int, letter: str, right: int, choices: Any) -> tuple[Sample, Any, list[Score]]:
    sample, asked, _ = completion(i, letter, "x")
    sample = replace(sample, gold=Gold(tuple(choices), (right,)))
    return sample, asked, [Score("acc", float(i % 4 == 0), extracted=letter)]


@pytest.mark.parametrize("choices", [LETTERS, ("red", "green", "blue", "grey")])
def test_letters_that_a_chat_model_gave(choices: Any) -> None:
    """Shuffled choices have unknown right letters: each is as likely as another."""
    favoured = [letters(i, "D" if i % 10 else "A", i % 4, choices) for i in range(80)]
    assert "one answer favoured" in examine(favoured, form="letters by generation")
    even = [letters(i, LETTERS[(i * 7) % 4], i % 4, choices) for i in range(80)]
    assert "one answer favoured" not in examine(even, form="letters by generation")


def test_a_label_that_a_classifier_always_says() -> None:
    labels = ["positive", "negative", "neutral"]
    rows = [completion(i, " Neutral.", labels[i % 3]) for i in range(60)]
    found = examine(rows)
    assert found["one answer favoured"]["what"].startswith("the answer 'neutral' was given 60 of")
    assert "identical answers" not in found  # the same thing, seen twice


def test_numbers_are_no_labels() -> None:
    draw = random.Random(0)
    rows = [completion(i, "7", str(draw.randrange(100))) for i in range(60)]
    found = examine(rows)
    assert "one answer favoured" not in found
    assert "identical answers" in found


def test_few_samples_prove_nothing() -> None:
    assert "one answer favoured" not in examine([choice(i, 0, i % 4) for i in range(4)])
