"""Questions become prompts and their readings answers, whatever shares what. Needs no vLLM."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the rows come from the Hugging Face backend")

import math
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Loglikelihood
from llmeval.models.hf.tokens import Encoded, Span
from llmeval.models.vllm.probes import Probe, Reading
from llmeval.models.vllm.scoring import ProbePlan

VOCABULARY = 5


def logits(prefix: list[int]) -> list[float]:
    """A language model without weights: its logits are a hash of what it has read."""
    return [zlib.crc32(bytes([*prefix, token])) / 2**30 for token in range(VOCABULARY)]


def logprobs(prefix: list[int]) -> list[float]:
    raw = logits(prefix)
    total = math.log(sum(map(math.exp, raw)))
    return [value - total for value in raw]


def read(probe: Probe) -> Reading:
    own = []
    for place in range(len(probe.prompt) - probe.inner, len(probe.prompt)):
        before = logprobs(probe.prompt[:place])
        token = probe.prompt[place]
        own.append((before[token], before[token] == max(before)))
    after = logprobs(probe.prompt)
    wanted = {token: after[token] for token in probe.wanted}
    return Reading(after.index(max(after)), wanted, own)


def score_plainly(tokens: list[int], count: int) -> tuple[float, bool]:
    """Score the last tokens one by one, by hand."""
    total, greedy = 0.0, True
    for place in range(len(tokens) - count, len(tokens)):
        before = logprobs(tokens[:place])
        total += before[tokens[place]]
        greedy &= before[tokens[place]] == max(before)
    return total, greedy


def make_question(tokens: list[int], count: int) -> Encoded:
    array = np.array(tokens, np.int32)
    return Encoded((Span(array[:-1], array[-count:]),))


ROWS = st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=7).flatmap(
    lambda tokens: st.tuples(st.just(tokens), st.integers(1, len(tokens) - 1))
)


@given(st.lists(ROWS, min_size=1, max_size=12), st.integers(0, 4), st.booleans())
def test_answers_are_those_of_scoring_token_by_token(
    rows: list[tuple[list[int], int]], block: int, inside: bool
) -> None:
    questions = [make_question(*row) for row in rows]
    plan = ProbePlan(questions, block, inside)
    probes = plan.list_probes()
    prompts = [probe.prompt for probe in probes]
    assert prompts == sorted(prompts) and len(set(map(tuple, prompts))) == len(prompts)
    for row, answer in zip(rows, plan.collect(questions, list(map(read, probes))), strict=True):
        assert isinstance(answer, Loglikelihood)
        total, greedy = score_plainly(*row)
        assert answer.logprob == pytest.approx(total)
        assert (answer.is_greedy, answer.num_tokens) == (greedy, row[1])


def test_one_prompt_serves_all_one_token_continuations() -> None:
    questions = [make_question([1, 2, 3, choice], 1) for choice in range(4)]
    assert ProbePlan(questions, block=2).list_probes() == [Probe([1, 2, 3], [0, 1, 2, 3])]


def test_a_context_is_read_apart_only_where_it_fills_a_block() -> None:
    questions = [make_question([1, 2, 3, 4, 0], 3), make_question([1, 2, 4, 4, 1], 3)]
    assert ProbePlan(questions, block=2).list_probes() == [
        Probe([1, 2], [3, 4]),
        Probe([1, 2, 3, 4], [0], inner=1),
        Probe([1, 2, 4, 4], [1], inner=1),
    ]
    for block in (0, 3):
        assert ProbePlan(questions, block).list_probes() == [
            Probe([1, 2, 3, 4], [0], inner=2),
            Probe([1, 2, 4, 4], [1], inner=2),
        ]


def test_tokens_are_asked_for_one_by_one_where_a_prompts_own_are_not_told() -> None:
    questions = [make_question([1, 2, 3, 4, 0], 3)]
    assert ProbePlan(questions, block=2, inside=False).list_probes() == [
        Probe([1, 2], [3]),
        Probe([1, 2, 3], [4]),
        Probe([1, 2, 3, 4], [0]),
    ]


def test_logits_that_are_no_numbers_are_a_failure() -> None:
    questions = [make_question([1, 2], 1)]
    answer = ProbePlan(questions, block=2).collect(questions, [Reading(0, {2: math.nan}, [])])
    assert "not numbers" in answer[0].reason
