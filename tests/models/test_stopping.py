"""Stop strings are found as they appear; the judge decodes everything anew at every token."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.models.hf.stopping import StopWatch
from tests.models.conftest import train_tokenizer


@functools.cache
def load_tokenizer() -> Any:
    return train_tokenizer({"eos_token": "</s>"})


@given(
    tokens=st.lists(st.integers(0, 399), min_size=1, max_size=25),
    text=st.text(st.sampled_from("aeÄ世界🦊\n the\ufffd"), max_size=12),
    stops=st.lists(
        st.text(st.sampled_from("aeÄ世🦊\n t\ufffd"), min_size=1, max_size=3), max_size=3
    ),
    eos=st.sets(st.integers(0, 399), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_stops_are_found_at_the_token_that_completes_them(
    tokens: list[int], text: str, stops: list[str], eos: set[int]
) -> None:
    tokenizer = load_tokenizer()
    tokens = tokens[:5] + tokenizer.encode(text) + tokens[5:]
    watch = StopWatch(tokenizer, stops, eos)
    for length in range(1, len(tokens) + 1):
        whole = tokenizer.decode(tokens[:length])
        expected = tokens[length - 1] in eos or any(stop in whole for stop in stops)
        assert watch.find_done([tokens[:length]]) == [expected]
        if expected:  # a row is not asked about again
            return


def test_no_rows_are_no_answers() -> None:
    assert StopWatch(load_tokenizer(), ["a"], set()).find_done([]) == []
