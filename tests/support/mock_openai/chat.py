"""Answers of /v1/chat/completions."""

from __future__ import annotations

from . import wire
from .language import Generation, Reader, asks_letter, generate, pieces
from .manners import in_manner
from .options import Options
from .wire import ApiError, Json


def answer(body: Json, options: Options, ident: str) -> Json:
    """Return the answer to a chat request; ApiError where it is one."""
    model = wire.check_model(body, options)
    wire.refuse_parameters(body, options)
    prompt, question = wire.render(body.get("messages"))
    order, argument = wire.read_order(question, options, "messages")
    tokens = len(pieces(prompt))
    wire.check_length(tokens, options, "messages")
    top = _read_top(body, options)
    budget = _read_budget(body, options.max_model_len - tokens)
    stops = wire.read_stops(body, options)
    n = wire.read_count(body, "n", 1, 1)
    if order == "say":
        argument = in_manner(argument, prompt, ident, options)
    choices, written, thought_tokens = [], 0, 0
    for index in range(n):
        thought = wire.think(prompt, budget, options)
        given = generate(
            Reader(prompt + thought.text),
            budget - thought.tokens,
            stops=stops,
            salt=wire.salt_of(body, index, n),
            letter=asks_letter(question),
            endless=order == "long" or bool(body.get("ignore_eos")),
            said=wire.said_by(order, argument),
        )
        written += given.tokens + thought.tokens
        thought_tokens += thought.tokens
        choice = _choice(index, given, order, top, options)
        if options.reasoning:
            choice["message"]["reasoning_content"] = thought.text
        choices.append(choice)
    return {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion",
        "created": wire.now(),
        "model": model,
        "choices": choices,
        "usage": wire.usage_of(tokens, written, options, thought_tokens),
        "system_fingerprint": options.system_fingerprint,
    }


def _read_top(body: Json, options: Options) -> int | None:
    """Return how many alternatives to give, None for no logprobs."""
    top = wire.read_top(body, "top_logprobs", options)
    if not body.get("logprobs"):
        if body.get("top_logprobs") is not None:
            message = "Invalid 'top_logprobs': 'logprobs' must be true to use it."
            raise ApiError(400, message, param="top_logprobs")
        return None
    return None if options.no_logprobs else top


def _read_budget(body: Json, room: int) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return min(room, wire.read_count(body, name, room, 1))
    return room


def _choice(index: int, given: Generation, order: str, top: int | None, options: Options) -> Json:
    message: Json = {"role": "assistant", "content": given.text, "refusal": None}
    finish = given.finish
    if order == "filter":
        finish = "content_filter"
    elif order == "tool":
        finish = "tool_calls"
        call = {"name": "lookup", "arguments": '{"word":"the"}'}
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{index}", "type": "function", "function": call}]
    logprobs = None if top is None else {"content": _scored(given, top, options), "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def _scored(given: Generation, top: int, options: Options) -> list[Json]:
    count = 0 if options.no_top_logprobs else top
    return [
        {
            **_token(piece, spread.logprob(piece)),
            "top_logprobs": [_token(*each) for each in spread.top(count)],
        }
        for piece, spread in given.steps
    ]


def _token(piece: str, logprob: float) -> Json:
    return {"token": piece, "logprob": logprob, "bytes": list(piece.encode())}
