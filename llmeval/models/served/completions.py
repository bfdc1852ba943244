"""Completions of a text: ``POST /completions``, which also says how probable a prompt is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from llmeval.core.errors import TryAgain
from llmeval.core.requests import GenerateRequest
from llmeval.core.responses import Generation
from llmeval.models.served.dialect import (
    Dialect,
    make_answer,
    read_choices,
    read_finish,
    share_tokens,
)

PATH = "/completions"


def encode(dialect: Dialect, requests: Sequence[GenerateRequest]) -> dict[str, Any]:
    """Return the body that asks for the draws of one question."""
    first = requests[0]
    body: dict[str, Any] = {
        "model": dialect.model,
        "prompt": first.prompt,
        "max_tokens": dialect.limit(first),
        **dialect.sampling(requests),
    }
    if stops := dialect.stops(first):
        body["stop"] = stops
    if len(requests) > 1:
        body["n"] = len(requests)
    return body | dict(dialect.extra_body)


def decode(requests: Sequence[GenerateRequest], body: Mapping[str, Any]) -> list[Generation]:
    """Return the answers to the draws of one question.

    Raises:
        TryAgain: the answer is not whole.
    """
    choices = read_choices(body, len(requests))
    shares = share_tokens(body.get("usage"), len(requests))
    answers = []
    for request, choice, tokens in zip(requests, choices, shares, strict=True):
        text = choice.get("text")
        if not isinstance(text, str):
            raise TryAgain("a choice has no text")
        finish = read_finish(choice.get("finish_reason"), text)
        answers.append(make_answer(request, text, finish, tokens=tokens))
    return answers


@dataclass(frozen=True, slots=True)
class Echo:
    """A prompt with the log-probability of each of its tokens.

    Attributes:
        text: what came back.
        tokens: texts of the tokens.
        logprobs: of each token after those before it; None for the first.
        best: the most probable token's log-probability at each place; None for the first.
        prompt_tokens: as the server counted them.
    """

    text: str
    tokens: Sequence[str]
    logprobs: Sequence[float | None]
    best: Sequence[float | None]
    prompt_tokens: int


def encode_echo(
    dialect: Dialect, prompt: str | Sequence[int], *, new_tokens: int, logprobs: int = 1
) -> dict[str, Any]:
    """Return the body that asks how probable a prompt is.

    Args:
        prompt: a text or tokens.
        new_tokens: to be generated behind it; some servers want one at least.
    """
    return {
        "model": dialect.model,
        "prompt": prompt,
        "max_tokens": new_tokens,
        "temperature": 0.0,
        "echo": True,
        "logprobs": logprobs,
        **dialect.extra_body,
    }


def encode_next(
    dialect: Dialect, prompt: str | Sequence[int], *, new_tokens: int = 1, logprobs: int = 1
) -> dict[str, Any]:
    """Return the body that asks for the next tokens and how probable they are."""
    body = encode_echo(dialect, prompt, new_tokens=new_tokens, logprobs=logprobs)
    return {name: value for name, value in body.items() if name != "echo"}


def decode_echo(body: Mapping[str, Any]) -> Echo:
    """Return what an answer with log-probabilities says.

    Raises:
        TryAgain: the answer is not whole.
        ValueError: there are no log-probabilities, or they do not fit the tokens.
    """
    (choice,) = read_choices(body, 1)
    text, logprobs = choice.get("text"), choice.get("logprobs")
    if not isinstance(text, str):
        raise TryAgain("a choice has no text")
    if not isinstance(logprobs, dict):
        raise ValueError("log-probabilities are missing")
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not _all_are(tokens, str) or not _all_are(values, int, float, type(None)):
        raise ValueError("log-probabilities are no lists of tokens and numbers")
    if len(tokens) != len(values):
        raise ValueError("log-probabilities do not fit the tokens")
    tops = logprobs.get("top_logprobs")
    if not isinstance(tops, list) or len(tops) != len(tokens):
        tops = [None] * len(tokens)
    (counted,) = share_tokens(body.get("usage"), 1)
    return Echo(
        text,
        tokens,
        [None if value is None else float(value) for value in values],
        [_best(top, value) for top, value in zip(tops, values, strict=True)],
        counted.prompt,
    )


def _all_are(values: Any, *kinds: type) -> TypeGuard[list[Any]]:
    return isinstance(values, list) and all(
        isinstance(value, kinds) and not isinstance(value, bool) for value in values
    )


def _best(top: Any, own: float | None) -> float | None:
    """Return the log-probability of the most probable token; None where nothing tells."""
    values = (
        [v for v in top.values() if isinstance(v, int | float)] if isinstance(top, dict) else []
    )
    return max(values) if values and own is not None else None


TOKEN_PREFIX = "token_id:"  # how vLLM names a token by its id


def encode_wanted(dialect: Dialect, prompt: Sequence[int], wanted: Sequence[int]) -> dict[str, Any]:
    """Return the body that asks how probable each of some tokens is as the next one (vLLM)."""
    return {
        **encode_next(dialect, prompt),
        "logprob_token_ids": list(wanted),
        "return_tokens_as_token_ids": True,
    }


@dataclass(frozen=True, slots=True)
class Next:
    """What may come next.

    Attributes:
        best: the most probable token.
        logprobs: by token, those that were asked for and the best one.
        prompt_tokens: as the server counted them.
    """

    best: int
    logprobs: Mapping[int, float]
    prompt_tokens: int


def decode_wanted(body: Mapping[str, Any]) -> Next:
    """Return what an answer says of the next token.

    Raises:
        TryAgain: the answer is not whole.
        ValueError: it does not name tokens by their ids.
    """
    echo = decode_echo(body)
    tops = read_choices(body, 1)[0]["logprobs"].get("top_logprobs")
    if len(echo.tokens) != 1 or not isinstance(tops, list) or not isinstance(tops[0], dict):
        raise ValueError("the answer has no alternatives of its one token")
    logprobs = {_token_id(name): float(value) for name, value in tops[0].items()}
    return Next(_token_id(echo.tokens[0]), logprobs, echo.prompt_tokens)


def _token_id(name: str) -> int:
    if not name.startswith(TOKEN_PREFIX):
        raise ValueError("the answer does not name tokens by their ids")
    return int(name.removeprefix(TOKEN_PREFIX))
