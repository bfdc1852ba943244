"""What a model answers. A truncated, filtered or failed answer says so in a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

FinishReason = Literal["stop", "length", "content_filter", "tool_call"]


@dataclass(frozen=True, slots=True)
class Loglikelihood:
    """Answer to a loglikelihood or rolling request.

    Args:
        logprob: sum of the natural-log probabilities of the continuation's tokens.
        is_greedy: whether greedy decoding would have produced exactly the continuation.
        num_tokens: tokens of the continuation.
        prompt_tokens: tokens of the whole sequence that the model read.
        truncated: tokens cut from the left because the model's context is too short.
        boundary: how the context/continuation boundary was found when the usual rule gave no
            continuation token (``"separate"``: both were tokenized on their own).
    """

    kind: ClassVar[str] = "loglikelihood"
    logprob: float
    is_greedy: bool
    num_tokens: int
    prompt_tokens: int = 0
    truncated: int = 0
    boundary: str | None = None

    @property
    def completion_tokens(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Generation:
    """Answer to a generate request. ``text`` ends before the first stop string.

    Args:
        finish_reason: ``stop``: the model ended it; ``length``: it was cut at the token limit;
            ``content_filter``: it was withheld; ``tool_call``: the model called a tool instead.
        prompt_tokens, completion_tokens: as the backend counted them, thoughts included.
        truncated: tokens of the prompt cut from the left.
        reasoning: a thinking model's thoughts, kept apart: they are never graded.
        cached_tokens: prompt tokens that the backend had in its cache, which cost less.
        reasoning_tokens: completion tokens that are thoughts.
        top_logprobs: the first token's most probable alternatives with their natural-log
            probabilities, where they were asked for.
    """

    kind: ClassVar[str] = "generation"
    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: int = 0
    reasoning: str | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    top_logprobs: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The question got no answer. Never journaled, so the next run asks it again."""

    kind: ClassVar[str] = "failure"
    reason: str
    prompt_tokens: ClassVar[int] = 0
    completion_tokens: ClassVar[int] = 0
    truncated: ClassVar[int] = 0


Response = Loglikelihood | Generation | Failure

_KINDS: dict[str, type[Loglikelihood] | type[Generation] | type[Failure]] = {
    cls.kind: cls for cls in (Loglikelihood, Generation, Failure)
}
_RARE = frozenset({"cached_tokens", "reasoning_tokens"})
_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in _KINDS.values()}


def to_plain(response: Response) -> dict[str, Any]:
    """Return a response as plain JSON data; what is rare is left out where there is none of it."""
    values = ((name, getattr(response, name)) for name in _FIELDS[type(response)])
    kept = {name: v for name, v in values if v is not None and (v or name not in _RARE)}
    return {"kind": response.kind, **kept}


def from_plain(plain: dict[str, Any]) -> Response:
    """Return the response that :func:`to_plain` wrote."""
    values = dict(plain)
    return _KINDS[values.pop("kind")](**values)
