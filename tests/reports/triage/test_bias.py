"""A label that wrong answers go to, whatever is asked."""

from __future__ import annotations

import random

import pytest

from llmeval.reports.triage.bias import Answers, find_favoured


def picks(labels: list[str]) -> dict[str, str]:
    return {f"q{i}": label for i, label in enumerate(labels)}


def judge(right: list[str], tonight: list[str]) -> list[str]:
    """The baseline has all right; return what tonight's wrong answers favour."""
    wrong = [said for said, gold in zip(tonight, right, strict=True) if said != gold]
    found = find_favoured([Answers(wrong, right, picks(right), picks(tonight))])
    return [one.label for one in found]


def test_always_a() -> None:
    right = list("abcd") * 25
    assert judge(right, ["a"] * 100) == ["a"]


def test_errors_without_preference_favour_nothing() -> None:
    rng = random.Random(1)
    right = list("abcd") * 50
    tonight = [rng.choice([x for x in "abcd" if x != gold]) for gold in right]
    assert judge(right, tonight) == []


def test_the_other_label_of_two_is_no_preference_unless_all_errors_are_one_sided() -> None:
    right = ["yes", "no"] * 50
    both = [{"yes": "no", "no": "yes"}[x] if i < 40 else x for i, x in enumerate(right)]
    assert judge(right, both) == []
    assert judge(right, ["yes"] * 100) == ["yes"]


def test_a_skewed_key_is_taken_into_account() -> None:
    """Nine in ten are right with a: errors must fall on others, b, c and d alike."""
    rng = random.Random(2)
    right = ["a"] * 180 + ["b"] * 20
    tonight = [rng.choice([x for x in "abcd" if x != gold]) for gold in right]
    assert judge(right, tonight) == []


@pytest.mark.parametrize("n", [0, 4])
def test_a_few_lost_items_tell_nothing(n: int) -> None:
    right = list("abcd") * 25
    tonight = ["a" if 0 < i <= n else gold for i, gold in enumerate(right)]
    assert judge(right, tonight) == []


def test_open_answers_have_no_labels() -> None:
    right = [f"answer {i}" for i in range(60)]
    assert judge(right, ["a"] * 60) == []


def test_shares_before_and_after_are_told() -> None:
    right = list("abcd") * 25
    wrong = ["a"] * 75
    (one,) = find_favoured([Answers(wrong, right, picks(right), picks(["a"] * 100))])
    assert (one.before, one.after, one.picked) == (0.25, 1.0, 75)
    assert one.expected == pytest.approx(75 * 0.75 / 3)


def test_a_few_lost_items_in_each_of_many_tasks_tell_together() -> None:
    right = list("abcd") * 2
    few = [Answers(["a"] * 3, right, picks(right), picks(["a"] * 8))] * 10
    assert find_favoured(few[:1]) == []
    (one,) = find_favoured(few)
    assert (one.label, one.picked, one.wrong, one.expected) == ("a", 30, 30, pytest.approx(7.5))
