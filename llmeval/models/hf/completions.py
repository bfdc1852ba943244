"""Prompts in tokens, what is generated together, and how new tokens become an answer."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from llmeval.core.requests import GenerateRequest, Sampling
from llmeval.core.responses import Failure, Generation
from llmeval.models.hf.runner import Effort
from llmeval.models.hf.stopping import StopWatch
from llmeval.models.hf.tokens import TokenRules
from llmeval.models.packing import IntArray
from llmeval.models.stops import cut_at_stops

BROKEN = Failure("the model's logits are not numbers")


@dataclass(frozen=True, slots=True, eq=False)
class PromptRow:
    """One completion to make: the prompt's tokens, cut from the left to leave room."""

    request: GenerateRequest
    tokens: IntArray
    truncated: int


@dataclass(frozen=True, slots=True, eq=False)
class GenerationUnit:
    """Completions that are made, and journaled, together; their sampling settings are the same.

    Args:
        members: indices of the prompts.
        rows: the prompts.
        trunk: leading tokens of the first prompt that neighbouring units have as well.
        distinct: tokens of the prompts' prefix tree that no other unit of the plan stands for.
    """

    members: list[int]
    rows: list[PromptRow]
    trunk: int = 0
    distinct: int = 0


@dataclass(frozen=True, slots=True)
class Completions:
    """The answers to a unit's rows in their order, and what they took.

    Args:
        answers: one a row.
        effort: what was computed, padding included.
        distinct: what had to be computed at least: distinct prompt tokens and new tokens read.
    """

    answers: list[Generation | Failure]
    effort: Effort
    distinct: int


class Endings:
    """What ends a completion: the request's stop strings, and the model's end tokens.

    Args:
        rules: the tokenizer.
        eos_ids: the end tokens; the text of the tokenizer's own one is a stop string, too.
    """

    def __init__(self, rules: TokenRules, eos_ids: Set[int]) -> None:
        self._rules = rules
        self._eos_ids = eos_ids
        eos = rules.tokenizer.eos_token_id
        self._eos_text = "" if eos is None else rules.tokenizer.decode([eos])

    def watch(self, sampling: Sampling) -> StopWatch:
        """Return what tells when a completion is done."""
        stops = [stop for stop in self._list_stops(sampling) if stop]
        return StopWatch(self._rules.tokenizer, stops, self._eos_ids)

    def read(self, row: PromptRow, tokens: Sequence[int], stopped: bool) -> Generation:
        """Return the answer that a prompt's new tokens are."""
        text = self._rules.decode(tokens)
        return Generation(
            text=cut_at_stops(text, self._list_stops(row.request.sampling)),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=len(row.tokens),
            completion_tokens=len(tokens),
            truncated=row.truncated,
        )

    def _list_stops(self, sampling: Sampling) -> tuple[str, ...]:
        return (*sampling.stop, self._eos_text)


class Room:
    """How many new tokens a completion may have, and what of its prompt fits beside them.

    Args:
        rules: the tokenizer.
        max_gen_toks: new tokens of a request that names no limit.
    """

    def __init__(self, rules: TokenRules, max_gen_toks: int) -> None:
        self._rules = rules
        self._max_gen_toks = max_gen_toks

    def allowed_tokens(self, sampling: Sampling) -> int:
        """Return the most new tokens of a draw.

        A limit that leaves the prompt no room (lm-eval stops there) is cut to half the context.
        """
        if self.shortens(sampling):
            return max(1, self._rules.max_length // 2)
        return self._wanted_tokens(sampling)

    def shortens(self, sampling: Sampling) -> bool:
        """Whether a draw is allowed fewer new tokens than it asks for."""
        return self._wanted_tokens(sampling) >= self._rules.max_length

    def _wanted_tokens(self, sampling: Sampling) -> int:
        return self._max_gen_toks if sampling.max_tokens is None else sampling.max_tokens

    def fit(self, request: GenerateRequest, tokens: IntArray) -> PromptRow | Failure:
        """Cut a prompt from the left so that all new tokens find room."""
        room = self._rules.max_length - self.allowed_tokens(request.sampling)
        if room < 1:
            return Failure(f"a context of {self._rules.max_length} token has no room to generate")
        kept = tokens[-room:]
        if not len(kept):
            if self._rules.prefix_id is None:
                return Failure("the prompt is empty and the tokenizer has neither BOS nor EOS")
            kept = np.array([self._rules.prefix_id], np.int32)
        if failure := self._rules.check_vocabulary(kept):
            return failure
        return PromptRow(request, kept, max(0, len(tokens) - room))
