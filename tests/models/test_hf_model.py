"""The backend by itself: hostile texts, truncation, plans, fingerprints, memory, broken numbers."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Request,
    RollingRequest,
    Sampling,
    UsageError,
)
from llmeval.models.chat import judge_template, warn_once
from llmeval.models.hf.batching import Cutter, MemoryGuard
from llmeval.models.hf.identity import digest_folder
from tests.models.asking import ask
from tests.models.conftest import save_llama, train_tokenizer

HOSTILE = ["", " ", "\n\n", "\x00", "\ud800", "a\udfffb", "🦊", "e\u0301", "\u202e", "x" * 5000]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that a model gives."""
    texts: list[str] = []
    for room in ("hf.questions", "chat"):
        monkeypatch.setattr(f"llmeval.models.{room}.warn_once", texts.append)
    return texts


def reference_logprob(model: Any, context: list[int], targets: list[int]) -> float:
    """Score by the definition: one unpadded forward pass, log-softmax in float64."""
    import torch

    tokens = torch.tensor([(context + targets)[:-1]])
    with torch.inference_mode():
        logits = model._checkpoint.model(tokens).logits[0].double()
    logprobs = logits.log_softmax(-1)[-len(targets) :]
    return float(logprobs.gather(1, torch.tensor(targets)[:, None]).sum())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_get_a_number_or_a_reason(llama: Any, text: str) -> None:
    sampling = Sampling(max_tokens=3)
    requests: list[Request] = [
        LoglikelihoodRequest(text, " fox"),
        LoglikelihoodRequest("fox", text),
        LoglikelihoodRequest(text, text),
        RollingRequest(text),
        GenerateRequest(text, sampling),
        GenerateRequest((Message("user", text),), sampling),
    ]
    for answer in ask(llama, requests):
        match answer:
            case Loglikelihood():
                assert math.isfinite(answer.logprob) and answer.logprob <= 0
            case Generation():
                assert answer.completion_tokens <= 3
            case Failure():
                assert "does not fit" in answer.reason


def test_lone_surrogates_are_replaced_and_said(
    llama_dir: Path, load: Any, warned: list[str]
) -> None:
    model = load(llama_dir)
    first, second = ask(
        model, [LoglikelihoodRequest("a\ud800", " fox"), LoglikelihoodRequest("a\ufffd", " fox")]
    )
    assert first == second
    assert [text for text in warned if "surrogates" in text]


def test_a_warning_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    for _ in range(2):
        warn_once("something was left out")
    assert caplog.messages == ["something was left out"]


def test_an_empty_continuation_is_certain(llama: Any, gpt2: Any) -> None:
    for model in (llama, gpt2):
        for request in (LoglikelihoodRequest("fox", ""), LoglikelihoodRequest("", "")):
            [answer] = ask(model, [request])
            assert (answer.logprob, answer.is_greedy, answer.num_tokens) == (0.0, True, 0)


def test_tokens_joined_across_the_boundary_are_scored_apart(gpt2_dir: Path, load: Any) -> None:
    model = load(gpt2_dir)
    rules = model._rules
    context, continuation = "i", "nto the "
    whole = rules.encode_texts([context + continuation])[context + continuation].tolist()
    before = rules.encode_texts([context])[context].tolist()
    assert len(whole) == len(before) == 1, "the test's tokenizer should join these"
    [answer] = ask(model, [LoglikelihoodRequest(context, continuation)])
    after = rules.encode_texts([continuation])[continuation].tolist()
    assert answer.boundary == "separate"
    assert answer.num_tokens == len(after)
    assert answer.logprob == pytest.approx(reference_logprob(model, before, after), abs=1e-4)


def test_truncation_is_from_the_left_and_counted(gpt2_dir: Path, load: Any) -> None:
    model = load(gpt2_dir)
    context, continuation = "fox " * 60, "said: come"
    whole = model._rules.encode_texts([context + continuation])[context + continuation].tolist()
    [answer] = ask(model, [LoglikelihoodRequest(context, continuation)])
    # 48 positions read 48 tokens and predict one more.
    assert answer.truncated == len(whole) - 49
    assert answer.prompt_tokens == 48


def test_a_continuation_as_long_as_the_context_is_the_longest(gpt2: Any) -> None:
    ids = gpt2._rules.encode_texts(["fox " * 80])["fox " * 80].tolist()
    fits, too_long = (gpt2._rules._fit([0], ids[:size]) for size in (48, 49))
    assert len(fits.spans[0].targets) == 48
    assert isinstance(too_long, Failure)
    [answer] = ask(gpt2, [LoglikelihoodRequest("a", " fox" * 200)])
    assert isinstance(answer, Failure)
    assert "48" in answer.reason


def test_without_bos_and_eos_only_empty_contexts_fail(bare: Any) -> None:
    empty, rolling, prompt, whole, text = ask(
        bare,
        [
            LoglikelihoodRequest("", "fox"),
            RollingRequest("fox"),
            GenerateRequest("", Sampling(max_tokens=3)),
            LoglikelihoodRequest("The fox", " said"),
            GenerateRequest("The fox", Sampling(max_tokens=3, stop=("zzz",))),
        ],
    )
    for failure in (empty, rolling, prompt):
        assert isinstance(failure, Failure)
        assert "BOS" in failure.reason
    assert isinstance(whole, Loglikelihood)
    assert isinstance(text, Generation)
    assert (text.finish_reason, text.completion_tokens) == ("length", 3)


def test_a_prefix_token_mends_the_missing_bos(bare_dir: Path, load: Any) -> None:
    model = load(bare_dir, prefix_token_id=5)
    [answer] = ask(model, [LoglikelihoodRequest("", "fox")])
    targets = model._rules.encode_texts(["fox"])["fox"].tolist()
    assert answer.logprob == pytest.approx(reference_logprob(model, [5], targets), abs=1e-4)


def test_a_tokenizer_larger_than_the_model_fails_by_question(
    tmp_path: Path, gpt2_dir: Path, load: Any
) -> None:
    tokenizer = train_tokenizer({"bos_token": "<s>"})
    model = load(save_llama(tmp_path / "small", tokenizer, vocabulary=270))
    good, bad = ask(model, [LoglikelihoodRequest("\x01", "\x02"), RollingRequest("into the woods")])
    assert isinstance(good, Loglikelihood)
    assert isinstance(bad, Failure)
    assert "270" in bad.reason


def test_logits_that_are_no_numbers_fail(llama_dir: Path, load: Any) -> None:
    import torch

    model = load(llama_dir)
    with torch.no_grad():
        model._checkpoint.model.lm_head.weight[3] = float("nan")
    draws = [Sampling(max_tokens=2), Sampling(max_tokens=2, temperature=1.0)]
    requests = [LoglikelihoodRequest("a", " fox"), *(GenerateRequest("a", s) for s in draws)]
    for answer in ask(model, requests):
        assert isinstance(answer, Failure)


def test_a_row_stops_at_its_own_stop_string(llama: Any) -> None:
    [free] = ask(llama, [GenerateRequest("The fox", Sampling(max_tokens=30))])
    stop = free.text[len(free.text) // 2 :][:3]
    [cut] = ask(llama, [GenerateRequest("The fox", Sampling(max_tokens=30, stop=(stop,)))])
    assert cut.text == free.text.partition(stop)[0]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < free.completion_tokens == 30
    assert free.finish_reason == "length"


def test_a_draw_depends_on_nothing_but_its_question(llama: Any) -> None:
    sampling = Sampling(max_tokens=12, temperature=0.8, top_k=50, top_p=0.95, seed=3)
    draws = list(GenerateRequest("The fox", sampling).draws(4))
    others = [GenerateRequest(f"{i} woods", sampling) for i in range(5)]
    together = ask(llama, [*others, *draws])[5:]
    alone = [ask(llama, [draw])[0] for draw in draws]
    assert [a.text for a in together] == [a.text for a in alone]
    assert len({a.text for a in alone}) > 1
    reseeded = Sampling(max_tokens=12, temperature=0.8, top_k=50, top_p=0.95, seed=4)
    assert ask(llama, [GenerateRequest("The fox", reseeded)])[0].text != alone[0].text


def test_draws_follow_the_models_distribution(llama: Any) -> None:
    import torch

    sampling = Sampling(max_tokens=1, temperature=0.7, top_k=3)
    count = 600
    answers = ask(llama, list(GenerateRequest("Once upon", sampling).draws(count)))
    [ids] = llama._rules.encode_prompts(["Once upon"])
    with torch.inference_mode():
        logits = llama._checkpoint.model(torch.from_numpy(ids).long()[None]).logits[0, -1].double()
    best = (logits / 0.7).topk(3)
    for token, chance in zip(best.indices.tolist(), best.values.softmax(0).tolist(), strict=True):
        text = llama._rules.decode([token])
        drawn = sum(a.text == text for a in answers) / count
        assert drawn == pytest.approx(chance, abs=5 * math.sqrt(0.25 / count))


def test_a_limit_beyond_the_context_is_halved_and_said(
    gpt2_dir: Path, load: Any, warned: list[str]
) -> None:
    model = load(gpt2_dir)
    [answer] = ask(model, [GenerateRequest("The fox " * 40, Sampling(max_tokens=1024))])
    assert answer.prompt_tokens == 24
    assert answer.completion_tokens <= 24
    assert answer.truncated > 0
    assert [text for text in warned if "cut to half" in text]


def test_a_chat_without_a_template_is_said(gpt2: Any) -> None:
    assert "chat" not in gpt2.capabilities
    with pytest.raises(UsageError, match="no chat template"):
        gpt2.apply_chat_template([{"role": "user", "content": "Hi"}], True)


def test_a_template_from_a_file_changes_the_fingerprint(
    gpt2_dir: Path, gpt2: Any, load: Any, tmp_path: Path
) -> None:
    path = tmp_path / "plain.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}|{% endfor %}")
    model = load(gpt2_dir, chat_template=str(path))
    assert model.apply_chat_template([{"role": "user", "content": "Hi"}], True) == "Hi|"
    assert model.fingerprint != gpt2.fingerprint


def test_prompts_that_begin_with_bos_twice_are_reported(llama_dir: Path, load: Any) -> None:
    """Where a text begins with BOS none is added, so two are those that the text has itself."""
    model = load(llama_dir)
    ask(model, [LoglikelihoodRequest("<s>The fox", " runs"), GenerateRequest("<s>The fox")])
    assert model.report()["doubled_bos"] == 0
    ask(model, [LoglikelihoodRequest("<s><s>The fox", " runs"), GenerateRequest("<s><s>The fox")])
    assert model.report()["doubled_bos"] == 0.5


@pytest.mark.parametrize(
    ("template", "verdict"),
    [
        ("{{ messages[0].content }}<|im_end|>", "present"),
        ("{{ messages[0].content + eos_token }}", "present"),
        ("{{ messages[0].content }}</s>", "learned"),
        (None, None),
    ],
)
def test_a_template_is_learned_if_a_token_of_its_turns_ends_answers(
    llama_dir: Path, template: str | None, verdict: str | None
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama_dir)
    tokenizer.chat_template = template
    assert judge_template(tokenizer, [tokenizer.eos_token_id]) == verdict


def test_a_template_that_refuses_system_messages_is_asked_without(
    gpt2_dir: Path, load: Any, tmp_path: Path, warned: list[str]
) -> None:
    path = tmp_path / "strict.jinja"
    path.write_text(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% elif m.role == 'tool' %}{{ raise_exception('no tool') }}{% endif %}{{ m.content }}"
        "{% endfor %}"
    )
    model = load(gpt2_dir, chat_template=str(path))
    chat = [{"role": "system", "content": "Be"}, {"role": "user", "content": "Hi"}]
    assert model.apply_chat_template(chat, True) == "Hi"
    assert [text for text in warned if "no system turn" in text]
    with pytest.raises(UsageError, match="no tool"):
        model.apply_chat_template([{"role": "tool", "content": "x"}], True)


def test_the_fingerprint_follows_what_can_change_an_answer(
    llama_dir: Path, llama: Any, load: Any, tmp_path: Path
) -> None:
    copy = shutil.copytree(llama_dir, tmp_path / "elsewhere")
    (copy / "README.md").write_text("not part of the model")
    assert load(copy, batch_size=3, threads=1).fingerprint == llama.fingerprint
    changed = [
        load(copy, dtype="bfloat16"),
        load(copy, max_length=32),
        load(copy, add_bos_token=False),
        load(copy, prefix_token_id=2),
        load(copy, max_gen_toks=16),
    ]
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    changed.append(load(copy))
    assert len({m.fingerprint for m in (llama, *changed)}) == 7


@pytest.mark.parametrize("package", ["transformers", "tokenizers"])
def test_the_fingerprint_follows_code_and_libraries(
    llama_dir: Path, llama: Any, load: Any, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    assert load(llama_dir, trust_remote_code=True).fingerprint != llama.fingerprint
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9.9" if name == package else version(name)
    )
    assert load(llama_dir).fingerprint != llama.fingerprint


def test_changed_weights_are_seen_through_the_digest_cache(
    llama_dir: Path, private_cache: Path, load: Any, tmp_path: Path
) -> None:
    copy = shutil.copytree(llama_dir, tmp_path / "copy")
    first = load(copy).fingerprint
    assert (private_cache / "llmeval" / "digests.json").is_file()
    assert load(copy).fingerprint == first
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert load(copy).fingerprint != first
    (private_cache / "llmeval" / "digests.json").write_text("{damaged")
    assert load(copy).fingerprint != first


def test_bytes_changed_behind_an_old_time_are_seen(private_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    first, stat = digest_folder(tmp_path), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest_folder(tmp_path) != first


def test_a_full_disk_leaves_no_draft_behind(
    private_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")

    def fail(self: Path, *_: Any, **__: Any) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    assert set(digest_folder(tmp_path)) == {"config.json"}
    assert list((private_cache / "llmeval").iterdir()) == []


def test_padding_that_the_model_does_not_know_is_passed_over(tmp_path: Path, load: Any) -> None:
    tokenizer = train_tokenizer({"bos_token": "<s>", "unk_token": "<unk>"})
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    assert tokenizer.pad_token_id == 400
    model = load(save_llama(tmp_path / "padded", tokenizer))
    answers = ask(model, [GenerateRequest(p, Sampling(max_tokens=3)) for p in ("fox", "x" * 30)])
    assert all(isinstance(answer, Generation) for answer in answers)


requests_strategy = st.lists(
    st.one_of(
        st.builds(LoglikelihoodRequest, st.sampled_from(["", "fox ", "The"]), st.text(max_size=9)),
        st.builds(RollingRequest, st.text(max_size=300)),
        st.builds(
            GenerateRequest,
            st.text(max_size=30),
            st.builds(Sampling, max_tokens=st.integers(1, 80), seed=st.integers(0, 2)),
        ),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests=requests_strategy)
def test_a_plan_is_a_partition_and_always_the_same(llama: Any, requests: list[Request]) -> None:
    plan = llama.plan(requests)
    assert sorted(i for batch in plan for i in batch) == list(range(len(requests)))
    llama.plan([])
    assert llama.plan(requests) == plan


def test_equal_batches_are_bit_equal_and_one_row_serves_all_choices(llama: Any) -> None:
    context = "Question: Where did the girl go?\nAnswer:"
    requests = [LoglikelihoodRequest(context, choice) for choice in (" A", " B", " C", " D")]
    assert llama.plan(requests) == [[0, 1, 2, 3]]
    first, second = llama.answer(requests), llama.answer(requests)
    assert first == second
    assert first.computed_tokens == first.responses[0].prompt_tokens


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40))),
    rows=st.none() | st.integers(1, 8),
)
def test_batches_hold_the_limit_unless_one_unit_exceeds_it(
    sizes: list[tuple[int, int]], rows: int | None
) -> None:
    batches = Cutter(rows, budget=100).cut(sizes)
    assert [i for batch in batches for i in batch] == list(range(len(sizes)))
    for batch in batches:
        total, width = sum(sizes[i][0] for i in batch), max(sizes[i][1] for i in batch)
        assert len(batch) == 1 or (total <= rows if rows else total * width <= 100)


def test_too_large_a_batch_is_halved_and_the_size_remembered() -> None:
    import torch

    tried: list[int] = []

    def compute(rows: Any) -> list[int]:
        tried.append(len(rows))
        if len(rows) > 3 or 13 in rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [row * 10 for row in rows]

    guard = MemoryGuard()
    assert guard.run(list(range(8)), compute) == [row * 10 for row in range(8)]
    assert tried == [8, 4, 2, 2, 2, 2]
    tried.clear()
    assert guard.run(list(range(4)), compute) == [0, 10, 20, 30]
    assert tried == [2, 2]
    first, failure = guard.run([12, 13], compute)
    assert first == 120
    assert isinstance(failure, Failure)
    with pytest.raises(RuntimeError, match="shape"):
        guard.run([1], lambda rows: (_ for _ in ()).throw(RuntimeError("shape mismatch")))


@pytest.fixture
def narrow(llama_dir: Path, load: Callable[..., Any]) -> Iterator[Any]:
    """A model whose memory holds two rows."""
    import torch

    model = load(llama_dir)
    inner = model._checkpoint.model
    forward = inner.forward

    def forward_two(input_ids: Any = None, **options: Any) -> Any:
        if input_ids.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **options)

    inner.forward = forward_two
    yield model
    inner.forward = forward


def test_answers_do_not_change_when_memory_runs_out(narrow: Any, llama: Any) -> None:
    requests: list[Request] = [LoglikelihoodRequest("fox", f" woods {i}") for i in range(7)]
    requests += [GenerateRequest(f"fox {i}", Sampling(max_tokens=5)) for i in range(5)]
    for ours, usual in zip(ask(narrow, requests), ask(llama, requests), strict=True):
        if isinstance(usual, Loglikelihood):
            assert ours.logprob == pytest.approx(usual.logprob, abs=1e-4)
        else:
            assert ours == usual
