"""vLLM's server, started for the run, asked through ``openai:``, against the HF backend."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here")

import llmeval
from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    RollingRequest,
    Sampling,
)
from llmeval.models import ModelSettings, load_model, read_settings
from llmeval.models.served.model import OpenAIModel
from llmeval.pocket import MODEL_DIR
from tests.models.asking import ask as answer_all

NAME = "openai:pocket"
SERVER = {
    "vllm": str(MODEL_DIR),
    "args": [
        *("--dtype", "float32", "--enforce-eager", "--gpu-memory-utilization", "0.2"),
        *("--max-model-len", "512", "--block-size", "32"),
    ],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"},
    "wait": 240,
}
CONTEXTS = ("Question: what is 2 + 2?\nAnswer:", "One day a fox", "The colour of", "A" * 40)
RESTS = (" four", " went home and slept.", " red", " B", " it is what it is")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMEVAL_HOME", str(tmp_path_factory.mktemp("home")))
        model = load_model(NAME, read_settings(NAME, {"server": SERVER}))
    assert isinstance(model, OpenAIModel)
    try:
        model.explore({"loglikelihood", "generate"})
        yield model
    finally:
        model.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    model: Any = load_model(f"hf:{MODEL_DIR}", ModelSettings(dtype="float32", max_length=510))
    yield model
    model.close()


def ask(model: OpenAIModel, requests: Sequence[Request]) -> list[Response]:
    """Ask as the engine does: the groups of all questions, at once."""

    async def call() -> list[Response]:
        groups = model.group(requests)
        try:
            calls = (model.call([requests[i] for i in group]) for group in groups)
            replies = await asyncio.gather(*calls)
        finally:
            await model.hang_up()
        found = dict[int, Response]()
        for group, reply in zip(groups, replies, strict=True):
            found.update(zip(group, reply.responses, strict=True))
        return [found[i] for i in range(len(requests))]

    return asyncio.run(call())


def test_the_server_is_understood(served: OpenAIModel) -> None:
    about = served.describe()
    assert about["api"] == {"text": "completions", "chat": "chat"}
    assert about["loglikelihood"] == {
        "refused": False,
        "tokenization": "tokens",
        "one_token_choices": "one call",
    }
    assert about["max_length"] == 512
    assert "loglikelihood" in served.capabilities


def test_log_probabilities_equal_those_of_transformers(served: OpenAIModel, local: Any) -> None:
    requests: list[Request] = [LoglikelihoodRequest(c, r) for c in CONTEXTS for r in RESTS]
    requests += [LoglikelihoodRequest("", " red"), RollingRequest("One day a fox went home. " * 60)]
    for ours, theirs in zip(ask(served, requests), answer_all(local, requests), strict=True):
        assert isinstance(ours, Loglikelihood)
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-3, rel=1e-5)
        assert (ours.is_greedy, ours.num_tokens) == (theirs.is_greedy, theirs.num_tokens)


def test_choices_of_one_token_are_one_call(served: OpenAIModel, local: Any) -> None:
    context = "Question: which letter?\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    requests = [LoglikelihoodRequest(context, f" {letter}") for letter in "ABCD"]
    one_token = [r for r in answer_all(local, requests) if r.num_tokens == 1]
    assert len(one_token) == 4, "the pocket tokenizer has these as one token each"
    assert served.group(requests) == [[0, 1, 2, 3]]
    for ours, theirs in zip(ask(served, requests), answer_all(local, requests), strict=True):
        assert isinstance(ours, Loglikelihood)
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-3)
        assert ours.is_greedy == theirs.is_greedy


def test_greedy_texts_equal_those_of_transformers(served: OpenAIModel, local: Any) -> None:
    sampling = Sampling(max_tokens=24, stop=("\n\n",))
    requests = [GenerateRequest(context, sampling) for context in CONTEXTS]
    for ours, theirs in zip(ask(served, requests), answer_all(local, requests), strict=True):
        assert isinstance(ours, Generation)
        assert (ours.text, ours.finish_reason) == (theirs.text, theirs.finish_reason)


def test_five_stop_strings_hold_although_the_server_takes_four(served: OpenAIModel) -> None:
    text = ask(served, [GenerateRequest(CONTEXTS[1], Sampling(max_tokens=24))])[0].text  # type: ignore[union-attr]
    stop = text[3:6]
    assert stop
    sampling = Sampling(max_tokens=24, stop=("@1", "@2", "@3", "@4", stop))
    (answer,) = ask(served, [GenerateRequest(CONTEXTS[1], sampling)])
    assert isinstance(answer, Generation)
    assert answer.text == text.partition(stop)[0]


def test_draws_come_in_one_call_and_differ(served: OpenAIModel) -> None:
    sampling = Sampling(max_tokens=16, temperature=1.0, seed=1)
    requests = list(GenerateRequest(CONTEXTS[1], sampling).draws(4))
    assert served.group(requests) == [[0, 1, 2, 3]]
    texts = [answer.text for answer in ask(served, requests)]  # type: ignore[union-attr]
    assert len(set(texts)) > 1
    assert [a.text for a in ask(served, requests)] == texts  # type: ignore[union-attr]


def test_the_pocket_tasks_score_as_they_do_locally(tmp_path: Any, served: OpenAIModel) -> None:
    tasks = ["pocket_mmlu", "pocket_hellaswag"]
    ours = llmeval.run(served, tasks, workspace=tmp_path, out=tmp_path / "a", limit=60)
    theirs = llmeval.run("pocket", tasks, workspace=tmp_path, out=tmp_path / "b", limit=60)
    for task in tasks:
        metrics = ours.summary["tasks"][task]["metrics"], theirs.summary["tasks"][task]["metrics"]
        assert metrics[0]["acc"]["value"] == metrics[1]["acc"]["value"]
        assert metrics[0]["acc_norm"]["value"] == metrics[1]["acc_norm"]["value"]
