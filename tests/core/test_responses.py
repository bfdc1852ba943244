"""A response survives being plain JSON data."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Failure, Generation, Loglikelihood, Response
from llmeval.core.responses import FinishReason, from_plain, to_plain

counts = st.integers(0, 2**40)
loglikelihoods = st.builds(
    Loglikelihood,
    logprob=st.floats(allow_nan=False),
    is_greedy=st.booleans(),
    num_tokens=counts,
    prompt_tokens=counts,
    truncated=counts,
    boundary=st.none() | st.just("separate"),
)
generations = st.builds(
    Generation,
    text=st.text(),
    finish_reason=st.sampled_from(get_args(FinishReason)),
    prompt_tokens=counts,
    completion_tokens=counts,
    truncated=counts,
    reasoning=st.none() | st.text(),
)
responses = loglikelihoods | generations


@given(responses | st.builds(Failure, st.text()))
def test_it_comes_back_as_it_went(response: Response) -> None:
    assert from_plain(to_plain(response)) == response
    assert from_plain(json.loads(json.dumps(to_plain(response)))) == response


def test_every_response_can_be_counted() -> None:
    for response in (Loglikelihood(-1.0, True, 1), Generation("x"), Failure("no")):
        assert response.prompt_tokens == response.completion_tokens == response.truncated == 0
