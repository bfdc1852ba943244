"""Scorers against their sources: definitions, sacrebleu, rouge_score; unreadable is unscored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from llmeval.core import Unscorable
from llmeval.tasks.native.scorers import Answer, AnyScorer, Scorer
from llmeval.tasks.native.scorers.numbers import find_numbers


def build(settings: Any) -> Scorer:
    scorer: Scorer = TypeAdapter(AnyScorer).validate_python(settings).build()
    return scorer


def judge(settings: Any, text: str, *targets: str, truncated: bool = False) -> Any:
    return build(settings).judge(Answer(text, truncated), targets)


def reason(settings: Any, text: str, *targets: str, truncated: bool = False) -> str:
    with pytest.raises(Unscorable) as caught:
        judge(settings, text, *targets, truncated=truncated)
    return str(caught.value)


@pytest.mark.parametrize(
    ("ignore", "text", "value"),
    [
        ([], " Paris\n", 1.0),
        ([], "paris", 0.0),
        (["case"], "PARIS", 1.0),
        (["punctuation"], "Paris!", 1.0),
        (["case", "punctuation"], "'paris'.", 1.0),
        ([], "It is Paris", 0.0),
    ],
)
def test_exact_counts_only_differences_that_are_not_ignored(
    ignore: list[str], text: str, value: float
) -> None:
    assert judge({"type": "exact", "ignore": ignore}, text, "Paris").value == value


def test_exact_takes_any_of_several_targets() -> None:
    assert judge("exact", "two", "2", "two").value == 1.0


@pytest.mark.parametrize(
    ("left", "right", "f1"),
    [
        # SQuAD 2.0's script by hand: tokens without articles, punctuation and case.
        ("The cat sat on the mat.", "cat on mat", 2 * (3 / 4) * (3 / 3) / (3 / 4 + 3 / 3)),
        ("Denver Broncos", "the Denver Broncos!", 1.0),
        ("red red blue", "red", 0.5),
        ("yes", "no", 0.0),
        ("the", "a", 1.0),
        ("the", "cat", 0.0),
    ],
)
def test_f1_is_squads(left: str, right: str, f1: float) -> None:
    assert math.isclose(judge("f1", left, right).value, f1)


def test_f1_takes_the_best_target() -> None:
    assert judge("f1", "blue sky", "grass", "the blue sky").value == 1.0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("it costs 1,234.5 now", [Fraction(2469, 2)]),
        ("-3/4", [Fraction(-3, 4)]),
        ("x=-5 and \u22127", [-5, -7]),
        ("10-3", [10, 3]),
        ("- 5 apples", [5]),
        ("$1,000,000.", [10**6]),
        (".5", [Fraction(1, 2)]),
        ("2e3 1E-2", [2000, Fraction(1, 100)]),
        ("The answer is 42.", [42]),
        ("a5 x-ray", []),
        ("3/0", []),
        ("1e999999999", []),
        ("9" * 5000, []),
    ],
)
def test_numbers_are_read_exactly(text: str, numbers: list[Any]) -> None:
    assert [number.value for number in find_numbers(text)] == numbers


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "it is {:,}.", "#### {}"]))
def test_every_integer_is_read_back(number: int, form: str) -> None:
    assert find_numbers(form.format(number))[-1].value == number


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_numbers(text: str) -> None:
    find_numbers(text)


@pytest.mark.parametrize(
    ("settings", "text", "target", "value"),
    [
        ({}, "3 + 4 = 7", "7", 1.0),
        ({"pick": "first"}, "3 + 4 = 7", "7", 0.0),
        ({}, "0.75", "3/4", 1.0),
        ({}, "3.14", "3.14159", 0.0),
        ({"absolute": 0.01}, "3.14", "3.14159", 1.0),
        ({"absolute": 0.1}, "0.3", "0.2", 1.0),  # floats would say 0.09999999999999998
        ({"absolute": 0.1}, "0.2", "0.3", 1.0),
        ({"relative": 0.1}, "90", "100", 1.0),
        ({"relative": 0.1}, "89.9", "100", 0.0),
        ({}, "60%", "60", 1.0),
        ({}, "60%", "0.6", 1.0),
        ({}, "60%", "0.6%", 0.0),
        ({"percent": "number"}, "60%", "0.6", 0.0),
        ({"percent": "fraction"}, "60%", "60", 0.0),
        ({"percent": "fraction"}, "0.6", "60%", 1.0),
    ],
)
def test_numeric_compares_within_its_tolerance(
    settings: dict[str, Any], text: str, target: str, value: float
) -> None:
    assert judge({"type": "numeric", **settings}, text, target).value == value


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(b).", "B"),
        ("B) because A is wrong", "B"),
        ("The answer is (C).", "C"),
        ("A dog is what I'd choose: D", "D"),
        ("Answer: **C**", "C"),
        ("Let me think. (A) no. The answer is B. Finally the answer is D", "D"),
        ("It could be A", "A"),
    ],
)
def test_the_letter_of_a_choice_is_found(text: str, letter: str) -> None:
    assert judge({"type": "letter", "letters": "ABCD"}, text, letter).extracted == letter
    assert judge({"type": "letter", "letters": "ABCD"}, text, letter).value == 1.0


@pytest.mark.parametrize("text", ["I think B or C", "a cat", "answer is a mystery", "A cat sat"])
def test_an_answer_without_one_letter_is_unscored(text: str) -> None:
    assert "letter" in reason({"type": "letter", "letters": "ABCD"}, text, "A")


def test_regex_takes_group_and_match() -> None:
    settings = {"type": "regex", "pattern": r"(\w+) = (\d+)", "group": 2, "pick": "last"}
    judged = judge(settings, "a = 1, b = 2", "2")
    assert (judged.value, judged.extracted) == (1.0, "2")


def test_includes_looks_for_whole_words() -> None:
    assert judge("includes", "It is Paris.", "Paris").value == 1.0
    assert judge("includes", "Comparison", "Paris").value == 0.0
    loose = {"type": "includes", "words": False, "ignore": ["case"]}
    assert judge(loose, "Comparison", "PARIS").value == 1.0


@pytest.mark.parametrize(
    "scorer", ["numeric", "letter", {"type": "regex", "pattern": "(.*)"}], ids=str
)
def test_nothing_is_found_in_an_empty_answer(scorer: Any) -> None:
    assert reason(scorer, " \n", "a 1") == "the answer is empty"


@pytest.mark.parametrize("scorer", ["exact", "includes", "f1", "rouge"])
def test_an_empty_answer_is_wrong_where_the_whole_text_is_compared(scorer: str) -> None:
    judged = judge(scorer, " \n", "a 1", "b")
    assert (judged.value, judged.extracted or "") == (0.0, "")


@pytest.mark.parametrize("scorer", ["exact", "includes", "f1"])
def test_an_empty_answer_is_right_where_nothing_is_to_be_said(scorer: str) -> None:
    assert judge(scorer, " \n", "").value == 1.0


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter"])
def test_silence_counts_in_a_corpus_metric_as_in_sacrebleu(name: str) -> None:
    said = [ANSWERS[0], "", ANSWERS[2]]
    targets = [refs[:1] for refs in REFERENCES]
    scorer = build(name)
    items = [scorer.judge(Answer(t), r).item for t, r in zip(said, targets, strict=True)]
    expected = sacrebleus(name).corpus_score(said, [[refs[0] for refs in targets]]).score
    assert scorer.metric.estimate(items, None).value == pytest.approx(expected)


def test_what_a_cut_answer_lacks_is_said_to_be_cut() -> None:
    settings = {"type": "regex", "pattern": "#### (.*)"}
    assert reason(settings, "Let us think") == "the pattern is not in the answer"
    said = reason(settings, "Let us think", "2", truncated=True)
    assert said == "the pattern is not in the answer (it was cut at the token limit)"
    assert "cut at the token limit" in reason("numeric", "Let us", "2", truncated=True)


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_is_googles(variant: str) -> None:
    from rouge_score import rouge_scorer

    text, target = "The cats were sitting on the mat.\nAll day.", "A cat sat on the mat.\nAll day."
    for stemmer in (False, True):
        expected = rouge_scorer.RougeScorer([variant], use_stemmer=stemmer).score(target, text)
        for measure in ("fmeasure", "precision", "recall"):
            settings = {
                "type": "rouge",
                "variant": variant,
                "measure": measure,
                "stemmer": stemmer,
            }
            judged = judge(settings, text, "something else", target)
            assert math.isclose(judged.value, getattr(expected[variant], measure))


ANSWERS = ["the cat sat on the mat", "a dog barked at night", "it rains here every day now"]
REFERENCES: list[Sequence[str]] = [
    ["the cat sat on a mat", "a cat is on the mat"],
    ["the dog barked all night"],
    ["it rains here every single day"],
]


def sacrebleus(name: str) -> Any:
    from sacrebleu import metrics

    return {
        "bleu": metrics.BLEU(),
        "chrf": metrics.CHRF(),
        "chrf++": metrics.CHRF(word_order=2),
        "ter": metrics.TER(),
    }[name]


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter"])
def test_corpus_metrics_are_sacrebleus(name: str) -> None:
    scorer = build(name)
    items = [
        scorer.judge(Answer(text), targets).item
        for text, targets in zip(ANSWERS, REFERENCES, strict=True)
    ]
    estimate = scorer.metric.estimate(items, None)
    streams = [
        [refs[0] for refs in REFERENCES],
        [refs[1] if len(refs) > 1 else None for refs in REFERENCES],
    ]
    expected = sacrebleus(name).corpus_score(ANSWERS, streams).score
    assert estimate.value == pytest.approx(expected)
    assert estimate.stderr is not None and estimate.stderr > 0
    assert scorer.metric.higher_is_better == (name != "ter")
