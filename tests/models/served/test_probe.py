"""A server's log-probabilities are used only where they prove right."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from llmeval.core import TryAgain
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.probe import (
    TEXTS,
    EchoVerdict,
    offers_top_logprobs,
    takes_wanted_tokens,
    try_echo,
)
from llmeval.models.served.transport import Received, Transport, TrialFailed
from tests.support.mock_openai.launch import MockServer

DIALECT = Dialect("mock-model")


def run(mock: MockServer, probe: Any, *arguments: Any) -> Any:
    async def job() -> Any:
        transport = Transport(mock.url, {}, {})
        try:
            return await probe(transport, DIALECT, *arguments)
        finally:
            await transport.hang_up()

    return asyncio.run(job())


def echo(mock: MockServer, **options: Any) -> EchoVerdict:
    mock.set(**options)
    verdict = run(mock, try_echo)
    assert isinstance(verdict, EchoVerdict)
    return verdict


def test_a_right_echo_is_used(mock: MockServer) -> None:
    verdict = echo(mock)
    assert verdict.refused is None
    assert verdict.new_tokens == 0
    assert verdict.worst == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"echo": "shifted"}, "other log-probabilities than generation"),
        ({"echo": "missing"}, "log-probabilities are missing"),
        ({"echo": "ignored"}, "echo is ignored: the prompt does not come back"),
        ({"no_logprobs": True}, "log-probabilities are missing"),
        ({"no_completions": True}, "it does not answer: .*404"),
        ({"fault_rate": 1.0, "faults": ("empty-choices",)}, "it does not answer: .*choices"),
        ({"max_model_len": 12}, "it refuses: .*maximum context length"),
    ],
)
def test_an_echo_that_is_not_right_is_refused_with_the_reason(
    mock: MockServer, options: dict[str, Any], said: str
) -> None:
    refused = echo(mock, **options).refused
    assert refused is not None
    assert re.search(said, refused), refused
    assert "\n" not in refused


def test_a_server_that_does_not_answer_a_trial_gets_no_verdict(mock: MockServer) -> None:
    """Else a passing fault would change the form in which a run asks."""
    with pytest.raises(TrialFailed, match=r"did not answer a trial: .*not JSON"):
        echo(mock, fault_rate=1.0, faults=("invalid-json",))


def test_an_echo_that_does_not_tell_the_best_token_is_not_taken_for_whole(
    mock: MockServer,
) -> None:
    assert echo(mock, no_top_logprobs=True).refused is not None


class Altered(Transport):
    """Changes what a server answers to an echo.

    Args:
        refuse_zero: takes no echo without a new token.
        change: gets the choice of an echo.
    """

    def __init__(self, url: str, change: Any = None, *, refuse_zero: bool = False) -> None:
        super().__init__(url, {}, {})
        self._change = change
        self._refuse_zero = refuse_zero
        self.echoes = 0

    async def post(self, path: str, body: Any) -> Received:
        if body.get("echo"):
            self.echoes += 1
            if self._refuse_zero and body["max_tokens"] == 0:
                raise TryAgain("max_tokens must be at least 1")
        received = await super().post(path, body)
        if body.get("echo") and self._change is not None:
            self._change(received.body["choices"][0]["logprobs"])
        return received


def try_altered(mock: MockServer, change: Any = None, **more: Any) -> EchoVerdict:
    async def job() -> EchoVerdict:
        transport = Altered(mock.url, change, **more)
        try:
            return await try_echo(transport, DIALECT)
        finally:
            await transport.hang_up()

    return asyncio.run(job())


def test_a_server_that_wants_a_new_token_gets_one(mock: MockServer) -> None:
    verdict = try_altered(mock, refuse_zero=True)
    assert (verdict.refused, verdict.new_tokens) == (None, 1)


def scaled(logprobs: Any) -> None:
    """Another base of the logarithm."""
    values = logprobs["token_logprobs"]
    logprobs["token_logprobs"] = [v and v / 2.302585 for v in values]


def uniform(logprobs: Any) -> None:
    logprobs["token_logprobs"] = [v and -3.0 for v in logprobs["token_logprobs"]]


def zeros(logprobs: Any) -> None:
    logprobs["token_logprobs"] = [0.0 for _ in logprobs["token_logprobs"]]


def halves(logprobs: Any) -> None:
    """Every other token has none."""
    values = logprobs["token_logprobs"]
    logprobs["token_logprobs"] = [v if i % 2 else None for i, v in enumerate(values)]


def one_token(logprobs: Any) -> None:
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        logprobs[name] = logprobs[name][-1:]


def shifted_right(logprobs: Any) -> None:
    values = logprobs["token_logprobs"]
    logprobs["token_logprobs"] = [None, None, *values[1:-1]]


def one_off(logprobs: Any) -> None:
    """One of four generated tokens is 0.18 nats off, which is little on average."""
    values = logprobs["token_logprobs"]
    if logprobs["tokens"][0] == "One":  # behind the other text the language says one token only
        logprobs["token_logprobs"] = [*values[:-1], values[-1] - 0.18]


def all_off(logprobs: Any) -> None:
    """Every token is 0.1 nats off, which is little for one."""
    logprobs["token_logprobs"] = [v and v - 0.1 for v in logprobs["token_logprobs"]]


@pytest.mark.parametrize(
    "change",
    [scaled, uniform, zeros, halves, one_token, shifted_right, one_off, all_off],
)
def test_numbers_that_only_look_right_are_refused(mock: MockServer, change: Any) -> None:
    assert try_altered(mock, change).refused is not None


def slightly(logprobs: Any) -> None:
    """As another kernel in half precision does."""
    values = logprobs["token_logprobs"]
    off = (0.03, -0.02, 0.01)
    logprobs["token_logprobs"] = [v and v + off[i % 3] for i, v in enumerate(values)]


def test_numbers_of_another_kernel_are_used(mock: MockServer) -> None:
    verdict = try_altered(mock, slightly)
    assert verdict.refused is None
    assert 0.01 < verdict.worst < 0.05


@pytest.mark.parametrize(
    ("options", "offers"),
    [
        ({}, True),
        ({"no_top_logprobs": True}, False),
        ({"no_logprobs": True}, False),
        ({"no_chat": True}, False),
        ({"reasoning": True}, False),
        ({"max_top_logprobs": 2}, False),  # it refuses five
    ],
)
def test_alternatives_of_a_chats_first_token_are_tried(
    mock: MockServer, options: dict[str, Any], offers: bool
) -> None:
    mock.set(**options)
    assert run(mock, offers_top_logprobs) is offers


def test_a_server_that_ignores_wanted_tokens_is_told_apart(mock: MockServer) -> None:
    """The mock server knows no such field, as most servers do not."""
    tokens = [ord(c) for c in TEXTS[0]]
    assert run(mock, takes_wanted_tokens, tokens) is False
