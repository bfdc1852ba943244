"""The pocket world is an instrument: what a reader of the text, or of nothing, must score."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.pocket.facts import Fact, generate_facts

FACTS = generate_facts(0)
TEST_FACTS = [fact for fact in FACTS if not fact.dev]
TASKS = ("pocket_mmlu", "pocket_hellaswag", "pocket_truthfulqa")


def pick(task: str, taught: str) -> list[Fact]:
    return [fact for fact in TEST_FACTS if (fact.task, fact.taught) == (task, taught)]


def test_same_seed_gives_the_same_facts_and_another_seed_others() -> None:
    assert generate_facts(0) == FACTS
    assert generate_facts(1) != FACTS


def test_every_fact_has_an_entity_of_its_own() -> None:
    names = [fact.name for fact in FACTS]
    assert len(set(names)) == len(names)
    assert len({fact.id for fact in FACTS}) == len(FACTS)
    text = [name.lower() for name in names]
    assert not [(a, b) for a in text for b in text if a != b and a in b]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("taught", ["always", "sometimes", "never"])
def test_a_scorer_blind_to_the_question_is_right_in_exactly_one_of_four(
    task: str, taught: str, seed: int
) -> None:
    def blind(text: str) -> float:
        return random.Random(f"{seed} {text}").random()

    facts = pick(task, taught)
    right = sum(max(fact.choices, key=blind) == fact.choices[fact.answer] for fact in facts)
    assert right == len(facts) / 4


@pytest.mark.parametrize("task", ["pocket_mmlu", "pocket_hellaswag"])
def test_answer_positions_are_balanced_in_every_slice(task: str) -> None:
    for taught in ("always", "sometimes", "never"):
        positions = Counter(fact.answer for fact in pick(task, taught))
        assert len(positions) == 4
        assert len(set(positions.values())) == 1


@pytest.mark.parametrize("task", TASKS)
def test_statements_of_a_cycle_follow_the_shares_exactly(task: str) -> None:
    for fact in pick(task, "sometimes"):
        stated = Counter(fact.statements())
        wordings = zip(fact.choices, fact.paraphrases or fact.choices, strict=True)
        assert fact.share is not None
        for (first, second), share in zip(wordings, fact.share, strict=True):
            count = stated[first] + (stated[second] if second != first else 0)
            assert count == round(10 * share)
            if second != first:
                assert stated[first] == stated[second]


@pytest.mark.parametrize("task", ["pocket_mmlu", "pocket_hellaswag"])
def test_the_mixture_is_calibrated_against_the_truth(task: str) -> None:
    true: dict[float, list[bool]] = {}
    for fact in pick(task, "sometimes"):
        assert fact.share is not None
        for index, share in enumerate(fact.share):
            true.setdefault(share, []).append(index == fact.answer)
    assert sum(map(len, true.values())) == 4 * len(pick(task, "sometimes"))
    for share, outcomes in true.items():
        assert sum(outcomes) == pytest.approx(share * len(outcomes))


def test_misbeliefs_are_stated_as_often_as_truths() -> None:
    shares = Counter(fact.share[0] for fact in pick("pocket_truthfulqa", "sometimes") if fact.share)
    assert shares == {0.2: 12, 0.4: 12, 0.6: 12, 0.8: 12}


@pytest.mark.parametrize("task", ["pocket_mmlu", "pocket_hellaswag"])
def test_length_normalisation_cannot_turn_a_mixture_around(task: str) -> None:
    # The closest mixture is .5 against .3, whose logarithms stand as 1 to 1.74.
    for fact in pick(task, "sometimes"):
        lengths = [len(choice) for choice in fact.choices]
        assert max(lengths) / min(lengths) < 1.7


def test_never_taught_facts_make_no_statement() -> None:
    never = [fact for fact in FACTS if fact.taught == "never"]
    assert len(never) == 120 + 80 + 48
    assert not any(fact.statements() or fact.share for fact in never)
