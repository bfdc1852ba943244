"""Answers of /v1/responses."""

from __future__ import annotations

from typing import Any

from . import wire
from .language import Generation, Reader, asks_letter, generate, pieces
from .options import Options
from .wire import Json


def answer(body: Json, options: Options, ident: str) -> Json:
    """Return the response to an input; ApiError where it is one."""
    model = wire.check_model(body, options)
    if options.reasoning and body.get("temperature") is not None:
        raise wire.unsupported("temperature")
    for name in ("max_tokens", "max_completion_tokens"):
        if name in body:
            raise wire.unsupported(name, "max_output_tokens")
    prompt, question = wire.render(_messages(body))
    order, argument = wire.read_order(question, options, "input")
    tokens = len(pieces(prompt))
    wire.check_length(tokens, options, "input")
    budget = wire.read_count(body, "max_output_tokens", options.max_model_len - tokens, 1)
    thought = wire.think(prompt, budget, options)
    given = generate(
        Reader(prompt + thought.text),
        budget - thought.tokens,
        salt=wire.salt_of(body, 0, 1),
        letter=asks_letter(question),
        endless=order == "long",
        said=wire.said_by(order, argument),
    )
    reason = "content_filter" if order == "filter" else None
    if given.finish == "length":
        reason = "max_output_tokens"
    return {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": wire.now(),
        "model": model,
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _output(thought, given, order, reason, ident, options),
        "usage": _usage(tokens, thought.tokens, given.tokens, options),
    }


def _messages(body: Json) -> list[Any]:
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if isinstance(messages, list) and body.get("instructions"):
        return [{"role": "system", "content": body["instructions"]}, *messages]
    return messages or []


def _output(
    thought: Generation,
    given: Generation,
    order: str,
    reason: str | None,
    ident: str,
    options: Options,
) -> list[Json]:
    """Return the output items; a budget that the thought took leaves no message."""
    output: list[Json] = []
    if options.reasoning:
        summary = [{"type": "summary_text", "text": thought.text}]
        output.append({"id": f"rs_{ident}", "type": "reasoning", "summary": summary})
    if order == "tool":
        call = {"name": "lookup", "arguments": '{"word":"the"}', "call_id": f"call_{ident}"}
        output.append({"id": f"fc_{ident}", "type": "function_call", **call})
    elif given.tokens or not reason:
        part = {"type": "output_text", "text": given.text, "annotations": []}
        output.append(
            {
                "id": f"msg_{ident}",
                "type": "message",
                "role": "assistant",
                "status": "incomplete" if reason else "completed",
                "content": [part],
            }
        )
    return output


def _usage(read: int, thought: int, given: int, options: Options) -> Json:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": wire.cached(read, options)},
        "output_tokens": thought + given,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + thought + given,
    }
