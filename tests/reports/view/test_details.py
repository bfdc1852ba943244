"""One sample whole: what the record says, and nothing that it does not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Score,
)
from llmeval.reports.view.details import as_chat, rank_choices, read_json, share_out
from llmeval.reports.view.items import Items
from tests.reports.view.samples import choice, completion
from tests.support.records import Item, write_record


def read(folder: Path, *items: Item) -> list[dict[str, Any]]:
    run = write_record(folder / "run", {"task": items})
    return [item[0] for item in Items([run]).read() if item[0] is not None]


def test_a_chat_is_turns_and_a_text_is_a_text(tmp_path: Path) -> None:
    chat, text = read(tmp_path, completion("x", "an answer", 1.0), Item("t", {"acc": 1.0}))
    assert chat["prompt"] == [["system", "Be careful."], ["user", "What is x?"]]
    assert text["prompt"] == "t?"


@pytest.mark.parametrize("prompt", ["[[", '[["user"]]', "[[1, 2]]", "[[]]", "[[x]] is a text", ""])
def test_a_text_that_looks_like_a_chat_stays_a_text(prompt: str) -> None:
    assert as_chat(prompt) == prompt


def test_tokens_are_those_of_the_record(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, choice("a", [-1.0, -2.0, -3.0, -4.0], 0))
    response = sample["exchanges"][0]["response"]
    assert (response["prompt_tokens"], response["num_tokens"]) == (12, 2)


def test_choices_tell_what_was_picked_and_what_was_right(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, choice("a", [-1.0, -2.0, -3.0, -4.0], 2))
    assert [c["right"] for c in sample["choices"]] == [False, False, True, False]
    assert [c["picked"] for c in sample["choices"]] == [["acc"], [], [], []]
    shares = [c["share"] for c in sample["choices"]]
    assert shares == pytest.approx(softmax([-1.0, -2.0, -3.0, -4.0]))


def test_completions_and_single_log_probabilities_are_no_choices(tmp_path: Path) -> None:
    single = Item(
        "s",
        {"acc": 1.0},
        exchanges=[(LoglikelihoodRequest("a", " b"), Loglikelihood(-1.0, True, 1))],
    )
    samples = read(tmp_path, single, completion("x", "an answer", 1.0))
    assert [sample["choices"] for sample in samples] == [None, None]


def _exchange(text: str, logprob: float | None) -> dict[str, Any]:
    return {
        "request": {"kind": "loglikelihood", "rest": [text]},
        "response": {"kind": "loglikelihood", "logprob": logprob},
    }


def _acc(value: float) -> list[dict[str, Any]]:
    return [{"metric": "acc", "value": value, "extracted": None, "item": None}]


def test_a_position_as_target_is_believed_where_the_score_agrees() -> None:
    asked = [_exchange(" no", -2.0), _exchange(" yes", -1.0)]
    right = rank_choices(asked, _acc(1.0), "1", True)
    wrong = rank_choices(asked, _acc(0.0), "0", True)
    against = rank_choices(asked, _acc(0.0), "1", True)
    assert right is not None and [c["right"] for c in right] == [False, True]
    assert wrong is not None and [c["right"] for c in wrong] == [True, False]
    assert against is not None and [c["right"] for c in against] == [None, None]


def test_a_number_is_the_text_of_a_choice_before_it_is_a_position() -> None:
    asked = [_exchange(" 1", -1.0), _exchange(" 0", -2.0)]
    found = rank_choices(asked, _acc(1.0), "1", True)
    assert found is not None and [c["right"] for c in found] == [True, False]


def test_without_a_log_probability_no_share_is_told() -> None:
    found = rank_choices([_exchange(" a", None), _exchange(" b", -1.0)], [], "a", False)
    assert found is not None
    assert [c["share"] for c in found] == [None, None]
    assert [c["picked"] for c in found] == [[], []]


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=8))
def test_shares_are_a_softmax(logprobs: list[float]) -> None:
    assert share_out(logprobs) == pytest.approx(list(softmax(logprobs)))


def test_numbers_that_javascript_would_change_are_texts(tmp_path: Path) -> None:
    item = Item("n", {"acc": 1.0}, metadata={"large": 2**60, "small": 7, "deep": [2**60]})
    (sample,) = read(tmp_path, item)
    assert sample["metadata"] == {"large": str(2**60), "small": 7, "deep": [str(2**60)]}


def test_what_is_not_finite_is_a_word(tmp_path: Path) -> None:
    item = Item(
        "n",
        {"acc": Score("acc", status="unscored", reason="no")},
        exchanges=[
            (GenerateRequest("p"), Generation("t", top_logprobs={"a": -1.0})),
            (LoglikelihoodRequest("p", " c"), Loglikelihood(-math.inf, False, 1)),
        ],
    )
    (sample,) = read(tmp_path, item)
    json.dumps(sample, allow_nan=False)
    assert sample["exchanges"][1]["response"]["logprob"] in (None, "-inf")


def test_json_that_is_broken_is_no_value() -> None:
    assert read_json("{") is None
    assert read_json(None) is None
    assert read_json("[" * 100_000) is None
    assert read_json("123456789012345678901234567890") == 123456789012345678901234567890


def test_scores_stand_in_the_order_of_the_record(tmp_path: Path) -> None:
    item = Item("n", {"b": 1.0, "a": 0.5, "c": Score("c", status="unscored", reason="empty")})
    (sample,) = read(tmp_path, item)
    assert [(s["metric"], s["value"], s["reason"]) for s in sample["scores"]] == [
        ("b", 1.0, None),
        ("a", 0.5, None),
        ("c", None, "empty"),
    ]


def test_a_prompt_of_its_own_is_kept_with_its_question(tmp_path: Path) -> None:
    first, second = GenerateRequest("first"), GenerateRequest((Message("user", "second"),))
    item = Item("n", {"acc": 1.0}, exchanges=[(first, Generation("a")), (second, Generation("b"))])
    (sample,) = read(tmp_path, item)
    assert "prompt" not in sample["exchanges"][0]["request"]
    assert sample["exchanges"][1]["request"]["prompt"] == [["user", "second"]]
