"""Completions in slots and plainly; the judge is ``model.generate``, one prompt at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmeval.core import Failure, GenerateRequest, Generation, Sampling
from llmeval.models.hf import slot_generation
from llmeval.models.hf.batching import Cutter
from llmeval.models.hf.generation import Generator
from llmeval.models.hf.packability import find_runner
from llmeval.models.hf.sampling import Drawer
from llmeval.models.hf.slot_generation import find_decoding_fault
from llmeval.models.hf.slots import Slots
from llmeval.models.hf.tokens import TokenRules
from llmeval.models.packing import build_trie
from tests.models.conftest import train_tokenizer
from tests.models.families import FALLING_BACK, PACKING, make_model

NEW = 9  # tokens of a completion in most tests
LENGTH = 96
VOCABULARY = 400
SHARING = {
    "llama", "qwen2", "qwen3", "mistral", "mixtral", "qwen3_moe", "gpt2", "gpt_neox", "phi", "phi3",
    "gemma", "opt", "olmo2", "cohere",
}  # fmt: skip
NO_SPECIALS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))


@functools.cache
def load_tokenizer() -> Any:
    return train_tokenizer({"eos_token": "</s>"})


def make(family: str) -> Any:
    kind, config = (PACKING | FALLING_BACK)[family][:2]
    # transformers generates with a hybrid only if it has a layer with attention, its third.
    layers = {"num_hidden_layers": 3} if kind == "recurrent_gemma" else {}
    return make_model(kind, {**config, **NO_SPECIALS, **layers, "vocab_size": VOCABULARY})


@functools.cache
def load(family: str) -> Any:
    return make(family)


def make_generator(model: Any, slots: int = 3, pack_size: int = 11) -> Generator:
    rules = TokenRules(load_tokenizer(), LENGTH, VOCABULARY)
    return Generator(
        model,
        rules,
        find_runner(model, LENGTH),
        cutter=Cutter(slots, 1),
        slots=slots,
        pack_size=pack_size,
        max_gen_toks=NEW,
    )


def make_rows(
    generator: Generator, prompts: Sequence[Sequence[int]], sampling: Sampling, draws: int = 1
) -> list[Any]:
    """Return rows of prompts given in tokens; requests are named by the tokens."""
    rows = []
    for prompt in prompts:
        request = GenerateRequest(" ".join(map(str, prompt)), sampling)
        for draw in request.draws(draws):
            rows.append(generator.room.fit(draw, np.array(prompt, np.int32)))
    return rows


def complete(generator: Generator, rows: Sequence[Any]) -> list[Any]:
    answers: dict[int, Any] = {}
    for unit in generator.plan(rows):
        answers |= zip(unit.members, generator.complete(unit).answers, strict=True)
    assert sorted(answers) == list(range(len(rows)))
    return [answers[i] for i in range(len(rows))]


def judge(model: Any, prompt: Sequence[int], new: int = NEW, eos: int | None = None) -> list[int]:
    """Return the greedy tokens of ``model.generate`` on one prompt."""
    import torch

    ids = torch.tensor([list(prompt)])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=eos,
    )
    tokens: list[int] = output[0, ids.shape[1] :].tolist()
    return tokens


def judge_answer(model: Any, prompt: Sequence[int], sampling: Sampling) -> tuple[str, str, int]:
    """Return text, reason and tokens of a greedy completion: all tokens first, then cut."""
    tokenizer = load_tokenizer()
    tokens = judge(model, prompt, sampling.max_tokens or NEW)
    for length in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:length])
        if tokens[length - 1] == tokenizer.eos_token_id or any(s in text for s in sampling.stop):
            tokens, reason = tokens[:length], "stop"
            break
    else:
        reason = "length"
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    for stop in sampling.stop:
        text = text.partition(stop)[0]
    return text, reason, len(tokens)


def as_judged(answer: Any) -> tuple[str, str, int]:
    assert isinstance(answer, Generation), answer
    return answer.text, answer.finish_reason, answer.completion_tokens


def draw_prompts(seed: int = 0) -> list[list[int]]:
    """Return prompts in branches of branches, one the beginning of another, one given twice."""
    rng = np.random.default_rng(seed)

    def draw(length: int) -> list[int]:
        return [int(token) for token in rng.integers(3, VOCABULARY, length)]

    header = draw(23)
    branches = [header[:cut] + draw(5) for cut in (23, 23, 14)]
    prompts = [branch + draw(n) for branch in branches for n in (1, 4, 17)]
    return [*prompts, prompts[2][:-2], prompts[0], draw(2), draw(40)]


@pytest.mark.parametrize("family", PACKING)
def test_slots_give_the_greedy_text_of_each_prompt_alone(family: str) -> None:
    model, prompts = load(family), draw_prompts()
    generator = make_generator(model)
    assert (generator.engine.name, generator.fallback) == ("slots", None)
    answers = complete(generator, make_rows(generator, prompts, Sampling()))
    assert [as_judged(a) for a in answers] == [judge_answer(model, p, Sampling()) for p in prompts]


@pytest.mark.parametrize("family", PACKING)
def test_a_prefix_of_all_rows_is_read_together(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[int] = []
    share = Slots.share

    def record(self: Slots, prefix: Any) -> None:
        shared.append(prefix[0][0].shape[2])
        share(self, prefix)

    model = load(family)
    generator = make_generator(model)
    assert generator.engine.name == "slots"  # tried before what is recorded
    monkeypatch.setattr(slot_generation, "WORTH_SHARING", 5)
    monkeypatch.setattr(Slots, "share", record)
    header = draw_prompts()[0]
    prompts = [header + prompt for prompt in draw_prompts(seed=1)]
    answers = complete(generator, make_rows(generator, prompts, Sampling()))
    assert [as_judged(a) for a in answers] == [judge_answer(model, p, Sampling()) for p in prompts]
    assert bool(shared) == (family in SHARING)
    assert all(length == len(header) for length in shared)


@pytest.mark.parametrize("family", FALLING_BACK)
def test_models_that_do_not_pack_generate_plainly(family: str) -> None:
    model, prompts = load(family), draw_prompts()
    generator = make_generator(model)
    assert generator.engine.name == "plain"
    assert generator.fallback
    rows = make_rows(generator, prompts, Sampling())
    if "ALiBi" in family:
        answers = complete(generator, rows)
    else:  # what a row's neighbours are, or its padding, changes its states or positions
        answers = [complete(generator, [row])[0] for row in rows]
    assert [as_judged(a) for a in answers] == [judge_answer(model, p, Sampling()) for p in prompts]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("repetition_penalty", 1.8),
        ("no_repeat_ngram_size", 2),
        ("suppress_tokens", list(range(5, 200))),
        ("forced_eos_token_id", 0),
        ("min_new_tokens", 4),
    ],
)
def test_settings_that_change_the_best_token_are_left_to_transformers(
    setting: str, value: Any
) -> None:
    model = make("llama")
    setattr(model.generation_config, setting, value)
    if setting == "min_new_tokens":
        model.generation_config.eos_token_id = 7
    generator = make_generator(model)
    assert generator.engine.name == "plain"
    assert setting in str(generator.fallback)
    prompts = draw_prompts()[:4]
    answers = complete(generator, make_rows(generator, prompts, Sampling()))
    decode = functools.partial(load_tokenizer().decode, skip_special_tokens=True)
    for answer, prompt in zip(answers, prompts, strict=True):
        expected = judge(model, prompt, eos=model.generation_config.eos_token_id)
        assert answer.text == decode(expected[: answer.completion_tokens])


def test_settings_that_change_nothing_are_no_obstacle() -> None:
    model = make("llama")
    config = model.generation_config
    config.temperature, config.top_p, config.do_sample = 0.6, 0.9, True
    config.repetition_penalty, config.no_repeat_ngram_size = 1.0, 0
    assert make_generator(model).engine.name == "slots"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 50),
    slots=st.integers(1, 6),
    pack_size=st.sampled_from([1, 7, 30, 300]),
    new=st.integers(1, 12),
    stops=st.lists(st.sampled_from(["e", "th", "\ufffd", " ", "</s>", "世"]), max_size=2),
)
def test_refilled_slots_change_no_row(
    seed: int, slots: int, pack_size: int, new: int, stops: list[str]
) -> None:
    model, prompts = load("llama"), draw_prompts(seed)
    sampling = Sampling(max_tokens=new, stop=tuple(stops))
    generator = make_generator(model, slots, pack_size)
    answers = complete(generator, make_rows(generator, prompts, sampling))
    assert [as_judged(a) for a in answers] == [judge_answer(model, p, sampling) for p in prompts]


def test_every_token_is_computed_once() -> None:
    prompts = draw_prompts()
    generator = make_generator(load("llama"), slots=20)
    rows = make_rows(generator, prompts, Sampling(temperature=1.0), draws=5)
    [unit] = generator.plan(rows)
    done = generator.complete(unit)
    nodes = build_trie([np.array(prompt, np.int32) for prompt in prompts]).nodes
    read = sum(a.completion_tokens - 1 for a in done.answers if isinstance(a, Generation))
    assert done.effort.tokens == done.distinct == nodes + read


def test_greedy_draws_of_a_prompt_are_one_completion() -> None:
    generator = make_generator(load("llama"))
    rows = make_rows(generator, [[5, 6, 7]], Sampling(), draws=8)
    [unit] = generator.plan(rows)
    done = generator.complete(unit)
    assert len(set(map(as_judged, done.answers))) == 1
    assert done.effort.tokens == 3 + done.answers[0].completion_tokens - 1


def test_a_draw_depends_on_nothing_but_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(temperature=0.9, top_k=60, top_p=0.95, seed=3)
    model, prompts = load("qwen2"), [[9, 9, *prompt] for prompt in draw_prompts()]
    expected: list[Any] = []
    for slots, pack_size, worth in ((1, 300, 99), (4, 9, 99), (50, 40, 99), (5, 40, 1)):
        monkeypatch.setattr(slot_generation, "WORTH_SHARING", worth)
        generator = make_generator(model, slots, pack_size)
        answers = complete(generator, make_rows(generator, prompts, sampling, draws=3))
        expected = expected or answers
        assert answers == expected
    assert len({answer.text for answer in expected[:3]}) == 3
    plain = Generator(
        model,
        TokenRules(load_tokenizer(), LENGTH, VOCABULARY),
        find_runner(load("bloom (ALiBi)"), LENGTH),
        cutter=Cutter(4, 1),
        slots=None,
        pack_size=1,
        max_gen_toks=NEW,
    )
    assert complete(plain, make_rows(plain, prompts, sampling, draws=3)) == expected


@pytest.mark.parametrize("worth", [1, 1000])
def test_a_unit_gives_the_same_bits_whatever_came_before(
    worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_generation, "WORTH_SHARING", worth)
    drawn: list[bytes] = []
    draw = Drawer.draw

    def record(self: Drawer, logits: Any, dice: Any) -> Any:
        drawn.append(logits.numpy().tobytes())
        return draw(self, logits, dice)

    monkeypatch.setattr(Drawer, "draw", record)

    def list_bits(generator: Generator, units: Sequence[Any]) -> list[list[bytes]]:
        bits = []
        for unit in units:
            drawn.clear()
            generator.complete(unit)
            bits.append(list(drawn))
        return bits

    rng = np.random.default_rng(4)
    header = rng.integers(3, VOCABULARY, 40).tolist()
    prompts = [header + rng.integers(3, VOCABULARY, 6).tolist() for _ in range(60)]
    first, second = (make_generator(load("llama"), slots=2) for _ in range(2))
    units = first.plan(make_rows(first, prompts, Sampling(max_tokens=5)))
    assert len(units) > 2
    assert all(unit.trunk == 32 for unit in units)
    forwards = list_bits(first, units)
    backwards = list_bits(second, units[::-1])
    assert forwards == backwards[::-1]


def test_all_draws_of_a_prompt_are_in_one_unit() -> None:
    generator = make_generator(load("llama"), slots=2)
    prompts = [[i, 3, 4] for i in range(5, 45)]
    rows = make_rows(generator, prompts, Sampling(temperature=1.0), draws=4)
    other = make_rows(generator, prompts, Sampling(temperature=0.5))
    units = generator.plan([*rows, *other])
    assert sorted(i for unit in units for i in unit.members) == list(range(len(rows) + len(other)))
    for unit in units:
        assert len({row.request.sampling for row in unit.rows}) == 1
    for start in range(0, len(rows), 4):
        assert sum(start in u.members and start + 3 in u.members for u in units) == 1
    assert sum(unit.distinct for unit in units) == 2 * build_trie([r.tokens for r in rows]).nodes


def break_token(model: Any, token: int) -> None:
    import torch

    with torch.no_grad():
        model.get_input_embeddings().weight[token] = float("nan")


@pytest.mark.parametrize("slots", [1, 2, 20])
def test_a_row_of_no_numbers_fails_alone(slots: int) -> None:
    model, whole = make("llama"), load("llama")
    prompts = draw_prompts()
    eos = load_tokenizer().eos_token_id
    expected = [judge(whole, prompt, eos=eos) for prompt in prompts]
    # One prompt holds the broken token; some completions write it and have to read it then.
    token = expected[1][2]
    prompts.insert(3, [*prompts[3][:-1], token])
    expected.insert(3, [token, token])
    break_token(model, token)
    answers = complete(
        make_generator(model, slots), make_rows(make_generator(model), prompts, Sampling())
    )
    failures = [token in tokens[:-1] for tokens in expected]
    assert 1 < sum(failures) < len(prompts)
    for answer, fails, prompt in zip(answers, failures, prompts, strict=True):
        if fails:
            assert isinstance(answer, Failure)
        else:
            assert as_judged(answer) == judge_answer(whole, prompt, Sampling())


def test_slots_are_halved_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model, prompts = make("llama"), draw_prompts()
    generator = make_generator(model, slots=8)
    rows = make_rows(generator, prompts, Sampling())
    expected = complete(make_generator(load("llama")), rows)
    forward: Callable[..., Any] = model.forward
    seen: list[int] = []

    def forward_two(input_ids: Any = None, **options: Any) -> Any:
        seen.append(input_ids.shape[0])
        if input_ids.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model, "forward", forward_two)
    assert complete(generator, rows) == expected
    assert max(seen) == 8
    seen.clear()
    assert complete(generator, rows) == expected
    assert max(seen) == 2


def test_a_model_that_goes_by_rows_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("llama")
    runner = find_runner(model, LENGTH)
    assert find_decoding_fault(model, runner, LENGTH) is None  # type: ignore[arg-type]
    forward: Callable[..., Any] = model.forward

    def forward_by_first_row(position_ids: Any = None, **options: Any) -> Any:
        if position_ids is not None:
            position_ids = position_ids[:1].expand_as(position_ids)
        return forward(position_ids=position_ids, **options)

    monkeypatch.setattr(model, "forward", lambda ids=None, **options: (
        forward(ids, **options) if ids is not None else forward_by_first_row(**options)
    ))  # fmt: skip
    fault = find_decoding_fault(model, runner, LENGTH)  # type: ignore[arg-type]
    assert fault is not None and "in slots" in fault
