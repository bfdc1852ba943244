"""Log-probabilities and greedy flags are those of the Hugging Face backend."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here")

from typing import Any

from llmeval.core import Loglikelihood, LoglikelihoodRequest, RollingRequest
from llmeval.pocket import load_known
from tests.models.asking import ask
from tests.vllm.agreement import check_agreement, make_text

# Around the ends of blocks: 16 on GPUs, 32 on CPUs as we set it, 128 by vLLM's own default.
LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 512)


@pytest.fixture(scope="module")
def tokenizer(served: Any) -> Any:
    from transformers import AutoTokenizer

    from llmeval.pocket import MODEL_DIR

    return AutoTokenizer.from_pretrained(MODEL_DIR)


def test_known_log_probabilities(served: Any) -> None:
    probe = load_known()["probe"]
    answers = ask(served, [LoglikelihoodRequest(r["context"], r["continuation"]) for r in probe])
    for row, answer in zip(probe, answers, strict=True):
        assert answer.logprob == pytest.approx(row["logprob"], abs=1e-3)
        assert answer.is_greedy == row["is_greedy"]


def test_continuations_of_every_length_at_the_ends_of_blocks(
    served: Any, reference: Any, tokenizer: Any
) -> None:
    requests = [
        LoglikelihoodRequest(
            make_text(tokenizer, context, start=context),
            make_text(tokenizer, length, start=context + k),
        )
        for context in LENGTHS
        for length in (1, 2, 3, 5, 31, 32, 33, 70)
        for k in range(2)
    ]
    answers = check_agreement(served, reference, requests)
    assert len({answer.logprob for answer in answers}) > len(LENGTHS) * 8


def test_continuations_that_share_more_than_the_context(
    served: Any, reference: Any, tokenizer: Any
) -> None:
    """The cache then reaches into the continuation, where it has no log-probabilities."""
    served.report()
    context = make_text(tokenizer, 40)
    common = make_text(tokenizer, 80, start=3)
    requests = [
        LoglikelihoodRequest(context, common + make_text(tokenizer, n, start=n))
        for n in (1, 2, 5, 20)
    ]
    requests += [LoglikelihoodRequest(context + common, make_text(tokenizer, 4, start=1))]
    check_agreement(served, reference, requests)
    assert served.report()["reread_prompts"] > 0


def test_greedy_continuations_are_known_as_such(served: Any, reference: Any) -> None:
    from llmeval.core import GenerateRequest, Sampling

    prompts = ["Question: where", "def add(a, b):", "Once there was a", "The cat"]
    requests = []
    for prompt in prompts:
        for count in (1, 2, 3, 6):
            text = ask(reference, [GenerateRequest(prompt, Sampling(max_tokens=count))])[0].text
            requests.append(LoglikelihoodRequest(prompt, text))
            requests.append(LoglikelihoodRequest(prompt, text + " zebra"))
    answers = check_agreement(served, reference, requests)
    assert {answer.is_greedy for answer in answers} == {True, False}


def test_many_one_token_choices_of_one_context(served: Any, reference: Any, tokenizer: Any) -> None:
    """More than vLLM gives for one request."""
    texts = {tokenizer.decode([i]) for i in range(300, 1000)}
    words = sorted(t for t in texts if t.startswith(" ") and t.isascii())[:200]
    assert len(words) > 128
    served.report()
    check_agreement(served, reference, [LoglikelihoodRequest("The cat saw", w) for w in words])
    assert served.report()["computed_tokens"] < 1000


def test_empty_texts_and_blanks(served: Any, reference: Any) -> None:
    requests = [
        LoglikelihoodRequest("", " hello there"),
        LoglikelihoodRequest("", "a"),
        LoglikelihoodRequest("hello", ""),
        LoglikelihoodRequest("", ""),
        LoglikelihoodRequest("ends with blanks  ", "go on"),
        LoglikelihoodRequest("Ärger über Öfen 你好 ", "naïve café — 3.14"),
        RollingRequest(""),
    ]
    check_agreement(served, reference, requests)


def test_rolling_windows(served: Any, reference: Any, tokenizer: Any) -> None:
    lengths = (1, 2, 3, 31, 32, 33, 500, 1023, 1024, 1025, 2050)
    requests = [RollingRequest(make_text(tokenizer, n, start=n)) for n in lengths]
    answers = check_agreement(served, reference, requests)
    assert [answer.num_tokens for answer in answers] == list(lengths)


def test_what_is_too_long_is_cut_from_the_left(served: Any, reference: Any, tokenizer: Any) -> None:
    requests = [
        LoglikelihoodRequest(make_text(tokenizer, context), make_text(tokenizer, rest, start=1))
        for context in (1000, 1022, 1023, 1024, 1025, 1500)
        for rest in (1, 2, 3, 40)
    ]
    requests.append(LoglikelihoodRequest("a", make_text(tokenizer, 1024)))
    answers = check_agreement(served, reference, requests)
    assert {answer.truncated > 0 for answer in answers} == {True, False}
    too_long = LoglikelihoodRequest("a", make_text(tokenizer, 1025))
    assert check_agreement(served, reference, [too_long])[0].kind == "failure"


def test_equal_batches_give_equal_bits(served: Any, tokenizer: Any) -> None:
    requests = [
        LoglikelihoodRequest(make_text(tokenizer, n), make_text(tokenizer, 9, start=k))
        for n in (20, 70, 200)
        for k in range(3)
    ]
    first = served.answer(requests)
    served.answer(requests[::-1])
    served.answer([RollingRequest(make_text(tokenizer, 700))])
    assert served.answer(requests) == first


def test_repeated_contexts_are_computed_once(served: Any, tokenizer: Any) -> None:
    context = make_text(tokenizer, 512)
    requests = [LoglikelihoodRequest(context, f" {word}") for word in ("the", "cat", "was", "back")]
    requests += [LoglikelihoodRequest(context + w, " the cat") for w in (" a", " in", " and")]
    answers = served.answer(requests)
    assert answers.computed_tokens < 512 + 10 * 40
    assert all(isinstance(answer, Loglikelihood) for answer in answers.responses)


def test_plans_are_pure_and_cut(start: Any, served: Any) -> None:
    requests = [LoglikelihoodRequest(f"{i % 7} and", f" {i}") for i in range(2500)]
    plan = served.plan(requests)
    assert plan == served.plan(requests)
    assert sorted(i for batch in plan for i in batch) == list(range(2500))
    assert [len(batch) for batch in plan] == [1024, 1024, 452]
    served.prepare(requests[:10])
    assert served.plan(requests) == plan
