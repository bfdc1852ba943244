"""Texts: the Hugging Face backend's where greedy, the right distribution where drawn."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here")

import collections
import math
from typing import Any

from llmeval.core import Failure, GenerateRequest, LoglikelihoodRequest, Message, Sampling
from tests.models.asking import ask
from tests.vllm.agreement import check_agreement, make_text

PROMPTS = (
    "Question: where does the fox live?\nAnswer:",
    "def add(a, b):\n",
    "Once there was a",
    "The",
    "Ärger über Öfen",
    "x = 3 # ",
    "1 2 3 4",
    "",
)


def greedy(prompt: Any, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(prompt, Sampling(**{"max_tokens": 40} | sampling))


def test_greedy_texts(served: Any, reference: Any) -> None:
    requests = [greedy(p, max_tokens=n) for p in PROMPTS for n in (1, 7, 60)]
    answers = check_agreement(served, reference, requests)
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


@pytest.mark.parametrize(
    "stops",
    [
        ("\n",),
        (".",),
        ("a", "the"),
        ("e t",),
        ("", "zz", "yy", "xx", "ww", "vv", "?"),
        ("<|assistant|>", "<|user|>"),
    ],
)
def test_stop_strings(served: Any, reference: Any, stops: tuple[str, ...]) -> None:
    check_agreement(served, reference, [greedy(prompt, stop=stops) for prompt in PROMPTS])


def test_a_request_without_a_limit_has_the_settings_one(served: Any, reference: Any) -> None:
    requests = [GenerateRequest(prompt, Sampling()) for prompt in PROMPTS[:4]]
    check_agreement(served, reference, requests)


def test_prompts_are_cut_from_the_left_to_leave_room(served: Any, reference: Any) -> None:
    from transformers import AutoTokenizer

    from llmeval.pocket import MODEL_DIR

    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    requests = [greedy(make_text(tokenizer, n), max_tokens=30) for n in (990, 994, 995, 1100)]
    requests.append(greedy(make_text(tokenizer, 700), max_tokens=3000))
    answers = check_agreement(served, reference, requests)
    assert [answer.truncated for answer in answers] == [0, 0, 1, 106, 700 - 512]


def test_chats_are_rendered_by_the_template(served: Any, reference: Any) -> None:
    user, opened = Message("user", "Say hello."), Message("assistant", "Hello")
    requests = [greedy((user,)), greedy((user, opened)), greedy((user, opened, user))]
    check_agreement(served, reference, requests)
    chat = [{"role": "user", "content": "hi"}]
    for add in (True, False):
        assert served.apply_chat_template(chat, add) == reference.apply_chat_template(chat, add)
    assert served.capabilities == {"loglikelihood", "generate", "chat", "top_logprobs"}


def drawn(prompt: str, repeat: int = 0, **sampling: Any) -> GenerateRequest:
    given = {"max_tokens": 12, "temperature": 1.0} | sampling
    return GenerateRequest(prompt, Sampling(**given), repeat)


def test_draws_differ_and_come_again(served: Any) -> None:
    requests = [*drawn("The").draws(30), drawn("The", seed=1)]
    texts = [answer.text for answer in ask(served, requests)]
    assert len(set(texts)) > 20
    others = [drawn("Once there"), *requests[5:9], greedy("The")]
    assert [answer.text for answer in ask(served, others)][1:5] == texts[5:9]


def test_draws_follow_the_models_distribution(served: Any) -> None:
    count = 600
    requests = list(drawn("The cat", max_tokens=1).draws(count))
    seen = collections.Counter(answer.text for answer in ask(served, requests))
    common = [(text, n) for text, n in seen.most_common(6) if text.strip()]
    answers = ask(served, [LoglikelihoodRequest("The cat", text) for text, _ in common])
    for (text, n), answer in zip(common, answers, strict=True):
        p = math.exp(answer.logprob)
        assert abs(n - count * p) < 4.5 * math.sqrt(count * p * (1 - p)), text


def test_a_draw_among_one_is_greedy(served: Any) -> None:
    texts = [a.text for a in ask(served, [greedy("Once"), drawn("Once", max_tokens=40, top_k=1)])]
    tiny = ask(served, [drawn("Once", max_tokens=40, top_p=1e-6)])
    assert texts[0] == texts[1] == tiny[0].text


def test_what_vllm_refuses_is_a_failure_of_that_request_only(served: Any) -> None:
    answers = ask(served, [greedy("The"), drawn("The", temperature=3.0), drawn("The")])
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False]
    assert "temperature must be in [0, 2]" in answers[1].reason


def test_the_first_tokens_alternatives(served: Any, reference: Any) -> None:
    plain = greedy("Question: where", max_tokens=3)
    asked = GenerateRequest(plain.prompt, plain.sampling, top_logprobs=5)
    answer, without = ask(served, [asked, plain])
    assert (answer.text, without.top_logprobs) == (without.text, None)
    assert len(answer.top_logprobs) == 5
    values = list(answer.top_logprobs.values())
    assert values == sorted(values, reverse=True)
    requests = [LoglikelihoodRequest(plain.prompt, text) for text in answer.top_logprobs]
    for value, one in zip(values, ask(reference, requests), strict=True):
        if one.num_tokens == 1:
            assert value == pytest.approx(one.logprob, abs=1e-3)


def test_usage_counts_what_was_computed(served: Any) -> None:
    answers = served.answer([greedy("Once there was a", max_tokens=10, stop=("§",))])
    (answer,) = answers.responses
    assert answers.computed_tokens == answer.prompt_tokens + answer.completion_tokens
