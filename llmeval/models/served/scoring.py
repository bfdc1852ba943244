"""Log-probabilities from a server.

A prompt with its continuation is echoed, token by token; a server then reads every prompt whole
(vLLM's prefix cache is not read for an echo). Where it takes a list of wanted tokens, choices of
one token each need no echo: one new token behind their context, which the cache may hold, tells of
all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmeval.core.errors import TryAgain
from llmeval.core.requests import Request
from llmeval.core.responses import Failure, Loglikelihood
from llmeval.models.served.completions import (
    PATH,
    Echo,
    decode_echo,
    decode_wanted,
    encode_echo,
    encode_wanted,
)
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.tokenization import ByRules, Row, Rows, Scored, Tokenization
from llmeval.models.served.transport import Transport


class EchoScorer:
    """Scores continuations by a server's echo.

    Args:
        new_tokens: the fewest that the server takes with an echo.
    """

    def __init__(
        self,
        transport: Transport,
        dialect: Dialect,
        tokenization: Tokenization,
        new_tokens: int,
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._tokenization = tokenization
        self._new_tokens = new_tokens

    async def score(self, request: Scored) -> tuple[Loglikelihood | Failure, float]:
        """Return a question's answer, and seconds that the server wants to be left alone.

        Raises:
            TryAgain, UsageError, QuestionRefused: as :meth:`Transport.post`.
        """
        encoded = await self._tokenization.encode(request)
        if isinstance(encoded, Failure):
            return encoded, 0.0
        parts: list[Loglikelihood] = []
        wait = 0.0
        for row in encoded.rows:
            if len(row.prompt) < 2 and not isinstance(row.prompt, str):
                return Failure("the server gives the first token no log-probability"), wait
            body = encode_echo(self._dialect, row.prompt, new_tokens=self._new_tokens)
            received = await self._transport.post(PATH, body)
            wait = max(wait, received.wait)
            parts.append(read_row(row, _decode(received.body), self._new_tokens))
        return _join(parts, encoded), wait


def _decode(body: dict[str, object]) -> Echo:
    try:
        return decode_echo(body)
    except ValueError as error:
        raise TryAgain(str(error)) from None


def read_row(row: Row, echo: Echo, new_tokens: int) -> Loglikelihood:
    """Return the sum over the tokens that are asked about."""
    end = len(echo.logprobs) - new_tokens
    start = _find_start(row, echo, end)
    values = echo.logprobs[start:end]
    if not values or any(value is None for value in values):
        raise TryAgain("log-probabilities are missing")
    found = [float(value) for value in values if value is not None]
    best = echo.best[start:end]
    greedy = all(b is not None and v >= b for v, b in zip(found, best, strict=True))
    if any(math.isnan(value) for value in found):
        raise TryAgain("a log-probability is not a number")
    return Loglikelihood(math.fsum(found), greedy, len(found), echo.prompt_tokens or end)


def _find_start(row: Row, echo: Echo, end: int) -> int:
    """Return the first token that is asked about; one that spans the boundary belongs to it."""
    if row.targets is not None:
        if not isinstance(row.prompt, str) and end != len(row.prompt):
            raise TryAgain(f"the echo has {end} tokens instead of {len(row.prompt)}")
        return end - row.targets
    # From the end: a token before the text (BOS) and its name then shift nothing.
    assert isinstance(row.prompt, str)
    place = len(row.prompt)
    for index in range(end - 1, -1, -1):
        begin = place - len(echo.tokens[index])
        if begin < 0 or row.prompt[begin:place] != echo.tokens[index]:
            raise TryAgain("the echo's tokens do not spell the prompt: set tokenizer=ID_OR_DIR")
        if begin <= row.start:
            return index if place > row.start else index + 1
        place = begin
    raise TryAgain("the echo does not reach the continuation")


def _join(parts: Sequence[Loglikelihood], encoded: Rows) -> Loglikelihood:
    return Loglikelihood(
        math.fsum(part.logprob for part in parts),
        all(part.is_greedy for part in parts),
        sum(part.num_tokens for part in parts),
        sum(part.prompt_tokens for part in parts),
        encoded.truncated,
        encoded.boundary,
    )


MOST_WANTED = 128
"""Tokens that one call may ask for (vLLM's bound)."""


class NextTokenScorer:
    """Scores choices of one token each behind one context, all with one new token."""

    def __init__(self, transport: Transport, dialect: Dialect, tokenization: ByRules) -> None:
        self._transport = transport
        self._dialect = dialect
        self._tokenization = tokenization

    def find_context(self, request: Request) -> tuple[int, ...] | None:
        """Return the tokens before a continuation of one token; None for all other questions."""
        row = self._row(request) if isinstance(request, Scored) else None
        return None if row is None else tuple(row.prompt[:-1])  # type: ignore[arg-type]

    def _row(self, request: Scored) -> Row | None:
        encoded = self._tokenization.encode_now(request)
        if isinstance(encoded, Failure) or encoded.truncated or encoded.boundary:
            return None
        fits = len(encoded.rows) == 1 and encoded.rows[0].targets == 1
        return encoded.rows[0] if fits and len(encoded.rows[0].prompt) > 1 else None

    async def score(self, requests: Sequence[Scored]) -> tuple[list[Loglikelihood], float]:
        """Return the answers to choices of one context; see :meth:`EchoScorer.score`."""
        rows = [self._row(request) for request in requests]
        prompts = [row.prompt for row in rows if row is not None]
        wanted = [int(prompt[-1]) for prompt in prompts]
        context = [int(token) for token in prompts[0][:-1]]
        body = encode_wanted(self._dialect, context, list(dict.fromkeys(wanted)))
        received = await self._transport.post(PATH, body)
        try:
            found = decode_wanted(received.body)
        except ValueError as error:
            raise TryAgain(str(error)) from None
        if any(token not in found.logprobs for token in wanted):
            raise TryAgain("a wanted token is missing")
        answers = [
            # The context is read once for all choices, so it counts once.
            Loglikelihood(
                found.logprobs[token], token == found.best, 1, 0 if i else found.prompt_tokens
            )
            for i, token in enumerate(wanted)
        ]
        return answers, received.wait
