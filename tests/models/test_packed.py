"""The packed scorer against plain forward passes of transformers, family by family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmeval.core.responses import Failure
from llmeval.models.packing import IntArray
from llmeval.models.packing.units import TRUNK_STEP
from tests.models.families import FALLING_BACK, PACKING, make_model

torch = pytest.importorskip("torch")

from llmeval.models.hf.packability import Unpackable, find_runner  # noqa: E402
from llmeval.models.hf.packed import PackedScorer  # noqa: E402
from llmeval.models.hf.scoring import PlainScorer, Scorer, SpanScore  # noqa: E402
from llmeval.models.hf.tokens import Encoded, Span  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_questions() -> list[Encoded]:
    """Headers, questions and choices, as few-shot tasks have them; one choice has one token."""
    rng = np.random.default_rng(0)
    header = 14

    def draw(length: int) -> IntArray:
        return rng.integers(3, 97, length).astype(np.int32)

    headers = [draw(header), draw(header)]
    questions = []
    for number in range(12):
        context = np.concatenate([headers[number % 2][: rng.integers(3, header + 1)], draw(4)])
        for length in (1, 1, 3, 6):
            target = draw(length)
            questions.append(Encoded((Span(np.concatenate([context, target])[:-1], target),)))
    text = draw(40)  # a rolling question of two windows
    windows = (Span(text[:20], text[1:21]), Span(text[19:39], text[20:40]))
    return [*questions, Encoded(windows), questions[0]]


def make_subjects() -> list[Encoded]:
    """Two subjects whose long headers are shared by far more than a unit's questions."""
    rng = np.random.default_rng(1)
    questions = []
    for _ in range(2):
        header = rng.integers(3, 97, 90)
        for _ in range(40):
            context = np.concatenate([header, rng.integers(3, 97, 5)]).astype(np.int32)
            target = rng.integers(3, 97, 2).astype(np.int32)
            questions.append(Encoded((Span(np.concatenate([context, target[:1]]), target),)))
    return questions


def judge(model: Any, span: Span) -> tuple[float, bool]:
    """Score a span by itself in one plain pass."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(span.inputs).long()[None]).logits[0].float()
    rows = logits[-len(span.targets) :].log_softmax(-1)
    targets = torch.from_numpy(span.targets).long()
    chosen = rows[torch.arange(len(targets)), targets]
    return float(chosen.double().sum()), bool((rows.argmax(-1) == targets).all())


def score(scorer: Scorer, questions: Sequence[Encoded]) -> list[list[SpanScore | Failure]]:
    answers: dict[int, list[SpanScore | Failure]] = {}
    for unit in scorer.plan(questions):
        spans = iter(scorer.score(unit).spans)
        for member in unit.members:
            assert member not in answers
            answers[member] = [next(spans) for _ in questions[member].spans]
    return [answers[i] for i in range(len(questions))]


def packed(model: Any, size: int, max_length: int = 128) -> PackedScorer:
    runner = find_runner(model, max_length)
    assert not isinstance(runner, Unpackable), runner.reason
    return PackedScorer(runner, size)


@pytest.mark.parametrize("family", PACKING)
def test_every_family_packs_and_agrees_with_plain_passes(family: str) -> None:
    model = make_model(*PACKING[family])
    questions = make_questions()
    for size in (256, 7):
        for question, scores in zip(questions, score(packed(model, size), questions), strict=True):
            for span, found in zip(question.spans, scores, strict=True):
                logprob, greedy = judge(model, span)
                assert isinstance(found, SpanScore)
                assert found.logprob == pytest.approx(logprob, abs=1e-4, rel=1e-5)
                assert found.is_greedy == greedy


@pytest.mark.parametrize("family", FALLING_BACK)
def test_families_that_cannot_pack_say_why(family: str) -> None:
    kind, config, reason = FALLING_BACK[family]
    found = find_runner(make_model(kind, config), 128)
    assert isinstance(found, Unpackable)
    assert reason in found.reason


def test_greedy_flags_are_not_all_false() -> None:
    """A question whose continuation is the model's own greedy text."""
    model = make_model(*PACKING["llama"])
    context = torch.tensor([[5, 6, 7, 8]])
    text = model.generate(context, max_new_tokens=5, do_sample=False, eos_token_id=None)[0]
    whole = text.numpy().astype(np.int32)
    right, wrong = whole[4:], whole[4:].copy()
    wrong[2] = (wrong[2] + 1) % 97
    questions = [
        Encoded((Span(np.concatenate([whole[:4], target])[:-1], target),))
        for target in (right, wrong)
    ]
    [[first], [second]] = score(packed(model, 256), questions)
    assert first.is_greedy and not second.is_greedy


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral with windows"])
def test_half_precision_agrees_as_far_as_it_reaches(family: str, dtype: str) -> None:
    kind, config = PACKING[family]
    model = make_model(kind, config | {"initializer_range": 0.1}, getattr(torch, dtype))
    questions = make_questions()
    allowed = 0.15 if dtype == "bfloat16" else 0.02
    for question, scores in zip(questions, score(packed(model, 64), questions), strict=True):
        for span, found in zip(question.spans, scores, strict=True):
            logprob, _ = judge(model, span)
            assert isinstance(found, SpanScore)
            assert abs(found.logprob - logprob) <= allowed * math.sqrt(len(span.targets))


@pytest.fixture(scope="module")
def llama() -> Any:
    return make_model(*PACKING["llama"])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.integers(3, 5), min_size=0, max_size=5),
            st.lists(st.integers(3, 5), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=9,
    ),
    size=st.integers(1, 12),
)
def test_any_tree_of_questions_agrees(
    llama: Any, rows: list[tuple[int, list[int], list[int]]], size: int
) -> None:
    questions = []
    for header, context, target in rows:
        whole = np.array([1] * (header * 40 + 1) + context + target, np.int32)
        questions.append(Encoded((Span(whole[:-1], np.array(target, np.int32)),)))
    for question, [found] in zip(questions, score(packed(llama, size), questions), strict=True):
        assert isinstance(found, SpanScore)
        assert found.logprob == pytest.approx(judge(llama, question.spans[0])[0], abs=1e-4)


def test_a_unit_gives_the_same_bits_whichever_unit_came_before(llama: Any) -> None:
    """A killed run begins anew in the middle of a header that an unbroken one still has."""
    one = packed(llama, 8)
    units = one.plan(make_subjects())
    assert sum(unit.trunk > 0 for unit in units) > 1
    in_order = [one.score(unit).spans for unit in units]
    computed = [packed(llama, 8).score(unit).spans for unit in units]
    backwards = [one.score(unit).spans for unit in reversed(units)][::-1]
    assert in_order == computed == backwards


def test_shared_headers_are_computed_once(llama: Any) -> None:
    questions = make_subjects()
    scorer = packed(llama, 8)
    units = scorer.plan(questions)
    computed = sum(scorer.score(unit).effort.tokens for unit in units)
    distinct = {
        tuple(span.inputs[: n + 1].tolist())
        for question in questions
        for span in question.spans
        for n in range(len(span.inputs))
    }
    assert sum(unit.distinct for unit in units) == len(distinct)
    # Of a header, only what a trunk's step cuts off is computed again, once in a unit.
    assert computed <= len(distinct) + len(units) * TRUNK_STEP
    assert computed < 0.15 * sum(len(question.spans[0].inputs) for question in questions)


def test_running_out_of_memory_halves_packs_and_is_remembered(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = make_questions()
    expected = score(packed(llama, 256), questions)
    scorer = packed(llama, 64)
    forward = llama.forward
    lengths = []

    def refuse_large(input_ids: Any, **options: Any) -> Any:
        lengths.append(input_ids.shape[1])
        if input_ids.shape[1] > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(llama, "forward", refuse_large)
    found = score(scorer, questions)
    assert scorer.pack_size == 16
    assert [n for n in lengths if n > 20] and max(lengths[-5:]) <= 16
    for scores, wanted in zip(found, expected, strict=True):
        for one, other in zip(scores, wanted, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_a_model_too_large_for_one_token_fails_by_name(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = packed(llama, 4)

    def refuse(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(llama, "forward", refuse)
    [[found]] = score(scorer, make_questions()[:1])
    assert found == Failure("out of memory for a single token")


def test_a_token_without_numbers_fails_its_own_questions_only() -> None:
    model = make_model(*PACKING["llama"])
    questions = make_questions()
    expected = [[judge(model, span)[0] for span in question.spans] for question in questions]
    scorer = packed(model, 256)
    bad = int(questions[5].spans[0].inputs[-1])
    with torch.no_grad():
        model.model.embed_tokens.weight[bad] = float("nan")
    spoiled = 0
    for question, scores, logprobs in zip(
        questions, score(scorer, questions), expected, strict=True
    ):
        for span, found, logprob in zip(question.spans, scores, logprobs, strict=True):
            if bad in span.inputs:
                assert isinstance(found, Failure) and "not a finite number" in found.reason
                spoiled += 1
            else:
                assert isinstance(found, SpanScore)
                assert found.logprob == pytest.approx(logprob, abs=1e-4)
    assert 0 < spoiled < len(questions) / 2


def test_the_plain_scorer_agrees_too(llama: Any) -> None:
    from llmeval.models.hf.batching import Cutter

    make_scorer: Callable[[], Scorer] = lambda: PlainScorer(llama, Cutter(None, 64))  # noqa: E731
    questions = make_questions()
    for question, scores in zip(questions, score(make_scorer(), questions), strict=True):
        for span, found in zip(question.spans, scores, strict=True):
            assert isinstance(found, SpanScore)
            assert found.logprob == pytest.approx(judge(llama, span)[0], abs=1e-4)


@pytest.mark.parametrize(
    ("family", "sliced"),
    [("llama", True), ("gpt2", True), ("phi", True), ("gemma2", False), ("cohere", False)],
)
def test_a_head_that_does_more_than_multiply_is_left_to_the_model(
    family: str, sliced: bool
) -> None:
    kind, config = PACKING[family]
    if family == "gemma2":  # a cap that bites at once
        config = config | {"final_logit_softcapping": 1.0}
    runner = find_runner(make_model(kind, config), 128)
    assert not isinstance(runner, Unpackable)
    assert (runner.head is not None) == sliced


def test_the_head_in_slices_finds_the_first_of_equal_maxima(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmeval.models.hf import head

    monkeypatch.setattr(head, "_SLICE", 4)
    linear = torch.nn.Linear(6, 19)
    with torch.no_grad():
        for first, later in ((3, 5), (8, 10), (1, 17)):  # in one slice, and across slices
            linear.weight[later], linear.bias[later] = linear.weight[first], linear.bias[first]
    states = torch.randn(40, 6)
    logits = linear(states)
    rows = np.repeat(np.arange(40), 19)
    targets = np.tile(np.arange(19), 40)
    logprobs, greedy = head.SlicedHead(linear).read(states, rows, targets)
    expected = logits.log_softmax(-1).detach().numpy().reshape(-1)
    assert np.abs(logprobs - expected).max() < 1e-5
    assert greedy.tolist() == (logits.argmax(-1).numpy()[rows] == targets).tolist()
    assert {1, 3, 8} & set(logits.argmax(-1).tolist())
    states[7, 0] = float("nan")
    best = logits.argmax(-1)
    best[7] = -1
    assert head.SlicedHead(linear).find_best(states).tolist() == best.tolist()
