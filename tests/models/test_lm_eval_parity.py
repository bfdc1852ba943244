"""Our answers beside lm-eval's own, run here on the same tiny checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmeval.core import (
    GenerateRequest,
    LoglikelihoodRequest,
    Message,
    RollingRequest,
    Sampling,
)
from llmeval.core.responses import Failure
from tests.models.asking import ask
from tests.models.conftest import CORPUS

PAIRS = [
    ("The fox said:", " come with me"),
    ("The fox said: ", "come with me"),
    ("The fox said:\n", "come"),
    ("", "the girl went into the woods"),
    ("", " the girl"),
    ("Once upon a time", " there was"),
    ("Once upon a time", " the fox"),
    ("Question: Where did the girl go?\nAnswer:", " A"),
    ("Question: Where did the girl go?\nAnswer:", " B"),
    ("Question: Where did the girl go?\nAnswer:", " She went into the woods."),
    ("你好", "世界。"),
    ("naïve café — ", "Öfen"),
    (" ".join(CORPUS), " and the fox"),
    ("a\x00b", "\x00c"),
    ("x", "into the woods with the fox " * 3),
]
TEXTS = ["fox", "Once upon a time", *CORPUS, " ".join(CORPUS), "你好" * 40]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Our model and lm-eval's on the same checkpoint."""
    folder: Path = request.getfixturevalue(f"{request.param}_dir")
    return request.getfixturevalue(request.param), load_lm_eval(folder)


def load_lm_eval(folder: Path, **options: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(folder), device="cpu", dtype="float32", batch_size=3, **options)


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [
        Instance(request_type=kind, doc={}, arguments=args, idx=i)
        for i, args in enumerate(arguments)
    ]


def answerable(theirs: Any, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs on which lm-eval does not stop for want of a continuation."""
    return [pair for pair in pairs if not pair[0] or theirs._encode_pair(*pair)[1]]


def test_loglikelihoods_equal_lm_evals(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    pairs = answerable(theirs, PAIRS)
    assert len(pairs) > 10
    answers = ask(ours, [LoglikelihoodRequest(*pair) for pair in pairs])
    expected = theirs.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    assert len(answers) == len(expected)
    for answer, (logprob, greedy) in zip(answers, expected, strict=True):
        assert answer.logprob == pytest.approx(logprob, abs=1e-3)
        assert answer.is_greedy == greedy
        assert answer.boundary is None


def test_greedy_continuations_are_called_greedy_by_both(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    prompts = [text[:size] for text in CORPUS for size in range(4, 12)]
    sampling = Sampling(max_tokens=1)
    texts = [g.text for g in ask(ours, [GenerateRequest(p, sampling) for p in prompts])]
    pairs = answerable(theirs, list(zip(prompts, texts, strict=True)))
    answers = ask(ours, [LoglikelihoodRequest(*pair) for pair in pairs])
    expected = theirs.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    assert [a.is_greedy for a in answers] == [greedy for _, greedy in expected]
    assert any(a.is_greedy for a in answers)


def test_rolling_loglikelihoods_equal_lm_evals(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    answers = ask(ours, [RollingRequest(text) for text in TEXTS])
    expected = theirs.loglikelihood_rolling(
        instances("loglikelihood_rolling", [(text,) for text in TEXTS]), disable_tqdm=True
    )
    assert [a.logprob for a in answers] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("until", [[], ["the"], ["\n\n", "e"], ["fox", "woods with"]])
def test_greedy_texts_equal_lm_evals(both: tuple[Any, Any], until: list[str]) -> None:
    ours, theirs = both
    prompts = [text[:size] for text in CORPUS for size in (9, 25)] + [" ".join(CORPUS)]
    sampling = Sampling(max_tokens=12, stop=tuple(until))
    texts = [g.text for g in ask(ours, [GenerateRequest(p, sampling) for p in prompts])]
    arguments = [(p, {"until": list(until), "max_gen_toks": 12}) for p in prompts]
    expected = theirs.generate_until(instances("generate_until", arguments), disable_tqdm=True)
    assert texts == expected


@pytest.mark.parametrize("setting", [{"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 1}])
def test_settings_that_look_back_act_as_in_lm_evals_batches(
    llama_dir: Path, load: Any, tmp_path: Path, setting: dict[str, float]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(llama_dir, tmp_path / "looking-back")
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | setting))
    # After the short prompt its own last token is made the likeliest, and the padding the next.
    theirs = load_lm_eval(folder)
    tokens = theirs.tok_encode("fox")
    logits = theirs.model(torch.tensor([tokens])).logits[0, -1]
    weights = load_file(folder / "model.safetensors")
    head = weights["lm_head.weight"]
    best = head[logits.argmax()].clone()
    head[tokens[-1]], head[theirs.tokenizer.pad_token_id] = best * 1.1, best * 1.05
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    theirs, ours = load_lm_eval(folder), load(folder)

    prompts = ["fox", " ".join(CORPUS)[:80]]
    requests = [GenerateRequest(prompt, Sampling(max_tokens=12)) for prompt in prompts]
    texts = [answer.text for answer in ask(ours, requests)]
    arguments = [(prompt, {"until": [], "max_gen_toks": 12}) for prompt in prompts]
    expected = theirs.generate_until(instances("generate_until", arguments), disable_tqdm=True)
    assert texts == expected
    if "no_repeat_ngram_size" in setting:
        ours._computer.generator.engine._config.pad_token_id = 0
        assert texts != [answer.text for answer in ask(ours, requests)], "padding should matter"
    ours._computer.generator.engine._config.update(repetition_penalty=1.0, no_repeat_ngram_size=0)
    assert texts != [answer.text for answer in ask(ours, requests)], "the setting should matter"


@pytest.mark.parametrize("add_bos", [True, False])
def test_the_bos_setting_acts_as_in_lm_eval(llama_dir: Path, load: Any, add_bos: bool) -> None:
    theirs = load_lm_eval(llama_dir, add_bos_token=add_bos)
    pairs = answerable(theirs, PAIRS)
    model = load(llama_dir, add_bos_token=add_bos)
    answers = ask(model, [LoglikelihoodRequest(*pair) for pair in pairs])
    expected = theirs.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    for answer, (logprob, _) in zip(answers, expected, strict=True):
        assert answer.logprob == pytest.approx(logprob, abs=1e-3)


def test_a_prefix_token_of_ones_own_acts_as_in_lm_eval(llama_dir: Path, load: Any) -> None:
    pairs = [("", "the girl"), ("", "the girl went in"), ("fox", ": come")]
    # The first token of a continuation: then that token is the context.
    prefix = load(llama_dir)._rules.encode_texts(["the girl"], special=False)["the girl"][0]
    theirs = load_lm_eval(llama_dir, prefix_token_id=prefix)
    model = load(llama_dir, prefix_token_id=prefix)
    answers = ask(model, [LoglikelihoodRequest(*p) for p in pairs[1:]])
    expected = theirs.loglikelihood(instances("loglikelihood", pairs[1:]), disable_tqdm=True)
    assert [a.logprob for a in answers] == pytest.approx([e[0] for e in expected], abs=1e-3)


def test_a_rendered_chat_gets_no_second_bos(llama: Any, llama_dir: Path) -> None:
    ours, theirs = llama, load_lm_eval(llama_dir)
    chat = [{"role": "user", "content": "Where is the fox?"}]
    text = ours.apply_chat_template(chat, add_generation_prompt=True)
    assert text == theirs.apply_chat_template(chat, add_generation_prompt=True)
    assert text.startswith("<s>")
    pair = (text, "In the woods")
    [answer] = ask(ours, [LoglikelihoodRequest(*pair)])
    [(expected, _)] = theirs.loglikelihood(instances("loglikelihood", [pair]), disable_tqdm=True)
    assert answer.logprob == pytest.approx(expected, abs=1e-3)
    sampling = Sampling(max_tokens=8)
    message = GenerateRequest((Message("user", "Where is the fox?"),), sampling)
    from_messages, from_text = ask(ours, [message, GenerateRequest(text, sampling)])
    assert from_messages == from_text
    assert from_text.prompt_tokens == len(theirs.tok_encode(text, add_special_tokens=False))


words = st.sampled_from(
    ["into", " the", " into the", " ", "\n", "  ", "fox", " woods", "ö", "你", "<s>", ".", "\t"]
)
texts = st.lists(words, min_size=1, max_size=6).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(context=texts, continuation=texts)
@example(context="fox", continuation="\x01" * 70)
@example(context=" ", continuation="fox")
@example(context="i", continuation="nto the ")
def test_the_encoding_rule_is_lm_evals(
    both: tuple[Any, Any], context: str, continuation: str
) -> None:
    ours, theirs = both
    before, after = theirs._encode_pair(context, continuation)
    [encoded] = ours._rules.encode_pairs([LoglikelihoodRequest(context, continuation)])
    if len(after) > theirs.max_length:
        assert isinstance(encoded, Failure)
    elif not before:  # blanks alone, and lm-eval stops with an AssertionError
        [span] = encoded.spans
        assert span.inputs.tolist() == [ours._rules.prefix_id, *after[:-1]]
        assert span.targets.tolist() == list(after)
    elif after:
        [span] = encoded.spans
        assert span.targets.tolist() == list(after)
        assert span.inputs.tolist() == (before + after)[-(theirs.max_length + 1) : -1]
        assert encoded.boundary is None
    else:  # no continuation is left, and lm-eval stops with an AssertionError
        assert encoded.boundary == "separate"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(length=st.integers(1, 12), size=st.integers(0, 60))
def test_rolling_windows_are_lm_evals(length: int, size: int) -> None:
    from lm_eval.utils import get_rolling_token_windows

    from llmeval.models.hf.tokens import cut_windows

    tokens = list(range(100, 100 + size))
    expected = [
        (list(inputs), list(targets))
        for inputs, targets in get_rolling_token_windows(tokens, 7, length, 1)
    ]
    windows = cut_windows(np.array(tokens, np.int32), 7, length)
    assert [(s.inputs.tolist(), s.targets.tolist()) for s in windows] == expected
