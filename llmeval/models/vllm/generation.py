"""Completions by vLLM: prompts are cut to leave room, each draw has dice of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llmeval.core.hashes import fingerprint
from llmeval.core.requests import GenerateRequest, Sampling
from llmeval.core.responses import Failure, Response
from llmeval.models.hf.completions import BROKEN, Endings, PromptRow
from llmeval.models.hf.tokens import TokenRules
from llmeval.models.packing import IntArray
from llmeval.models.vllm.engine import Engine
from llmeval.models.vllm.probes import Draw, Drawn

GENERATION_VERSION = 1  # in the model's fingerprint: raise it where texts may change


class Completer:
    """Turns prompts into draws and new tokens into answers.

    Args:
        rules: the model's tokenizer.
        max_gen_toks: new tokens of a request that names no limit.
    """

    def __init__(self, rules: TokenRules, max_gen_toks: int) -> None:
        self._rules = rules
        self._max_gen_toks = max_gen_toks
        # Only its reading is used: vLLM itself knows the end tokens, and watches for stop strings.
        self._endings = Endings(rules, frozenset())
        eos = rules.tokenizer.eos_token_id
        self._eos_text = "" if eos is None else rules.tokenizer.decode([eos])

    def shortens(self, sampling: Sampling) -> bool:
        """Whether a draw is allowed fewer new tokens than it asks for."""
        return self._wanted_tokens(sampling) >= self._rules.max_length

    def fit(self, request: GenerateRequest, tokens: IntArray) -> PromptRow | Failure:
        """Cut a prompt from the left so that all new tokens find room."""
        room = self._rules.max_length - self._allowed_tokens(request.sampling)
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

    def complete(self, engine: Engine, rows: Sequence[PromptRow]) -> list[Response]:
        """Make the completions of prompts."""
        drawn = engine.draw([self._make_draw(row, engine.max_top) for row in rows])
        return [self._read(row, one) for row, one in zip(rows, drawn, strict=True)]

    def _make_draw(self, row: PromptRow, most: int) -> Draw:
        sampling = row.request.sampling
        draw = Draw(
            prompt=row.tokens.tolist(),
            max_tokens=self._allowed_tokens(sampling),
            stops=tuple(filter(None, dict.fromkeys((*sampling.stop, self._eos_text)))),
            top=min(row.request.top_logprobs, most) if most >= 0 else row.request.top_logprobs,
        )
        if sampling.greedy:
            return draw
        return replace(
            draw,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=make_seed(row.request),
        )

    def _read(self, row: PromptRow, drawn: Drawn | str) -> Response:
        if isinstance(drawn, str):
            return Failure(drawn)
        if any(math.isnan(value) for value in drawn.top.values()):
            return BROKEN
        answer = self._endings.read(row, drawn.tokens, drawn.stopped)
        return replace(answer, top_logprobs=self._name_tokens(drawn.top)) if drawn.top else answer

    def _name_tokens(self, top: dict[int, float]) -> dict[str, float]:
        """Return alternatives by their texts; of two with the same text the more probable one."""
        named: dict[str, float] = {}
        for token, value in top.items():  # the most probable first
            named.setdefault(self._rules.tokenizer.decode([token]), value)
        return named

    def _allowed_tokens(self, sampling: Sampling) -> int:
        """Return the most new tokens of a draw; a limit that leaves no room is half the context."""
        if self.shortens(sampling):
            return max(1, self._rules.max_length // 2)
        return self._wanted_tokens(sampling)

    def _wanted_tokens(self, sampling: Sampling) -> int:
        return self._max_gen_toks if sampling.max_tokens is None else sampling.max_tokens


def make_seed(request: GenerateRequest) -> int:
    """Return a draw's own seed: it follows from the request, its seed and its repeat only."""
    # 63 bits, since vLLM keeps seeds as signed numbers.
    return int(fingerprint([request.sampling.seed, request.canonical()], 8), 16) >> 1
