"""Whether a server says how probable a prompt is, and says it right.

A trial generates a few tokens behind known texts, with their log-probabilities, and has the whole
echoed: the same tokens must get the same numbers. Servers were seen that shift them by a token
(llama.cpp), leave them out, or ignore ``echo`` (transformers serve); numbers from such a server
would be wrong without looking so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmeval.core.errors import TryAgain, UsageError
from llmeval.core.requests import GenerateRequest, Sampling
from llmeval.models.served import chat
from llmeval.models.served.completions import (
    PATH,
    Echo,
    decode_echo,
    decode_wanted,
    encode_echo,
    encode_next,
    encode_wanted,
)
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.transport import QuestionRefused, Transport, TrialFailed

TEXTS = (
    "The quick brown fox jumps over the lazy dog. The capital of France is",
    "One day a little girl went to the park with her mother. She saw a",
)
_NEW = 4  # tokens generated behind each text
_TOLERANCE = 0.15  # nats: half precision and another kernel
_TOGETHER = 0.05  # nats on average: a shifted echo is off by more than that somewhere


@dataclass(frozen=True, slots=True)
class EchoVerdict:
    """What the trial came to.

    Attributes:
        refused: why the server's echo cannot be used; None where it can.
        new_tokens: the fewest new tokens that it takes with an echo, 0 or 1.
        worst: largest difference in nats between the two ways.
    """

    refused: str | None
    new_tokens: int = 0
    worst: float = 0.0


async def try_echo(transport: Transport, dialect: Dialect) -> EchoVerdict:
    """Try a server's echo."""
    new_tokens, worst = 0, 0.0
    try:
        for text in TEXTS:
            said = await _ask(transport, encode_next(dialect, text, new_tokens=_NEW))
            whole = text + said.text
            try:
                echo = await _ask(transport, encode_echo(dialect, whole, new_tokens=new_tokens))
            except (UsageError, QuestionRefused):
                if new_tokens:
                    raise
                new_tokens = 1  # some take no echo without a token behind it
                echo = await _ask(transport, encode_echo(dialect, whole, new_tokens=1))
            if (fault := _find_fault(whole, said, echo, new_tokens)) is not None:
                return EchoVerdict(fault)
            worst = max(worst, max(_differences(said, echo, new_tokens)))
    except TrialFailed:
        raise
    except QuestionRefused as error:
        return EchoVerdict(f"it refuses: {error.reason}")
    except (UsageError, TryAgain) as error:
        return EchoVerdict(f"it does not answer: {error}")
    except ValueError as error:
        return EchoVerdict(str(error))
    return EchoVerdict(None, new_tokens, worst)


async def _ask(transport: Transport, body: dict[str, object]) -> Echo:
    return decode_echo((await transport.try_out(PATH, body)).body)


def _find_fault(whole: str, said: Echo, echo: Echo, new_tokens: int) -> str | None:
    """Return what is wrong with an echo, or None."""
    if not echo.text.startswith(whole):
        return "echo is ignored: the prompt does not come back"
    known = len(echo.tokens) - new_tokens
    if known < len(said.tokens) + 2:
        return "the echo has fewer tokens than the text"
    if any(value is None for value in echo.logprobs[1:known]):
        return "the echo leaves log-probabilities out"
    if any(value is None for value in echo.best[1:known]):
        return "the echo does not tell the most probable token"
    differences = _differences(said, echo, new_tokens)
    if max(differences) > _TOLERANCE or sum(differences) / len(differences) > _TOGETHER:
        return (
            f"the echo gives other log-probabilities than generation, by {max(differences):.2g} "
            "nats: it may be shifted by a token"
        )
    return None


def _differences(said: Echo, echo: Echo, new_tokens: int) -> list[float]:
    """Return how far apart the two ways are at each generated token, in nats."""
    end = len(echo.logprobs) - new_tokens
    echoed = echo.logprobs[end - len(said.logprobs) : end]
    pairs = zip(said.logprobs, echoed, strict=True)
    found = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    return found or [math.inf]


async def takes_wanted_tokens(transport: Transport, dialect: Dialect, tokens: list[int]) -> bool:
    """Whether a server tells of wanted next tokens, as its echo does; others ignore the field.

    Args:
        tokens: of a text: the last one is wanted after the others.
    """
    try:
        body = encode_wanted(dialect, tokens[:-1], tokens[-1:])
        found = decode_wanted((await transport.try_out(PATH, body)).body)
        echo = await _ask(transport, encode_echo(dialect, tokens, new_tokens=1))
    except TrialFailed:
        raise
    except (UsageError, TryAgain, QuestionRefused, ValueError):
        return False
    value, echoed = found.logprobs.get(tokens[-1]), echo.logprobs[len(tokens) - 1]
    return value is not None and echoed is not None and abs(value - echoed) < _TOLERANCE


async def offers_top_logprobs(transport: Transport, dialect: Dialect) -> bool:
    """Whether a chat's first token comes with its alternatives."""
    sampling = Sampling(max_tokens=1)
    request = GenerateRequest("Answer with the letter A.", sampling, top_logprobs=5)
    try:
        received = await transport.try_out(chat.PATH, chat.encode(dialect, [request]))
        (answer,) = chat.decode([request], received.body)
    except TrialFailed:
        raise
    except (UsageError, TryAgain, QuestionRefused):
        return False
    return bool(answer.top_logprobs) and len(answer.top_logprobs or ()) > 1
