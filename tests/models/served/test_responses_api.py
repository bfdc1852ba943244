"""The Responses API: what goes out is what it takes, what comes back is read or asked again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from llmeval.core import GenerateRequest, Generation, Message, Sampling, TryAgain
from llmeval.models.served import responses_api
from llmeval.models.served.dialect import Dialect
from tests.models.served.garbage import bodies

THINKS = Dialect("m", reasoning=True, reasoning_tokens=1000, reasoning_effort="high")
REQUEST = GenerateRequest("Hello", Sampling(max_tokens=5, stop=("\n",)))


def message(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts), **more}


def text(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": []}


def body(*output: Any, status: Any = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "error": None, "output": list(output), **more}


def read(answer: Any) -> Generation:
    (found,) = responses_api.decode([REQUEST], answer)
    return found


def test_one_question_goes_out_without_what_the_interface_does_not_know() -> None:
    request = GenerateRequest(
        (Message("system", "s"), Message("user", "u")),
        Sampling(max_tokens=50, temperature=0.5, top_p=0.9, stop=("\n",), seed=2),
    )
    assert responses_api.encode(Dialect("m"), [request]) == {
        "model": "m",
        "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "max_output_tokens": 50,
        "store": False,
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_a_reasoning_model_gets_room_and_its_effort() -> None:
    sent = responses_api.encode(THINKS, [REQUEST])
    assert sent["max_output_tokens"] == 1005
    assert sent["reasoning"] == {"effort": "high"}
    assert "temperature" not in sent


def test_the_least_number_of_tokens_is_that_of_the_interface() -> None:
    assert responses_api.encode(Dialect("m"), [REQUEST])["max_output_tokens"] == 16


def test_an_answer_is_read_whole() -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 6},
    }
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    assert read(body(thought, message(text("Hel"), text("lo\nmore")), usage=usage)) == Generation(
        "Hello",
        "stop",
        prompt_tokens=9,
        completion_tokens=8,
        reasoning="hm",
        cached_tokens=2,
        reasoning_tokens=6,
    )


@pytest.mark.parametrize(
    ("reason", "meant"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_answer_says_why(reason: str, meant: str) -> None:
    details = {"reason": reason}
    found = read(body(message(text("Hel")), status="incomplete", incomplete_details=details))
    assert (found.text, found.finish_reason) == ("Hel", meant)


def test_thoughts_that_took_all_the_room_leave_an_empty_answer_that_says_so() -> None:
    thought = {"type": "reasoning", "summary": []}
    details = {"reason": "max_output_tokens"}
    found = read(body(thought, status="incomplete", incomplete_details=details))
    assert (found.text, found.finish_reason) == ("", "length")


@pytest.mark.parametrize("details", [None, {}, {"reason": None}])
def test_an_incomplete_answer_without_a_reason_is_no_whole_one(details: Any) -> None:
    answer = body(message(text("Hel")), status="incomplete", incomplete_details=details)
    try:
        assert read(answer).finish_reason != "stop"
    except TryAgain:
        return


def test_a_refusal_is_what_is_said() -> None:
    assert read(body(message({"type": "refusal", "refusal": "No."}))).text == "No."


def test_a_called_tool_is_no_answer() -> None:
    call = {"type": "function_call", "name": "lookup", "arguments": "{}"}
    assert read(body(call)).finish_reason == "tool_call"
    assert read(body(call, message(text("so")))).finish_reason == "stop"


@pytest.mark.parametrize("status", ["failed", "cancelled", "queued", "in_progress"])
def test_an_answer_that_is_none_yet_is_asked_again(status: str) -> None:
    with pytest.raises(TryAgain, match=status):
        read(body(message(text("Hel")), status=status))


@pytest.mark.parametrize("answer", [{}, {"output": None}, body(), body(message())])
def test_an_answer_without_a_text_is_asked_again(answer: Any) -> None:
    with pytest.raises(TryAgain):
        read(answer)


GOOD = body(
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    message(text("Hello")),
    usage={"input_tokens": 3, "output_tokens": 4},
)


@settings(max_examples=500)
@given(bodies(GOOD))
def test_a_spoiled_answer_is_read_or_asked_again(answer: Any) -> None:
    answer = orjson.loads(orjson.dumps(answer))
    try:
        found = read(answer)
    except TryAgain:
        return
    assert isinstance(found.text, str)
