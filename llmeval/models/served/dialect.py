"""What a served model takes and how it is asked: resolved once, then read by every wire format."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.core.errors import TryAgain
from llmeval.core.requests import GenerateRequest
from llmeval.core.responses import FinishReason, Generation
from llmeval.models.stops import cut_at_stops

_FINISHES: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
}
_THOUGHT = re.compile(r"\A\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_THOUGHT_END = "</think>"
_SEEDS = 2**31 - 1  # what servers take


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one model is asked.

    Attributes:
        model: its name at the server.
        reasoning: it thinks first: no temperature, no stop strings, room for thoughts.
        reasoning_effort: sent where it is set.
        reasoning_tokens: room for thoughts, in tokens.
        max_gen_toks: new tokens of a request that names no limit.
        max_stop: stop strings that the server takes; None for any number.
        max_top_logprobs: most alternatives of a token.
        send_seed: sampled requests carry a seed.
        continues: a chat that ends with an answer begun is continued (vLLM).
        takes_top_k: it has ``top_k`` (vLLM and its like; OpenAI refuses it).
        extra_body: more fields of every body.
    """

    model: str
    reasoning: bool = False
    reasoning_effort: str | None = None
    reasoning_tokens: int = 0
    max_gen_toks: int = 256
    max_stop: int | None = None
    max_top_logprobs: int = 20
    send_seed: bool = True
    continues: bool = False
    takes_top_k: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def limit(self, request: GenerateRequest) -> int:
        """Return the most new tokens of a request, thoughts included."""
        limit = request.sampling.max_tokens or self.max_gen_toks
        return limit + self.reasoning_tokens if self.reasoning else limit

    def sampling(self, requests: Sequence[GenerateRequest]) -> dict[str, Any]:
        """Return the fields that all interfaces name alike; stop strings beyond the limit stay."""
        first = requests[0]
        sampling, fields = first.sampling, dict[str, Any]()
        if self.reasoning:
            return fields
        fields["temperature"] = sampling.temperature
        if not sampling.greedy:
            if sampling.top_p is not None:
                fields["top_p"] = sampling.top_p
            if sampling.top_k is not None and self.takes_top_k:
                fields["top_k"] = sampling.top_k
            if self.send_seed:
                fields["seed"] = _seed(first)
        return fields

    def stops(self, request: GenerateRequest) -> list[str]:
        """Return the stop strings that are sent; all of them are applied to the answer anyway."""
        if self.reasoning:
            return []
        stops = [stop for stop in request.sampling.stop if stop]
        return stops if self.max_stop is None else stops[: self.max_stop]


def _seed(request: GenerateRequest) -> int:
    """Return a draw's seed: equal questions with other repeat indices are other draws."""
    text = f"{request.sampling.seed}:{request.repeat}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % _SEEDS


def read_finish(reason: Any, text: str) -> FinishReason:
    """Return why an answer ended, in our words.

    Raises:
        TryAgain: the server says that it broke off.
    """
    known = _FINISHES.get(str(reason).lower())
    if known is not None:
        return known
    if reason is None and text:
        return "stop"
    raise TryAgain(f"the answer ended with {reason!r}")


def split_thought(text: str) -> tuple[str, str | None]:
    """Take a thought in ``<think>`` tags off the beginning of an answer.

    A template may have opened the tag already, so its end alone counts as well; a thought that does
    not end leaves no answer.
    """
    if _THOUGHT_END not in text and "<think>" not in text:
        return text, None
    if found := _THOUGHT.match(text):
        return text[found.end() :].lstrip(), found[1].strip()
    thought, end, answer = text.partition(_THOUGHT_END)
    return (answer.lstrip(), thought.strip()) if end else (text, None)


def make_answer(
    request: GenerateRequest,
    text: str,
    finish: FinishReason,
    *,
    reasoning: str | None = None,
    tokens: Tokens,
    top_logprobs: Mapping[str, float] | None = None,
) -> Generation:
    """Return an answer that ends before the first of all its stop strings."""
    kept = cut_at_stops(text, request.sampling.stop)
    if len(kept) < len(text) and finish == "length":
        finish = "stop"
    return Generation(
        text=kept,
        finish_reason=finish,
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        reasoning=reasoning or None,
        cached_tokens=tokens.cached,
        reasoning_tokens=tokens.reasoning,
        top_logprobs=top_logprobs,
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one answer as the server counted them."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


def share_tokens(usage: Any, count: int) -> list[Tokens]:
    """Divide a call's tokens among its answers: the prompt counts once, for the first of them."""
    usage = usage if isinstance(usage, dict) else {}
    prompt = _count(usage, "prompt_tokens") or _count(usage, "input_tokens")
    completion = _count(usage, "completion_tokens") or _count(usage, "output_tokens")
    prompt_details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    output_details = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = _count(prompt_details, "cached_tokens")
    reasoning = _count(output_details, "reasoning_tokens")
    shares = []
    for i in range(count):
        share = completion // count + (i < completion % count)
        thought = reasoning // count + (i < reasoning % count)
        first = i == 0
        shares.append(Tokens(prompt if first else 0, share, cached if first else 0, thought))
    return shares


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((usage[n] for n in names if isinstance(usage.get(n), dict)), {})


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def read_choices(body: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return as many choices as were asked for, by their index.

    Raises:
        TryAgain: there are fewer.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise TryAgain("the answer has no choices")
    if len(choices) < count:
        raise TryAgain(f"the answer has {len(choices)} choices instead of {count}")
    if all(isinstance(choice.get("index"), int) for choice in choices):
        choices = sorted(choices, key=lambda choice: int(choice["index"]))
    return choices[:count]
