"""Log-probabilities by the text: tokens are counted from the end, whatever a server puts before."""

from __future__ import annotations

import pytest

from llmeval.core import TryAgain
from llmeval.models.served.completions import Echo
from llmeval.models.served.scoring import read_row
from llmeval.models.served.tokenization import Row

ROW = Row("The cat sat", None, len("The cat"))


def echo(tokens: list[str], logprobs: list[float | None]) -> Echo:
    return Echo("The cat sat", tokens, logprobs, logprobs, len(tokens))


def test_a_token_before_the_text_shifts_nothing() -> None:
    plain = read_row(ROW, echo(["The", " cat", " sat"], [None, -2.0, -3.0]), 0)
    marked = read_row(ROW, echo(["<s>", "The", " cat", " sat"], [None, -1.0, -2.0, -3.0]), 0)
    assert (plain.logprob, plain.num_tokens) == (marked.logprob, marked.num_tokens) == (-3.0, 1)


def test_a_token_over_the_boundary_belongs_to_the_continuation() -> None:
    found = read_row(ROW, echo(["The", " ca", "t sat"], [None, -2.0, -3.0]), 0)
    assert (found.logprob, found.num_tokens) == (-3.0, 1)


def test_tokens_that_do_not_spell_the_prompt_are_refused() -> None:
    with pytest.raises(TryAgain, match="do not spell the prompt"):
        read_row(ROW, echo(["The", " cat", " s\ufffdt"], [None, -2.0, -3.0]), 0)
