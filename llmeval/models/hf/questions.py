"""Questions of all kinds in tokens, by the rules that every backend with a tokenizer shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmeval.core.requests import (
    GenerateRequest,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)
from llmeval.core.responses import Failure
from llmeval.models.chat import render_prompt, warn_once
from llmeval.models.hf.completions import PromptRow, Room
from llmeval.models.hf.tokens import Encoded, TokenRules, clean

Item = Encoded | PromptRow | Failure
"""A question in tokens, or the reason why it has no answer."""


class QuestionEncoder:
    """Turns questions into tokens.

    Args:
        rules: the tokenizer.
        room: what of a prompt fits beside new tokens.
        name: the model's, for errors.
    """

    def __init__(self, rules: TokenRules, room: Room, name: str) -> None:
        self._rules = rules
        self._room = room
        self._name = name
        self._begun = self._doubled = 0

    @property
    def doubled_bos(self) -> float:
        """The share of questions whose tokens begin with BOS twice: a template wrote one, too."""
        return self._doubled / self._begun if self._begun else 0.0

    def encode(self, requests: Sequence[Request]) -> list[Item]:
        """Return each question in tokens, or the reason why it has no answer."""
        found: dict[Request, Item] = {}
        pairs = [r for r in requests if isinstance(r, LoglikelihoodRequest)]
        found.update(zip(pairs, self._rules.encode_pairs(pairs), strict=True))
        texts = [r for r in requests if isinstance(r, RollingRequest)]
        found.update(zip(texts, self._rules.encode_rolling(texts), strict=True))
        prompts = [r for r in requests if isinstance(r, GenerateRequest)]
        tokenizer = self._rules.tokenizer
        rendered = [render_prompt(tokenizer, request, self._name) for request in prompts]
        for request, row in zip(prompts, self._rules.encode_prompts(rendered), strict=True):
            found[request] = self._room.fit(request, row)
        self._count_doubled(found)
        return [found[request] for request in requests]

    def _count_doubled(self, found: Mapping[Request, Item]) -> None:
        bos = self._rules.tokenizer.bos_token_id
        if bos is None:
            return
        for request, item in found.items():
            if isinstance(item, PromptRow):
                tokens = item.tokens
            elif isinstance(item, Encoded) and item.spans:
                tokens = item.spans[0].inputs
            else:
                continue
            # A rolling text gets BOS in front whatever it begins with: lm-eval's rule.
            if not isinstance(request, RollingRequest):
                self._begun += 1
                self._doubled += len(tokens) > 1 and bool(tokens[0] == bos == tokens[1])

    def warn(self, request: Request) -> None:
        """Say once what a request asked for that could not be done as asked."""
        if isinstance(request, GenerateRequest) and self._room.shortens(request.sampling):
            warn_once("more new tokens are asked for than the context holds: cut to half of it")
        if any(text != clean(text) for text in _list_texts(request)):
            warn_once("lone surrogates in a text were replaced: no tokenizer has them")


def _list_texts(request: Request) -> tuple[str, ...]:
    if isinstance(request, LoglikelihoodRequest):
        return (request.context, request.continuation)
    if isinstance(request, RollingRequest):
        return (request.text,)
    if isinstance(request.prompt, str):
        return (request.prompt,)
    return tuple(message.content for message in request.prompt)
