"""Chat completions: a server takes what goes out; what comes back is read or asked again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import GenerateRequest, Generation, Message, Sampling, TryAgain
from llmeval.models.served import chat
from llmeval.models.served.dialect import Dialect, share_tokens, split_thought
from tests.models.served.garbage import bodies, json_values

PLAIN = Dialect("m", max_gen_toks=77)
THINKS = Dialect("m", reasoning=True, reasoning_tokens=1000, reasoning_effort="low")


def ask(prompt: Any = "Hello", **sampling: Any) -> GenerateRequest:
    return GenerateRequest(prompt, Sampling(**sampling))


def choice(content: Any = "Hi", finish: Any = "stop", index: int = 0, **message: Any) -> Any:
    said = {"role": "assistant", "content": content, **message}
    return {"index": index, "message": said, "finish_reason": finish}


def body(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion", "choices": list(choices), **more}


def read(*choices: Any, request: GenerateRequest | None = None, **more: Any) -> Generation:
    (answer,) = chat.decode([request or ask()], body(*choices, **more))
    return answer


# -- what goes out ---------------------------------------------------------------------------


def test_a_text_is_what_the_user_says() -> None:
    assert chat.encode(PLAIN, [ask(max_tokens=5)]) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 5,
        "temperature": 0.0,
    }


def test_turns_go_out_as_they_are() -> None:
    turns = (Message("system", "s"), Message("user", "u"), Message("assistant", "a"))
    sent = chat.encode(PLAIN, [ask(turns)])
    assert sent["messages"] == [{"role": t.role, "content": t.content} for t in turns]
    assert sent["max_tokens"] == 77  # a request that names no limit
    assert "continue_final_message" not in sent


def test_an_answer_begun_is_continued_where_the_server_can() -> None:
    turns = (Message("user", "u"), Message("assistant", "The answer is"))
    sent = chat.encode(Dialect("m", continues=True), [ask(turns)])
    assert sent["continue_final_message"] is True
    assert sent["add_generation_prompt"] is False
    assert "continue_final_message" not in chat.encode(Dialect("m", continues=True), [ask()])


def test_a_sampled_request_says_how() -> None:
    sent = chat.encode(PLAIN, [ask(temperature=0.7, top_p=0.9, top_k=40, seed=3)])
    assert (sent["temperature"], sent["top_p"]) == (0.7, 0.9)
    assert 0 <= sent["seed"] < 2**31
    assert "top_k" not in sent  # OpenAI refuses it
    vllm = Dialect("m", takes_top_k=True, send_seed=False)
    sent = chat.encode(vllm, [ask(temperature=0.7, top_k=40)])
    assert sent["top_k"] == 40
    assert "seed" not in sent


def test_a_greedy_request_has_no_sampling() -> None:
    sent = chat.encode(Dialect("m", takes_top_k=True), [ask(top_p=0.9, top_k=4, seed=3)])
    assert sent["temperature"] == 0.0
    assert not {"top_p", "top_k", "seed"} & set(sent)


def test_draws_have_seeds_of_their_own_and_the_same_ones_every_time() -> None:
    drawn = list(ask(temperature=1.0, seed=3).draws(20))
    seeds = [chat.encode(PLAIN, [one])["seed"] for one in drawn]
    assert len(set(seeds)) == 20
    assert seeds == [chat.encode(PLAIN, [one])["seed"] for one in drawn]
    others = [chat.encode(PLAIN, [one])["seed"] for one in ask(temperature=1.0, seed=4).draws(20)]
    assert not set(seeds) & set(others)


def test_draws_of_one_question_are_one_call() -> None:
    drawn = list(ask(temperature=1.0).draws(4))
    assert chat.encode(PLAIN, drawn)["n"] == 4
    assert "n" not in chat.encode(PLAIN, drawn[:1])


def test_stop_strings_beyond_the_limit_are_not_sent() -> None:
    stops = ("\n", "", "b", "c", "d", "e")
    sent = chat.encode(Dialect("m", max_stop=4), [ask(stop=stops)])
    assert sent["stop"] == ["\n", "b", "c", "d"]
    assert chat.encode(Dialect("m"), [ask(stop=stops)])["stop"] == ["\n", "b", "c", "d", "e"]
    assert "stop" not in chat.encode(Dialect("m", max_stop=0), [ask(stop=stops)])
    assert "stop" not in chat.encode(PLAIN, [ask(stop=("",))])


def test_a_reasoning_model_gets_room_for_thoughts_and_nothing_that_it_refuses() -> None:
    request = ask(max_tokens=5, temperature=0.7, top_p=0.5, stop=("\n",), seed=1)
    sent = chat.encode(THINKS, [request])
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 1005,
        "reasoning_effort": "low",
    }


def test_alternatives_are_asked_for_up_to_what_the_server_takes() -> None:
    request = GenerateRequest("Hello", Sampling(max_tokens=1), top_logprobs=20)
    sent = chat.encode(Dialect("m", max_top_logprobs=5), [request])
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 5)
    assert "logprobs" not in chat.encode(PLAIN, [ask()])


def test_more_fields_go_out_and_win() -> None:
    more = {"provider": {"order": ["x"]}, "temperature": 1.0}
    sent = chat.encode(Dialect("m", extra_body=more), [ask()])
    assert sent["provider"] == {"order": ["x"]}
    assert sent["temperature"] == 1.0


# -- what comes back -------------------------------------------------------------------------


def test_an_answer_is_read_whole() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    answer = read(choice("Hi", reasoning_content="hm"), usage=usage)
    assert answer == Generation(
        "Hi",
        "stop",
        prompt_tokens=10,
        completion_tokens=7,
        reasoning="hm",
        cached_tokens=4,
        reasoning_tokens=3,
    )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_call"),
        ("function_call", "tool_call"),
    ],
)
def test_why_an_answer_ended_is_said_in_our_words(said: str, meant: str) -> None:
    assert read(choice("Hi", said)).finish_reason == meant


@pytest.mark.parametrize("said", ["error", "abort", "overloaded", "", {"a": 1}, 3])
def test_an_answer_that_broke_off_is_asked_again(said: Any) -> None:
    with pytest.raises(TryAgain, match="the answer ended with"):
        read(choice("Hi", said))


def test_an_answer_without_a_reason_is_one_where_it_says_something() -> None:
    assert read(choice("Hi", None)).finish_reason == "stop"
    with pytest.raises(TryAgain):
        read(choice("", None))


def test_an_empty_answer_is_an_answer() -> None:
    assert read(choice("", "stop")).text == ""


def test_an_answer_without_content_is_asked_again() -> None:
    """Providers send null where they meant to send a text."""
    with pytest.raises(TryAgain, match="no content"):
        read(choice(None, "stop"))


@pytest.mark.parametrize(
    ("finish", "more", "meant"),
    [
        ("length", {"reasoning_content": "hm"}, "length"),
        ("content_filter", {}, "content_filter"),
        ("tool_calls", {"tool_calls": [{"id": "1"}]}, "tool_call"),
        ("stop", {"tool_calls": [{"id": "1"}]}, "tool_call"),  # as some say
    ],
)
def test_no_content_may_have_its_reason(finish: str, more: dict[str, Any], meant: str) -> None:
    answer = read(choice(None, finish, **more))
    assert (answer.text, answer.finish_reason) == ("", meant)


def test_a_refusal_is_what_is_said() -> None:
    assert read(choice(None, "stop", refusal="I cannot help.")).text == "I cannot help."


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "other"}, {"type": "text", "text": "lo"}]
    assert read(choice(parts)).text == "Hello"


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>so</think>B", "B", "so"),
        ("\n<think>\nso\n</think>\n\nB", "B", "so"),
        ("so it is</think>\nB", "B", "so it is"),  # the template opened the tag
        ("<think>endless", "", "endless"),
        ("<think></think>B", "B", None),
        ("B", "B", None),
        ("write <think> like this", "write <think> like this", None),
    ],
)
def test_a_thought_in_tags_is_no_answer(text: str, answer: str, thought: str | None) -> None:
    found = read(choice(text))
    assert (found.text, found.reasoning) == (answer, thought)


def test_a_thought_of_its_own_leaves_the_content_alone() -> None:
    found = read(choice("a </think> b", reasoning="hm"))
    assert (found.text, found.reasoning) == ("a </think> b", "hm")


@given(st.text(), st.text())
def test_whatever_is_thought_and_said_comes_apart_again(thought: str, said: str) -> None:
    text = f"<think>{thought.replace('</think>', '')}</think>{said}"
    answer, found = split_thought(text)
    assert answer == said.lstrip()
    assert found == thought.replace("</think>", "").strip()


def test_stop_strings_that_were_not_sent_cut_here() -> None:
    request = ask(stop=("a", "b", "c", "d", "Q:"))
    found = read(choice("1 + 1 = 2\nQ: what", "length"), request=request)
    assert (found.text, found.finish_reason) == ("1 + 1 = 2\n", "stop")
    assert read(choice("1 + 1", "length"), request=request).finish_reason == "length"


def test_stop_strings_do_not_cut_thoughts() -> None:
    found = read(choice("<think>a\nb</think>yes\nno"), request=ask(stop=("\n",)))
    assert (found.text, found.reasoning) == ("yes", "a\nb")


def test_draws_come_by_their_index() -> None:
    drawn = list(ask(temperature=1.0).draws(3))
    answers = chat.decode(drawn, body(choice("c", index=2), choice("a"), choice("b", index=1)))
    assert [a.text for a in answers] == ["a", "b", "c"]


def test_too_few_draws_are_asked_again_and_too_many_are_cut() -> None:
    drawn = list(ask(temperature=1.0).draws(2))
    with pytest.raises(TryAgain, match="1 choices instead of 2"):
        chat.decode(drawn, body(choice("a")))
    three = [choice(text, index=i) for i, text in enumerate("abc")]
    assert [a.text for a in chat.decode(drawn, body(*three))] == ["a", "b"]


@given(
    count=st.integers(1, 16),
    prompt=st.integers(0, 10**6),
    completion=st.integers(0, 10**6),
    cached=st.integers(0, 10**6),
    reasoning=st.integers(0, 10**6),
)
def test_a_calls_tokens_are_divided_among_its_answers_without_rest(
    count: int, prompt: int, completion: int, cached: int, reasoning: int
) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    drawn = list(ask(temperature=1.0).draws(count))
    answers = chat.decode(drawn, body(*(choice(index=i) for i in range(count)), usage=usage))
    assert sum(a.prompt_tokens for a in answers) == prompt
    assert sum(a.completion_tokens for a in answers) == completion
    assert sum(a.cached_tokens for a in answers) == cached
    assert sum(a.reasoning_tokens for a in answers) == reasoning
    shares = [a.completion_tokens for a in answers]
    assert max(shares) - min(shares) <= 1


@given(json_values)
def test_tokens_of_any_kind_of_usage_are_counts(usage: Any) -> None:
    for share in share_tokens(usage, 3):
        counts = (share.prompt, share.completion, share.cached, share.reasoning)
        assert all(isinstance(n, int) and n >= 0 for n in counts)


def alternatives(*rows: tuple[str, float]) -> dict[str, Any]:
    tops = [{"token": token, "logprob": logprob} for token, logprob in rows]
    return {"content": [{**tops[0], "top_logprobs": tops}]}


def test_alternatives_of_the_first_token_are_kept() -> None:
    request = GenerateRequest("Hello", Sampling(max_tokens=1), top_logprobs=3)
    logprobs = alternatives(("A", -0.1), (" B", -2.5), ("C", -9999.0))
    found = read({**choice("A", "length"), "logprobs": logprobs}, request=request)
    assert found.top_logprobs == {"A": -0.1, " B": -2.5, "C": -9999.0}


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, 3, [1]])
def test_a_server_without_alternatives_gives_none(logprobs: Any) -> None:
    request = GenerateRequest("Hello", Sampling(max_tokens=1), top_logprobs=3)
    found = read({**choice("A"), "logprobs": logprobs}, request=request)
    assert found.top_logprobs is None


# -- garbage ---------------------------------------------------------------------------------


def decodes_or_asks_again(answer: Any, count: int = 1, top: int = 0) -> None:
    drawn = [GenerateRequest("x", Sampling(stop=("\n",)), i, top) for i in range(count)]
    answer = orjson.loads(orjson.dumps(answer))
    try:
        found = chat.decode(drawn, answer)
    except TryAgain as fault:
        assert "\n" not in fault.reason
        return
    assert len(found) == count
    for one in found:
        assert isinstance(one, Generation)
        assert isinstance(one.text, str)
        assert isinstance(one.reasoning, str | None)


@settings(max_examples=300)
@given(bodies(body(choice("Hi"), usage={"prompt_tokens": 1}), "index", "top_logprobs"))
def test_a_spoiled_answer_is_read_or_asked_again(answer: Any) -> None:
    decodes_or_asks_again(answer)


FULL = body(
    {**choice("A", index=0), "logprobs": alternatives(("A", -0.1), ("B", -0.2))},
    {**choice("B", index=1), "logprobs": alternatives(("B", -0.1))},
)


@settings(max_examples=500)
@given(bodies(FULL))
def test_an_answer_that_is_spoiled_anywhere_is_read_or_asked_again(answer: Any) -> None:
    decodes_or_asks_again(answer, count=2, top=2)


@given(json_values)
def test_any_object_at_all_is_read_or_asked_again(answer: Any) -> None:
    decodes_or_asks_again(answer if isinstance(answer, dict) else {"choices": answer})
