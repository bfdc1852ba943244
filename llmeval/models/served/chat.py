"""Chat completions: ``POST /chat/completions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.core.errors import TryAgain
from llmeval.core.requests import GenerateRequest
from llmeval.core.responses import Generation
from llmeval.models.served.dialect import (
    Dialect,
    make_answer,
    read_choices,
    read_finish,
    share_tokens,
    split_thought,
)

PATH = "/chat/completions"


def encode(dialect: Dialect, requests: Sequence[GenerateRequest]) -> dict[str, Any]:
    """Return the body that asks for the draws of one question."""
    first = requests[0]
    messages = to_messages(first)
    # Reasoning models count thoughts as well, under a name of its own.
    limit = "max_completion_tokens" if dialect.reasoning else "max_tokens"
    body: dict[str, Any] = {"model": dialect.model, "messages": messages}
    body[limit] = dialect.limit(first)
    body |= dialect.sampling(requests)
    if stops := dialect.stops(first):
        body["stop"] = stops
    if len(requests) > 1:
        body["n"] = len(requests)
    if dialect.reasoning_effort:
        body["reasoning_effort"] = dialect.reasoning_effort
    if first.top_logprobs:
        body |= {
            "logprobs": True,
            "top_logprobs": min(first.top_logprobs, dialect.max_top_logprobs),
        }
    if dialect.continues and messages[-1]["role"] == "assistant":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body | dict(dialect.extra_body)


def to_messages(request: GenerateRequest) -> list[dict[str, str]]:
    """Return a prompt as turns; a text is what the user says."""
    if isinstance(request.prompt, str):
        return [{"role": "user", "content": request.prompt}]
    return [{"role": turn.role, "content": turn.content} for turn in request.prompt]


def decode(requests: Sequence[GenerateRequest], body: Mapping[str, Any]) -> list[Generation]:
    """Return the answers to the draws of one question.

    Raises:
        TryAgain: the answer is not whole.
    """
    choices = read_choices(body, len(requests))
    shares = share_tokens(body.get("usage"), len(requests))
    return [
        _read_choice(request, choice, tokens)
        for request, choice, tokens in zip(requests, choices, shares, strict=True)
    ]


def _read_choice(request: GenerateRequest, choice: dict[str, Any], tokens: Any) -> Generation:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise TryAgain("a choice has no message")
    content = _read_content(message)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    reason = choice.get("finish_reason")
    if content is None and message.get("tool_calls"):
        reason = "tool_calls"
    finish = read_finish(reason, content or "")
    if content is None:
        if finish == "stop":
            raise TryAgain("a choice has no content")
        content = ""
    if not isinstance(reasoning, str):
        content, reasoning = split_thought(content)
    return make_answer(
        request,
        content,
        finish,
        reasoning=reasoning,
        tokens=tokens,
        top_logprobs=_read_top_logprobs(choice) if request.top_logprobs else None,
    )


def _read_content(message: Mapping[str, Any]) -> str | None:
    """Return what is said; a refusal is what is said, too."""
    content = message.get("content")
    if isinstance(content, list):  # parts, as some providers send them
        content = "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    if isinstance(content, str):
        return content
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else None


def _read_top_logprobs(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the first token's alternatives; None where the server gives none."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return None
    others = content[0].get("top_logprobs")
    rows = [content[0], *(others if isinstance(others, list) else [])]
    return {
        str(row["token"]): float(row["logprob"])
        for row in rows
        if isinstance(row, dict) and "token" in row and isinstance(row.get("logprob"), int | float)
    }
