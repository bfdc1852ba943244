"""The mock server answers as promised: what other tests conclude rests on it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from .client import chat, chat_body, complete, get, post
from .language import VOCABULARY, Reader, decode, encode, pieces
from .launch import MockServer

# The language


def test_pieces_join_to_the_text_and_ids_return() -> None:
    text = "The longestwords,  two blanks\n\tÜber 12.5 — 漢字 A a\U0001f600"
    assert "".join(pieces(text)) == text
    ids = [encode(piece) for piece in pieces(text)]
    assert [decode(token) for token in ids] == pieces(text)
    assert len({encode(piece) for piece in VOCABULARY}) == len(VOCABULARY)
    assert encode(" zzzzz") < 2**31


@pytest.mark.parametrize("token", [-1, 0xD800, 0x110000, 2**31 - 1])
def test_no_piece_has_these_ids(token: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        decode(token)


@pytest.mark.parametrize("prefix", ["", "some word", "ends. ", "line\n", "Answer with one letter."])
def test_the_vocabulary_is_a_distribution(prefix: str) -> None:
    spread = Reader(prefix, whole=prefix).spread()
    top = spread.top(len(VOCABULARY))
    assert math.fsum(math.exp(logprob) for _, logprob in top) == pytest.approx(1)
    assert [spread.logprob(piece) for piece, _ in top] == [logprob for _, logprob in top]
    assert top[0][1] - top[1][1] >= 1
    assert spread.logprob(" unheard") < top[-1][1]


def test_samples_follow_the_distribution() -> None:
    spread = Reader("a prefix").spread()
    count = sum(spread.drawn(salt * 7919) == spread.ranked(0) for salt in range(4000))
    assert count / 4000 == pytest.approx(math.exp(spread.logprob(spread.ranked(0))), abs=0.04)


# Answers


def test_chat_has_the_standard_shape(server: MockServer) -> None:
    reply = chat(server, "[[long]] Hello", max_tokens=5, logprobs=True, top_logprobs=3, n=2)
    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    choice = reply["choices"][0]
    assert choice["finish_reason"] == "length"
    content = choice["logprobs"]["content"]
    assert "".join(each["token"] for each in content) == choice["message"]["content"]
    assert [len(each["top_logprobs"]) for each in content] == [3] * 5
    assert reply["usage"]["completion_tokens"] == 10
    assert reply["usage"]["prompt_tokens"] == len(pieces("user: [[long]] Hello\nassistant:\n"))


def test_the_same_request_gets_the_same_answer(server: MockServer) -> None:
    def texts(**options: Any) -> list[str]:
        reply = chat(server, "[[long]] a story", max_tokens=12, **options)
        return [choice["message"]["content"] for choice in reply["choices"]]

    assert len(set(texts(n=3, temperature=0))) == 1
    assert len(set(texts(n=3, temperature=1))) == 3
    assert texts(seed=1) == texts(seed=1) != texts(seed=2)
    before = texts(seed=1)
    server.restart()
    assert texts(seed=1) == before


def test_stops_cut_the_text(server: MockServer) -> None:
    reply = chat(server, "[[say:one two. three]]", stop=["two", "."], logprobs=True)
    choice = reply["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one ", "stop")
    reply = complete(server, "[[say:Paris\n\nQuestion]]", stop="\n\n")
    assert reply["choices"][0]["text"] == "Paris"


def test_orders_in_the_prompt(server: MockServer) -> None:
    def choice(text: str) -> dict[str, Any]:
        return chat(server, text)["choices"][0]

    assert choice("x [[say:Forty two]]")["message"]["content"] == "Forty two"
    assert choice("[[filter]]")["finish_reason"] == "content_filter"
    tool = choice("[[tool]]")
    assert (tool["finish_reason"], tool["message"]["content"]) == ("tool_calls", None)
    assert choice("[[think]]")["message"]["content"] == "<think>some thought</think>answer"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("[[context]]", 400, "context_length_exceeded"),
        ("[[400:Bad thing]]", 400, None),
        ("[[401:Who?]]", 401, "invalid_api_key"),
        ("[[404:No]]", 404, "model_not_found"),
        ("[[422:No]]", 422, None),
        ("[[429:Pay]]", 429, "insufficient_quota"),
    ],
)
def test_orders_that_are_errors(server: MockServer, text: str, status: int, code: str) -> None:
    got, _, reply = post(server, "/v1/chat/completions", chat_body(text))
    assert (got, reply["error"]["code"]) == (status, code)
    assert reply["error"]["message"]
    assert server.stats()["answered"] == 0


@pytest.mark.parametrize(
    "body",
    [
        chat_body("x", stop=list("abcde")),
        chat_body("x", logprobs=True, top_logprobs=21),
        chat_body("x", n=0),
        chat_body("x", max_tokens="many"),
        chat_body("x " * 9000),
        {"model": "m", "messages": []},
        {"messages": [{"role": "user", "content": "x"}]},
        [1],
        b"{not json",
    ],
)
def test_a_wrong_body_is_400(server: MockServer, body: Any) -> None:
    status, _, reply = post(server, "/v1/chat/completions", body)
    assert status == 400
    assert reply["error"]["message"]


def test_four_choices_get_a_letter(server: MockServer) -> None:
    plain = [chat(server, f"{i}?\nAnswer with one letter.", temperature=0) for i in range(60)]
    letters = [reply["choices"][0]["message"]["content"] for reply in plain]
    assert set(letters) == set("ABCD")
    options = "Which?\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    top = complete(server, options, max_tokens=5, logprobs=4)["choices"][0]
    assert top["text"] in (" A", " B", " C", " D")
    assert top["finish_reason"] == "stop"
    assert max(top["logprobs"]["top_logprobs"][0].items(), key=lambda e: e[1])[0] == top["text"]


def test_a_reasoning_model(server: MockServer) -> None:
    server.set(reasoning=True, reasoning_tokens=7)
    reply = chat(server, "[[say:four]]", max_completion_tokens=50)
    assert reply["choices"][0]["message"]["reasoning_content"]
    assert reply["choices"][0]["message"]["content"] == "four"
    assert reply["usage"]["completion_tokens_details"] == {"reasoning_tokens": 7}
    starved = chat(server, "[[say:four]]", max_completion_tokens=7)["choices"][0]
    assert (starved["message"]["content"], starved["finish_reason"]) == ("", "length")
    for name, value in (("max_tokens", 5), ("temperature", 0), ("stop", ["."])):
        body = chat_body("x", **{name: value})
        status, _, reply = post(server, "/v1/chat/completions", body)
        assert (status, reply["error"]["code"]) == (400, "unsupported_parameter")
        assert reply["error"]["message"].startswith(f"Unsupported parameter: '{name}' is not")


def test_responses(server: MockServer) -> None:
    def ask(text: str, **options: Any) -> Any:
        status, _, reply = post(server, "/v1/responses", {"model": "m", "input": text, **options})
        assert status == 200, reply
        return reply

    server.set(reasoning=True, cached_share=0.5)
    reply = ask("[[say:four]]")
    assert [item["type"] for item in reply["output"]] == ["reasoning", "message"]
    assert reply["output"][1]["content"][0]["text"] == "four"
    assert reply["status"] == "completed"
    assert reply["usage"]["input_tokens_details"]["cached_tokens"] > 0
    cut = ask("[[long]]", max_output_tokens=30)
    assert (cut["status"], cut["incomplete_details"]["reason"]) == (
        "incomplete",
        "max_output_tokens",
    )
    assert ask("[[filter]]")["incomplete_details"]["reason"] == "content_filter"
    starved = ask("[[long]]", max_output_tokens=5)
    assert [item["type"] for item in starved["output"]] == ["reasoning"]


# Echo


def test_echo_scores_what_was_generated_as_generation_did(server: MockServer) -> None:
    for prompt in ("The capital of", "1 + 1 = ", "Q: A. x\nB. y\nAnswer with one letter.", "wor"):
        made = complete(server, prompt, max_tokens=10, logprobs=5, ignore_eos=True)["choices"][0]
        whole = prompt + made["text"]
        echoed = complete(server, whole, max_tokens=0, logprobs=5, echo=True)["choices"][0]
        assert echoed["text"] == whole
        scores = echoed["logprobs"]
        assert "".join(scores["tokens"]) == whole
        assert scores["token_logprobs"][0] is None
        assert scores["tokens"][-10:] == made["logprobs"]["tokens"]
        assert scores["token_logprobs"][-10:] == made["logprobs"]["token_logprobs"]
        assert scores["top_logprobs"][-10:] == made["logprobs"]["top_logprobs"]
        assert scores["text_offset"][-1] == len(whole) - len(scores["tokens"][-1])


def test_echo_of_token_ids_keeps_their_borders(server: MockServer) -> None:
    def echo(prompt: Any) -> list[dict[str, Any]]:
        reply = complete(server, prompt, max_tokens=0, logprobs=1, echo=True)
        return [choice["logprobs"] for choice in reply["choices"]]

    ids = [encode("foo"), encode("bar")]
    assert echo(ids)[0]["tokens"] == ["foo", "bar"]
    assert [scores["tokens"] for scores in echo([ids, ids[:1]])] == [["foo", "bar"], ["foo"]]
    assert [scores["tokens"] for scores in echo(["foobar", "x"])] == [["fooba", "r"], ["x"]]


def test_wrong_echoes(server: MockServer) -> None:
    asked = {"max_tokens": 0, "logprobs": 1, "echo": True}

    def echo(kind: str) -> dict[str, Any]:
        server.set(echo=kind)
        return complete(server, "one two one", **asked)["choices"][0]

    right, shifted = echo("right")["logprobs"], echo("shifted")["logprobs"]
    assert shifted["tokens"] == right["tokens"]
    assert shifted["token_logprobs"][:-1] == right["token_logprobs"][1:]
    assert shifted["token_logprobs"][-1] < 0
    assert echo("missing")["logprobs"] is None
    ignored = echo("ignored")
    assert len(ignored["logprobs"]["tokens"]) == 1
    assert not ignored["text"].startswith("one")


def test_logprobs_can_be_off(server: MockServer) -> None:
    server.set(no_top_logprobs=True)
    content = chat(server, "x", logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    assert all(each["top_logprobs"] == [] for each in content)
    assert complete(server, "x", logprobs=2)["choices"][0]["logprobs"]["top_logprobs"] is None
    server.set(no_logprobs=True)
    assert chat(server, "x", logprobs=True)["choices"][0]["logprobs"] is None


# Other endpoints


def test_models_and_tokens(server: MockServer) -> None:
    server.set(max_model_len=99)
    assert get(server, "/v1/models")["data"][0]["max_model_len"] == 99
    body = {"model": "m", "prompt": "Hello world", "add_special_tokens": False}
    tokens = post(server, "/tokenize", body)[2]
    assert (tokens["count"], tokens["max_model_len"]) == (2, 99)
    assert post(server, "/detokenize", {"tokens": tokens["tokens"]})[2] == {"prompt": "Hello world"}
    assert post(server, "/detokenize", {"tokens": [-5]})[0] == 400


def test_endpoints_can_be_absent(server: MockServer) -> None:
    server.set(no_completions=True, no_tokenize=True)
    for path in ("/v1/completions", "/tokenize", "/v1/nothing"):
        assert post(server, path, {"model": "m", "prompt": "x"})[0] == 404


def test_a_key_and_a_model_can_be_required(server: MockServer) -> None:
    server.set(api_key="sk-1", strict_model=True)
    path, body = "/v1/chat/completions", {**chat_body("x"), "model": "mock-model"}
    status, _, reply = post(server, path, body)
    assert (status, reply["error"]["message"]) == (401, "Incorrect API key provided: sk-***")
    assert post(server, path, body, Authorization="Bearer sk-1")[0] == 200
    assert post(server, path, chat_body("x"), Authorization="Bearer sk-1")[0] == 404
