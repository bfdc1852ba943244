"""What a model answers. A truncated, filtered or failed answer says so in a field."""

from __future__ import annotations

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

    ``reasoning`` keeps a thinking model's thoughts apart: they are never graded.
    """

    kind: ClassVar[str] = "generation"
    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: int = 0
    reasoning: str | None = None


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
_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in _KINDS.values()}


def to_plain(response: Response) -> dict[str, Any]:
    """Return a response as plain JSON data."""
    values = ((name, getattr(response, name)) for name in _FIELDS[type(response)])
    return {"kind": response.kind, **{name: v for name, v in values if v is not None}}


def from_plain(plain: dict[str, Any]) -> Response:
    """Return the response that :func:`to_plain` wrote."""
    values = dict(plain)
    return _KINDS[values.pop("kind")](**values)
