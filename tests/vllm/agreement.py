"""Holds a vLLM model's answers to those of the Hugging Face backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmeval.core import Loglikelihood, Request
from tests.models.asking import ask

WORDS = (" the", " cat", " of", " back", " a", " and", " in", " to", " he", " is", " on")
TOLERANCE = 1e-3  # of a sum of log-probabilities in float32


def check_agreement(model: Any, reference: Any, requests: Sequence[Request]) -> list[Any]:
    """Ask both; log-probabilities may differ by rounding, all else is equal."""
    answers = ask(model, requests)
    for request, one, other in zip(requests, answers, ask(reference, requests), strict=True):
        if isinstance(other, Loglikelihood):
            tolerance = max(TOLERANCE, 1e-6 * abs(other.logprob))
            assert one.logprob == pytest.approx(other.logprob, abs=tolerance), request
            one, other = (
                (a.is_greedy, a.num_tokens, a.prompt_tokens, a.truncated, a.boundary)
                for a in (one, other)
            )
        assert one == other, request
    return answers


def make_text(tokenizer: Any, length: int, start: int = 0) -> str:
    """Return a text of exactly so many tokens, of words that are one token each."""
    text = "".join(WORDS[(start + i * i) % len(WORDS)] for i in range(length))
    assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == length
    return text
