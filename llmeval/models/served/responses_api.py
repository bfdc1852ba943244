"""The Responses API: ``POST /responses``, which some reasoning models need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmeval.core.errors import TryAgain
from llmeval.core.requests import GenerateRequest
from llmeval.core.responses import FinishReason, Generation
from llmeval.models.served.chat import to_messages
from llmeval.models.served.dialect import Dialect, make_answer, read_finish, share_tokens

PATH = "/responses"


def encode(dialect: Dialect, requests: Sequence[GenerateRequest]) -> dict[str, Any]:
    """Return the body that asks one question; this interface has one draw a call and no stops."""
    (request,) = requests
    body: dict[str, Any] = {
        "model": dialect.model,
        "input": to_messages(request),
        "max_output_tokens": max(16, dialect.limit(request)),  # the least that it takes
        "store": False,
        **dialect.sampling(requests),
    }
    body.pop("seed", None)  # it knows none
    if dialect.reasoning_effort:
        body["reasoning"] = {"effort": dialect.reasoning_effort}
    return body | dict(dialect.extra_body)


def decode(requests: Sequence[GenerateRequest], body: Mapping[str, Any]) -> list[Generation]:
    """Return the answer.

    Raises:
        TryAgain: it is not whole.
    """
    (request,) = requests
    status = body.get("status")
    if status in ("failed", "cancelled", "queued", "in_progress"):
        raise TryAgain(f"the response is {status}")
    output = body.get("output")
    if not isinstance(output, list):
        raise TryAgain("the answer has no output")
    items = [item for item in output if isinstance(item, dict)]
    text = "".join(_texts(items, "message", "content", ("output_text", "refusal")))
    reasoning = "\n".join(_texts(items, "reasoning", "summary", ("summary_text",)))
    finish = _read_status(body, items, text)
    if not text and finish == "stop":
        raise TryAgain("the answer has no text")
    (tokens,) = share_tokens(body.get("usage"), 1)
    return [make_answer(request, text, finish, reasoning=reasoning, tokens=tokens)]


def _read_status(
    body: Mapping[str, Any], items: Sequence[Mapping[str, Any]], text: str
) -> FinishReason:
    if body.get("status") == "incomplete":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        if reason is None:
            raise TryAgain("the response is incomplete, and does not say why")
        return read_finish(reason, text)
    if not text and any(item.get("type") == "function_call" for item in items):
        return "tool_call"
    return "stop"


def _texts(
    items: Sequence[Mapping[str, Any]], kind: str, where: str, types: Sequence[str]
) -> list[str]:
    """Return the texts of all parts of some types in the items of a kind."""
    fitting = [item.get(where) for item in items if item.get("type") == kind]
    parts = [part for content in fitting if isinstance(content, list) for part in content]
    return [
        str(part.get("text") or part.get("refusal") or "")
        for part in parts
        if isinstance(part, dict) and part.get("type") in types
    ]
