"""What a server turns out to have: asked once, before a run, as far as the run needs it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from llmeval.core.errors import TryAgain, UsageError
from llmeval.core.requests import GenerateRequest, Sampling
from llmeval.models.served import chat, completions
from llmeval.models.served.dialect import Dialect
from llmeval.models.served.transport import QuestionRefused, Transport, TrialFailed


@dataclass(frozen=True, slots=True)
class Listed:
    """What a server says of a model.

    Attributes:
        max_length: context in tokens, where it says so.
        root: its name for the checkpoint: a folder or a hub id.
        owner: ``vllm`` and others say what they are.
        others: the names that the server has instead, where it does not list this one. Some serve
            what they do not list.
    """

    max_length: int | None = None
    root: str | None = None
    owner: str | None = None
    others: tuple[str, ...] = ()


async def look_up_model(transport: Transport, model: str) -> Listed:
    """Return what the server's list says of a model; nothing where it has no list.

    Raises:
        UsageError: no server answers there, or it refuses the key.
    """
    try:
        body = (await transport.insist(lambda: transport.get("/models"))).body
    except TryAgain as fault:
        if fault.unreachable:
            raise UsageError(
                f"no server answers: {fault.reason}",
                where=transport.base_url,
                mend="start it, or check --base-url",
            ) from None
        return Listed()
    except UsageError as error:
        if "answered 401" in error.what or "answered 403" in error.what:
            raise
        return Listed()  # some have no list
    except QuestionRefused:
        return Listed()
    entries = body.get("data")
    rows = [row for row in entries if isinstance(row, dict)] if isinstance(entries, list) else []
    names = [str(row.get("id")) for row in rows]
    if rows and model not in names:
        near = difflib.get_close_matches(model, names, n=3, cutoff=0.3)
        return Listed(others=tuple(near or names[:5]))
    row = next((row for row in rows if row.get("id") == model), {})
    length = row.get("max_model_len")
    return Listed(
        length if isinstance(length, int) and length > 0 else None,
        _text(row.get("root")),
        _text(row.get("owned_by")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


async def has_completions(transport: Transport, dialect: Dialect) -> bool:
    """Whether the server completes texts."""
    request = GenerateRequest("Once upon a time", Sampling(max_tokens=1))
    return await _answers(transport, completions.PATH, completions.encode(dialect, [request]))


async def has_chat(transport: Transport, dialect: Dialect) -> bool:
    """Whether the server chats."""
    request = GenerateRequest("Hello", Sampling(max_tokens=1))
    return await _answers(transport, chat.PATH, chat.encode(dialect, [request]))


async def _answers(transport: Transport, path: str, body: dict[str, Any]) -> bool:
    """Whether an endpoint is there."""
    try:
        await transport.try_out(path, body)
    except QuestionRefused:
        return True
    except TrialFailed:
        raise
    except UsageError as error:
        if "answered 401" in error.what or "answered 403" in error.what:
            raise
        if "max_completion_tokens" in error.what:
            mend = "it is a reasoning model: -a reasoning=true"
            raise UsageError(error.what, where=error.where, mend=mend) from None
        return False
    return True
