"""Answers of /v1/completions, echo and its wrong kinds included."""

from __future__ import annotations

from typing import Any

from . import wire
from .language import Generation, Reader, Steps, decode, generate, pieces, walk
from .options import Options
from .wire import ApiError, Json


def answer(body: Json, options: Options, ident: str) -> Json:
    """Return the answer to a completion request; ApiError where it is one."""
    model = wire.check_model(body, options)
    prompts = _read_prompts(body.get("prompt"))
    n = wire.read_count(body, "n", 1, 1)
    choices: list[Json] = []
    read = written = 0
    for parts in prompts:
        wire.check_length(len(parts), options, "prompt")
        read += len(parts)
        for index in range(n):
            choice, count = _complete(body, parts, index, n, options)
            written += count
            choices.append({"index": len(choices), **choice})
    return {
        "id": f"cmpl-{ident}",
        "object": "text_completion",
        "created": wire.now(),
        "model": model,
        "choices": choices,
        "usage": wire.usage_of(read, written, options),
    }


def _read_prompts(prompt: Any) -> list[list[str]]:
    """Return the pieces of each prompt: a text, a list of token ids, or a list of either."""
    if isinstance(prompt, str):
        return [pieces(prompt)]
    if not isinstance(prompt, list) or not prompt:
        raise ApiError(400, "Invalid 'prompt': expected a text or an array.", param="prompt")
    if isinstance(prompt[0], int):
        try:
            return [[decode(token) for token in prompt]]
        except (TypeError, ValueError) as error:
            raise ApiError(400, f"Invalid 'prompt': {error}", param="prompt") from error
    return [parts for each in prompt for parts in _read_prompts(each)]


def _complete(
    body: Json, parts: list[str], index: int, n: int, options: Options
) -> tuple[Json, int]:
    """Return a choice without its index, and how many tokens it took."""
    prompt = "".join(parts)
    order, argument = wire.read_order(prompt, options, "prompt")
    echo = bool(body.get("echo")) and options.echo != "ignored"
    asked = wire.read_count(body, "max_tokens", 16, 0)
    # a server that does not know echo does not know max_tokens 0 either
    least = 1 if body.get("echo") and not echo else 0
    top = _read_top(body, options)
    read, reader = [], Reader(prompt, whole=prompt)
    if echo:
        # by the pieces as they came: token ids may split a text otherwise than we would
        read, reader = walk(parts, prompt)
    given = generate(
        reader,
        min(max(asked, least), options.max_model_len - len(parts)),
        stops=wire.read_stops(body, options),
        salt=wire.salt_of(body, index, n),
        endless=order == "long" or bool(body.get("ignore_eos")),
        said=wire.said_by(order, argument),
    )
    logprobs = None
    if top is not None and not (echo and options.echo == "missing"):
        logprobs = _scored(read, reader, given, top, options, shifted=echo)
    choice = {
        "text": (prompt if echo else "") + given.text,
        "logprobs": logprobs,
        "finish_reason": "content_filter" if order == "filter" else given.finish,
    }
    return choice, given.tokens


def _read_top(body: Json, options: Options) -> int | None:
    top = wire.read_top(body, "logprobs", options)
    return None if body.get("logprobs") is None or options.no_logprobs else top


def _scored(
    read: Steps, reader: Reader, given: Generation, top: int, options: Options, *, shifted: bool
) -> Json:
    """Return the legacy shape: parallel lists, the first token of a whole text unscored."""
    steps = [*read, *given.steps]
    scores: list[float | None] = [spread.logprob(piece) for piece, spread in steps]
    tops: list[Json | None] = [
        {**dict(spread.top(top)), piece: score}
        for (piece, spread), score in zip(steps, scores, strict=True)
    ]
    if shifted and options.echo == "shifted" and steps:
        # what comes after the end is plausible too, so that only a comparison can tell
        after = reader.spread()
        best = after.ranked(0)
        scores = [*scores[1:], after.logprob(best)]
        tops = [*tops[1:], {**dict(after.top(top)), best: after.logprob(best)}]
    elif read:
        scores[0] = tops[0] = None
    offsets, offset = [], 0
    for piece, _ in steps:
        offsets.append(offset)
        offset += len(piece)
    return {
        "tokens": [piece for piece, _ in steps],
        "token_logprobs": scores,
        "top_logprobs": None if options.no_top_logprobs else tops,
        "text_offset": offsets,
    }
