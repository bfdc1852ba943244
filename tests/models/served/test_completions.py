"""Completions of a text, and what a server says of the probability of a prompt."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from llmeval.core import GenerateRequest, Generation, Sampling, TryAgain
from llmeval.models.served import completions
from llmeval.models.served.completions import (
    decode_echo,
    decode_wanted,
    encode_echo,
    encode_next,
    encode_wanted,
)
from llmeval.models.served.dialect import Dialect
from tests.models.served.garbage import bodies

PLAIN = Dialect("m", max_gen_toks=77, max_stop=4)


def ask(**sampling: Any) -> GenerateRequest:
    return GenerateRequest("Once", Sampling(**sampling))


def body(*texts: str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    choices = [{"index": i, "text": t, "finish_reason": finish} for i, t in enumerate(texts)]
    return {"choices": choices, **more}


def test_a_text_is_completed() -> None:
    assert completions.encode(PLAIN, [ask(max_tokens=9, stop=("\n", "a", "b", "c", "d"))]) == {
        "model": "m",
        "prompt": "Once",
        "max_tokens": 9,
        "temperature": 0.0,
        "stop": ["\n", "a", "b", "c"],
    }


def test_draws_are_one_call_with_a_seed() -> None:
    sent = completions.encode(PLAIN, list(ask(temperature=0.5, top_p=0.9).draws(3)))
    assert (sent["n"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == (3, 0.5, 0.9, 77)
    assert isinstance(sent["seed"], int)


def test_answers_are_read_and_cut_at_every_stop_string() -> None:
    drawn = list(ask(stop=("x", "\n\n")).draws(2))
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    answers = completions.decode(drawn, body(" upon\n\na", " a time", finish="length", usage=usage))
    assert answers == [
        Generation(" upon", "stop", prompt_tokens=3, completion_tokens=3),
        Generation(" a time", "length", prompt_tokens=0, completion_tokens=2),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [{"text": None, "finish_reason": "stop"}]},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": ["text"]},
        {"choices": [{"text": "a", "finish_reason": "error"}]},
    ],
)
def test_an_answer_that_is_not_whole_is_asked_again(answer: Any) -> None:
    with pytest.raises(TryAgain):
        completions.decode([ask()], answer)


@settings(max_examples=300)
@given(bodies(body("a", "b", usage={"prompt_tokens": 1}), "index"))
def test_a_spoiled_answer_is_read_or_asked_again(answer: Any) -> None:
    answer = orjson.loads(orjson.dumps(answer))
    try:
        found = completions.decode(list(ask().draws(2)), answer)
    except TryAgain:
        return
    assert [type(one.text) for one in found] == [str, str]


# -- how probable a prompt is ----------------------------------------------------------------

ECHO = {
    "choices": [
        {
            "index": 0,
            "text": "The cat",
            "finish_reason": "length",
            "logprobs": {
                "tokens": ["The", " cat"],
                "token_logprobs": [None, -1.5],
                "top_logprobs": [None, {" cat": -1.5, " dog": -0.5}],
                "text_offset": [0, 3],
            },
        }
    ],
    "usage": {"prompt_tokens": 2, "completion_tokens": 0},
}


def test_an_echo_is_asked_for_greedily_and_without_stops() -> None:
    dialect = Dialect("m", extra_body={"priority": 1})
    assert encode_echo(dialect, [1, 2], new_tokens=0) == {
        "model": "m",
        "prompt": [1, 2],
        "max_tokens": 0,
        "temperature": 0.0,
        "echo": True,
        "logprobs": 1,
        "priority": 1,
    }
    assert "echo" not in encode_next(dialect, "The", new_tokens=4)


def test_an_echo_is_read() -> None:
    echo = decode_echo(ECHO)
    assert (echo.text, list(echo.tokens)) == ("The cat", ["The", " cat"])
    assert list(echo.logprobs) == [None, -1.5]
    assert list(echo.best) == [None, -0.5]
    assert echo.prompt_tokens == 2


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, {"tokens": ["a"], "token_logprobs": []}, {"tokens": None, "token_logprobs": None}],
)
def test_an_echo_without_log_probabilities_is_no_echo(logprobs: Any) -> None:
    with pytest.raises(ValueError, match="log-probabilities"):
        decode_echo({"choices": [{"text": "a", "logprobs": logprobs}]})


def test_the_wanted_tokens_are_named_by_their_ids() -> None:
    sent = encode_wanted(PLAIN, [5, 6], [7, 8])
    assert sent["prompt"] == [5, 6]
    assert sent["logprob_token_ids"] == [7, 8]
    assert sent["return_tokens_as_token_ids"] is True
    assert sent["max_tokens"] == 1
    assert "echo" not in sent


def wanted(tokens: list[str], tops: Any) -> dict[str, Any]:
    logprobs = {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens), "top_logprobs": tops}
    return {
        "choices": [{"index": 0, "text": "x", "logprobs": logprobs}],
        "usage": {"prompt_tokens": 4},
    }


def test_what_may_come_next_is_read() -> None:
    found = decode_wanted(wanted(["token_id:9"], [{"token_id:9": -0.5, "token_id:7": -3.0}]))
    assert found.best == 9
    assert dict(found.logprobs) == {9: -0.5, 7: -3.0}
    assert found.prompt_tokens == 4


@pytest.mark.parametrize(
    ("tokens", "tops"),
    [
        ([" cat"], [{" cat": -0.5}]),  # a server that does not know the field
        (["token_id:9"], None),
        (["token_id:9", "token_id:8"], [{"token_id:9": -0.5}, {}]),
        (["token_id:x"], [{"token_id:9": -0.5}]),
        ([], []),
    ],
)
def test_a_server_that_does_not_say_what_was_wanted_is_told_apart(tokens: Any, tops: Any) -> None:
    with pytest.raises(ValueError):
        decode_wanted(wanted(tokens, tops))


@settings(max_examples=500)
@given(bodies(ECHO))
def test_a_spoiled_echo_is_read_or_refused(answer: Any) -> None:
    answer = orjson.loads(orjson.dumps(answer))
    try:
        echo = decode_echo(answer)
    except (TryAgain, ValueError):
        return
    assert len(echo.tokens) == len(echo.logprobs) == len(echo.best)
    numbers = [*echo.logprobs, *echo.best]
    assert all(n is None or isinstance(n, int | float) for n in numbers)
