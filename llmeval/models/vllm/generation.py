"""Completions by vLLM: prompts are cut to leave room, each draw has dice of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from llmeval.core.hashes import fingerprint
from llmeval.core.requests import GenerateRequest
from llmeval.core.responses import Failure, Response
from llmeval.models.hf.completions import BROKEN, Endings, PromptRow, Room
from llmeval.models.hf.tokens import TokenRules
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
        self.room = Room(rules, max_gen_toks)
        # Only its reading is used: vLLM itself knows the end tokens, and watches for stop strings.
        self._endings = Endings(rules, frozenset())
        eos = rules.tokenizer.eos_token_id
        self._eos_text = "" if eos is None else rules.tokenizer.decode([eos])

    def complete(self, engine: Engine, rows: Sequence[PromptRow]) -> list[Response]:
        """Make the completions of prompts."""
        drawn = engine.draw([self._make_draw(row, engine.max_top) for row in rows])
        return [self._read(row, one) for row, one in zip(rows, drawn, strict=True)]

    def _make_draw(self, row: PromptRow, most: int) -> Draw:
        sampling = row.request.sampling
        draw = Draw(
            prompt=row.tokens.tolist(),
            max_tokens=self.room.allowed_tokens(sampling),
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


def make_seed(request: GenerateRequest) -> int:
    """Return a draw's own seed: it follows from the request, its seed and its repeat only."""
    # 63 bits, since vLLM keeps seeds as signed numbers.
    return int(fingerprint([request.sampling.seed, request.canonical()], 8), 16) >> 1
