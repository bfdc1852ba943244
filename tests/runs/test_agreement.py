"""Two records agree to the last bit, nearly, or not; and which items do not is named."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Response,
    Sample,
    Score,
)
from llmeval.runs import RecordWriter, Run
from llmeval.runs.agreement import Agreement, compare_answers, measure_distance

Answered = tuple[Any, Response]


def item(
    name: str = "a",
    *,
    answers: Sequence[Answered] = (),
    value: float | None = 1.0,
    row: str = "row",
    **score: Any,
) -> tuple[str, Sample, list[Answered], list[Score]]:
    status = "scored" if value is not None else "unscored"
    scores = [Score("acc", value, status=status, **score)]
    return "colours", Sample(name, {"question": row}, target="x"), list(answers), scores


def said(text: str, prompt: str = "?", **accounting: int) -> Answered:
    return GenerateRequest(prompt), Generation(text, **accounting)


def scored(logprob: float, choice: str = " a", greedy: bool = True, context: str = "c") -> Answered:
    return LoglikelihoodRequest(context, choice), Loglikelihood(logprob, greedy, 1)


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    numbers = itertools.count()

    def write(rows: Sequence[Any]) -> Run:
        folder = tmp_path / str(next(numbers))
        writer = RecordWriter(folder)
        writer.write(rows)
        writer.close()
        return Run(folder)

    def compare(old: Sequence[Any], new: Sequence[Any], epsilon: float = 1e-4) -> Agreement:
        return compare_answers(write(old), write(new), epsilon)

    return compare


def kinds(found: Agreement) -> Mapping[str, list[str]]:
    return {kind: [id for _, id in items] for kind, items in found.changed.items() if items}


def test_the_same_is_byte_identical_in_whatever_order(compare: Any) -> None:
    rows = [item("a", answers=[scored(-1.5)]), item("b", answers=[said("yes")])]
    found = compare(rows, rows[::-1])
    assert (found.verdict, found.items, found.within, found.num_changed) == (
        *("byte-identical", 2),
        *(0, 0),
    )


def test_last_digits_are_equivalent_and_their_largest_difference_is_told(compare: Any) -> None:
    old = [item("a", answers=[scored(-1.0), scored(-2.0, " b")], value=0.5), item("b")]
    new = [item("a", answers=[scored(-1.00001), scored(-2.00005, " b")], value=0.50002), item("b")]
    found = compare(old, new)
    assert (found.verdict, found.items, found.within) == ("equivalent", 2, 1)
    assert found.max_logprob == pytest.approx(5e-5)
    assert found.max_value == pytest.approx(2e-5)
    assert compare(old, new, epsilon=4e-5).verdict == "different"
    assert compare(old, new, epsilon=0.0).verdict == "different"


@pytest.mark.parametrize(
    ("new", "kind"),
    [
        (item("a", answers=[scored(-1.2), said("yes", "c")]), "answer"),
        (item("a", answers=[scored(-1.0, greedy=False), said("yes", "c")]), "answer"),
        (item("a", answers=[scored(-1.0), said("no", "c")]), "answer"),
        (item("a", answers=[scored(-1.0), said("yes", "c")], value=0.0), "score"),
        (item("a", answers=[scored(-1.0), said("yes", "c")], value=None), "score"),
        (item("a", answers=[scored(-1.0), said("yes", "c")], extracted="B"), "score"),
        (item("a", answers=[scored(-1.0, context="d"), said("yes", "d")]), "prompt"),
        (item("a", answers=[scored(-1.0), said("yes", "c")], row="other"), "data"),
    ],
)
def test_what_changed_in_an_item_is_named(compare: Any, new: Any, kind: str) -> None:
    old = item("a", answers=[scored(-1.0), said("yes", "c")])
    found = compare([old], [new])
    assert (found.verdict, kinds(found)) == ("different", {kind: ["a"]})


def test_items_that_come_and_go_are_named(compare: Any) -> None:
    found = compare([item("a"), item("b")], [item("b"), item("c")])
    assert kinds(found) == {"missing": ["a"], "added": ["c"]}
    assert found.items == 3


def test_what_a_servers_cache_changes_is_no_difference(compare: Any) -> None:
    old = item(answers=[said("yes", prompt_tokens=9, completion_tokens=2)])
    new = item(answers=[said("yes", prompt_tokens=9, cached_tokens=8, completion_tokens=2)])
    assert compare([old], [new]).verdict == "byte-identical"


def test_who_asked_first_is_no_difference(compare: Any) -> None:
    answers = [said("one", "first"), scored(-1.0), scored(-2.0, " b")]
    swapped = [answers[0], answers[2], answers[1]]
    assert compare([item(answers=answers)], [item(answers=swapped)]).verdict == "byte-identical"


def test_an_impossible_continuation_equals_itself_alone(compare: Any) -> None:
    never, seldom = item(answers=[scored(-math.inf)]), item(answers=[scored(-700.0)])
    assert compare([never], [never]).verdict == "byte-identical"
    assert kinds(compare([never], [seldom])) == {"answer": ["a"]}


def test_what_a_corpus_metric_counts_is_compared_as_numbers(compare: Any) -> None:
    old, new = item(item=[-5.0, 3], value=None), item(item=[-5.00001, 3], value=None)
    found = compare([old], [new])
    assert found.verdict == "equivalent"
    assert found.max_value == pytest.approx(1e-5)


def test_json_names_every_changed_item(compare: Any) -> None:
    plain = compare([item("a")], [item("a", value=0.0)]).to_plain()
    assert plain["changed"] == {"score": [{"task": "colours", "sample_id": "a"}]}
    assert (plain["verdict"], plain["items"]) == ("different", 1)


# -- distance --------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_distance_is_symmetric_and_nothing_only_from_the_same(a: Any, b: Any) -> None:
    distance = measure_distance(a, b)
    assert distance >= 0.0
    assert distance == measure_distance(b, a)
    assert measure_distance(a, a) == 0.0
    if distance == 0.0 and "NaN" not in json.dumps([a, b]):
        assert a == b


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (True, 1),
        (None, 0.0),
        ("1", 1),
        ([1], [1, 1]),
        ({"a": 1}, {"b": 1}),
        (math.nan, 1.0),
        (10**400, 1.5),
        (math.inf, -math.inf),
        ({"num_tokens": 7}, {"num_tokens": 8}),
    ],
)
def test_what_no_epsilon_bridges(a: Any, b: Any) -> None:
    assert measure_distance(a, b) == math.inf
