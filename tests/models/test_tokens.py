"""Questions to rows: cut texts give the rows of whole ones, by the same rules."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmeval.core.requests import LoglikelihoodRequest, RollingRequest
from llmeval.core.responses import Failure
from llmeval.models.hf.pieces import Memo
from llmeval.models.hf.tokens import Encoded, TokenRules
from tests.models.test_cuts import KINDS, build, texts

surrogates = st.sampled_from(["\ud83d", "\ude00", "a\udfff"])
any_text = st.lists(texts | surrogates, max_size=3).map("".join)


@cache
def rules_of(kind: str, cutting: bool, length: int = 24, bos: bool | None = None) -> TokenRules:
    return TokenRules(build(kind), length, 5000, bos, cutting=cutting)


def plain(encoded: Encoded | Failure) -> Any:
    if isinstance(encoded, Failure):
        return encoded
    assert all(a.dtype == np.int32 for span in encoded.spans for a in (span.inputs, span.targets))
    spans = [(span.inputs.tolist(), span.targets.tolist()) for span in encoded.spans]
    return spans, encoded.truncated, encoded.boundary


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(context=any_text, continuation=any_text, bos=st.sampled_from([None, True, False]))
@example("Question\nAnswer:", " A", None)
@example("<s> the woods", " the", None)
@example("<s", "> the", None)
@example("<", "s> the", None)
@example("the woods ", "A\nB", True)
@example("the</s>", " fox", None)
@example("the<|im_end|>", " fox", None)
@example("", "the fox", None)
@example("the", "", None)
def test_pairs_are_those_of_whole_texts(
    kind: str, context: str, continuation: str, bos: bool | None
) -> None:
    request = LoglikelihoodRequest(context, continuation)
    other = LoglikelihoodRequest(context, continuation + " A")
    cut, slow = (rules_of(kind, cutting, bos=bos) for cutting in (True, False))
    asked = [request, other, request]
    assert [plain(e) for e in cut.encode_pairs(asked)] == [
        plain(slow.encode_pairs([r])[0]) for r in asked
    ]


@pytest.mark.parametrize("kind", ["gpt2", "qwen 2", "llama 2"])
@settings(max_examples=40, deadline=None)
@given(parts=st.lists(any_text, max_size=4), text=any_text)
def test_texts_and_prompts_are_those_of_whole_ones(kind: str, parts: list[str], text: str) -> None:
    cut, slow = rules_of(kind, True, 7), rules_of(kind, False, 7)
    requests = [RollingRequest(t) for t in (*parts, text)]
    assert [plain(e) for e in cut.encode_rolling(requests)] == [
        plain(e) for e in slow.encode_rolling(requests)
    ]
    prompts = [*parts, text]
    found, expected = cut.encode_prompts(prompts), slow.encode_prompts(prompts)
    assert [row.tolist() for row in found] == [row.tolist() for row in expected]


def test_choices_share_the_array_of_their_context() -> None:
    requests = [LoglikelihoodRequest("Question: why?\nAnswer:", f" {c}") for c in ("the", "fox")]
    encoded = rules_of("gpt2", True).encode_pairs(requests)
    rows = {id(e.spans[0].inputs) for e in encoded if isinstance(e, Encoded)}
    assert all(isinstance(e, Encoded) and len(e.spans[0].targets) == 1 for e in encoded)
    assert len(rows) == 1


class Counting:
    """A tokenizer's backend that notes what it is asked."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.asked: list[str] = []

    def encode_batch(self, texts: Sequence[str], **options: Any) -> Any:
        self.asked += texts
        return self.backend.encode_batch(texts, **options)


def test_what_comes_again_is_not_tokenized_again() -> None:
    rules = TokenRules(build("gpt2"), 500, 5000)
    counting = Counting(build("gpt2").backend_tokenizer)
    rules._pieces._backend = counting
    shots = "".join(f"Question: why {n}?\nAnswer: B\n\n" for n in range(5))
    requests = [
        LoglikelihoodRequest(f"{shots}Question: who is {name}?\nAnswer:", f" {choice}")
        for name in ("she", "he", "it")
        for choice in "ABCD"
    ]
    rules.encode_pairs(requests)
    assert 0 < sum(map(len, counting.asked)) < len(shots) + 100
    counting.asked.clear()
    rules.encode_pairs(requests)
    assert counting.asked == []


@pytest.mark.parametrize("kind", ["llama 3", "llama 2"])
def test_several_threads_may_tokenize(kind: str) -> None:
    contexts = [f"Question {n}: the fox\nand {n * 7} woods\nAnswer:" for n in range(300)]
    requests = [LoglikelihoodRequest(c, f" {choice}") for c in contexts for choice in "AB"]
    expected = [plain(e) for e in rules_of(kind, False, 200).encode_pairs(requests)]
    rules = TokenRules(build(kind), 200, 5000)
    found: list[Any] = []

    def work() -> None:
        found.append([plain(e) for e in rules.encode_pairs(requests)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_a_token_beyond_the_vocabulary_is_a_failure() -> None:
    [token] = build("gpt2")(" woods")["input_ids"]
    rules = TokenRules(build("gpt2"), 50, token)
    known, unknown = (LoglikelihoodRequest("A", c) for c in ("!", " woods"))
    for _ in range(2):
        answers = rules.encode_pairs([known, unknown])
        assert isinstance(answers[0], Encoded)
        assert isinstance(answers[1], Failure)


@given(st.lists(st.text("ab", max_size=6), max_size=60), st.integers(2, 30))
def test_a_memo_keeps_what_is_new_and_stays_small(words: list[str], size: int) -> None:
    memo = Memo(size)
    for word in words:
        found, missing = memo.look_up([word])
        assert list(found) + missing == [word]
        array = np.array(list(word.encode()), np.int32)
        if word in found:
            assert found[word].tolist() == array.tolist()
        memo.store({word: array})
        assert sum(map(len, {**memo._young, **memo._old})) <= size
        if len(word) <= size // 2:
            assert memo.look_up([word])[1] == []
