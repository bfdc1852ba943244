"""The Hugging Face backend: questions in, answers out, batch by batch."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jinja2

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Answers
from llmeval.core.requests import (
    GenerateRequest,
    LoglikelihoodRequest,
    Message,
    Request,
    RollingRequest,
)
from llmeval.core.responses import Failure, Loglikelihood, Response
from llmeval.models.hf.batching import GENERATION_BUDGET, SCORING_BUDGET, Cutter
from llmeval.models.hf.generation import GENERATION_VERSION, Generator, PromptRow
from llmeval.models.hf.loading import Checkpoint, load_checkpoint, quiet_transformers
from llmeval.models.hf.scoring import SCORING_VERSION, PlainScorer, Scorer, SpanScore
from llmeval.models.hf.source import Source
from llmeval.models.hf.tokens import RULES_VERSION, Encoded, TokenRules, clean
from llmeval.models.settings import ModelSettings

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "tokenizers")
_ANSWER_MAKERS = ("transformers", "tokenizers")

Prepared = Encoded | PromptRow | Failure
"""A question in tokens, ready to be computed, or the reason why it cannot be."""


def load_hf_model(source: Source, name: str, settings: ModelSettings) -> HFModel:
    """Load a checkpoint as the model called ``name``.

    Raises:
        UsageError: it cannot be loaded.
    """
    return HFModel(load_checkpoint(source, name, settings), name, settings)


class HFModel:
    """A causal language model on one device; implements ``llmeval.core.Model``."""

    def __init__(self, checkpoint: Checkpoint, name: str, settings: ModelSettings) -> None:
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        self._name = name
        self._settings = settings
        self._checkpoint = checkpoint
        self._rules = TokenRules(
            tokenizer,
            checkpoint.max_length,
            model.get_input_embeddings().num_embeddings,
            settings.add_bos_token,
            settings.prefix_token_id,
        )
        place = "cpu" if model.device.type == "cpu" else "gpu"
        size = settings.batch_size
        self._scorer: Scorer = PlainScorer(model, Cutter(size, SCORING_BUDGET[place]))
        self._generator = Generator(
            model, self._rules, Cutter(size, GENERATION_BUDGET[place]), settings.max_gen_toks
        )
        self._planned: dict[Request, Prepared] = {}
        self._fingerprint = fingerprint(self._answer_makers())

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def capabilities(self) -> frozenset[str]:
        chat = {"chat"} if self._checkpoint.tokenizer.chat_template else set()
        return frozenset({"loglikelihood", "generate"} | chat)

    def describe(self) -> dict[str, Any]:
        """Return resolved settings and versions; what answers went through is in the answers."""
        model = self._checkpoint.model
        return {
            "backend": "hf",
            "name": self._name,
            "architecture": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": asdict(self._settings),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "max_length": self._checkpoint.max_length,
            "prefix_token_id": self._rules.prefix_id,
            "scorer": self._scorer.name,
            "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
            "identity": self._checkpoint.identity,
        }

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut requests into batches of one kind each, longest first.

        The tokens are kept for :meth:`answer` until the next plan; nothing else is.
        """
        prepared = self._prepare(requests)
        self._planned = dict(zip(requests, prepared, strict=True))
        hopeless = [i for i, item in enumerate(prepared) if isinstance(item, Failure)]
        batches = [hopeless] if hopeless else []
        for kind in (LoglikelihoodRequest, RollingRequest):
            members = [
                i
                for i, item in enumerate(prepared)
                if isinstance(requests[i], kind) and isinstance(item, Encoded)
            ]
            questions = [item for i in members if isinstance(item := prepared[i], Encoded)]
            batches += [[members[i] for i in batch] for batch in self._scorer.plan(questions)]
        members = [i for i, item in enumerate(prepared) if isinstance(item, PromptRow)]
        rows = [item for i in members if isinstance(item := prepared[i], PromptRow)]
        return batches + [[members[i] for i in batch] for batch in self._generator.plan(rows)]

    def answer(self, requests: Sequence[Request]) -> Answers:
        """Answer one batch of :meth:`plan`; other batches are answered too, perhaps slower."""
        prepared = self._prepare(requests)
        responses: list[Response] = [
            item if isinstance(item, Failure) else _UNANSWERED for item in prepared
        ]
        with quiet_transformers():
            computed = self._answer_scored(prepared, responses)
            computed += self._answer_generated(prepared, responses)
        for request in requests:
            self._warn(request)
        return Answers(responses, computed)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        """Render a chat; without a generation prompt the last message is left open.

        A template that refuses the chat is tried once more without system messages, as lm-eval
        does, and counted.

        Raises:
            UsageError: the tokenizer has no template, or it refuses the chat.
        """
        tokenizer = self._checkpoint.tokenizer
        if not tokenizer.chat_template:
            raise UsageError(
                "the tokenizer has no chat template",
                where=self._name,
                mend="give one with the setting chat_template=FILE, or ask without chat",
            )

        def render(chat: Sequence[Mapping[str, str]]) -> str:
            text: str = tokenizer.apply_chat_template(
                [dict(message) for message in chat],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
            return text

        try:
            try:
                return render(messages)
            except jinja2.TemplateError:
                bare = [message for message in messages if message["role"] != "system"]
                text = render(bare)
                warn_once("the chat template takes no system turn: it was left out")
                return text
        except (jinja2.TemplateError, ValueError) as error:
            raise UsageError(
                f"the chat template refuses the chat: {error}", where=self._name
            ) from error

    def _answer_makers(self) -> dict[str, Any]:
        """Everything that may change an answer; not the batch size, the threads, or the name."""
        model = self._checkpoint.model
        return {
            "versions": [RULES_VERSION, GENERATION_VERSION, SCORING_VERSION],
            "libraries": {name: importlib.metadata.version(name) for name in _ANSWER_MAKERS},
            "code": [
                type(model).__module__,
                type(model).__qualname__,
                self._settings.trust_remote_code,
                getattr(model.config, "_commit_hash", None),
            ],
            "device": model.device.type,
            "identity": self._checkpoint.identity,
            "dtype": str(model.dtype),
            "max_length": self._checkpoint.max_length,
            "add_bos_token": self._settings.add_bos_token,
            "prefix_token_id": self._rules.prefix_id,
            "max_gen_toks": self._settings.max_gen_toks,
            "chat_template": self._checkpoint.tokenizer.chat_template,
        }

    def _prepare(self, requests: Sequence[Request]) -> list[Prepared]:
        """Turn questions into tokens; those of the last plan are at hand."""
        found = {r: self._planned[r] for r in requests if r in self._planned}
        missing = list(dict.fromkeys(r for r in requests if r not in found))
        pairs = [r for r in missing if isinstance(r, LoglikelihoodRequest)]
        found.update(zip(pairs, self._rules.encode_pairs(pairs), strict=True))
        texts = [r for r in missing if isinstance(r, RollingRequest)]
        found.update(zip(texts, self._rules.encode_rolling(texts), strict=True))
        prompts = [r for r in missing if isinstance(r, GenerateRequest)]
        tokens = self._rules.encode_prompts([self._render(r) for r in prompts])
        for request, row in zip(prompts, tokens, strict=True):
            found[request] = self._generator.fit(request, row)
        return [found[request] for request in requests]

    def _render(self, request: GenerateRequest) -> str:
        if isinstance(request.prompt, str):
            return request.prompt
        messages: tuple[Message, ...] = request.prompt
        chat = [{"role": message.role, "content": message.content} for message in messages]
        opened = bool(messages) and messages[-1].role == "assistant"
        return self.apply_chat_template(chat, add_generation_prompt=not opened)

    def _answer_scored(self, prepared: Sequence[Prepared], responses: list[Response]) -> int:
        spans = [span for item in prepared if isinstance(item, Encoded) for span in item.spans]
        if not spans and not any(isinstance(item, Encoded) for item in prepared):
            return 0
        scores = self._scorer.score(spans)
        answers = iter(scores.spans)
        for index, item in enumerate(prepared):
            if isinstance(item, Encoded):
                responses[index] = _join_scores(item, [next(answers) for _ in item.spans])
        return scores.computed_tokens

    def _answer_generated(self, prepared: Sequence[Prepared], responses: list[Response]) -> int:
        members = [i for i, item in enumerate(prepared) if isinstance(item, PromptRow)]
        rows = [item for i in members if isinstance(item := prepared[i], PromptRow)]
        computed = 0
        for batch in self._generator.plan(rows):
            answers, positions = self._generator.complete([rows[i] for i in batch])
            computed += positions
            for i, answer in zip(batch, answers, strict=True):
                responses[members[i]] = answer
        return computed

    def _warn(self, request: Request) -> None:
        """Say once what a request asked for that could not be done as asked."""
        if isinstance(request, GenerateRequest) and self._generator.shortens(request.sampling):
            warn_once("more new tokens are asked for than the context holds: cut to half of it")
        if any(text != clean(text) for text in _texts(request)):
            warn_once("lone surrogates in a text were replaced: no tokenizer has them")


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning the first time that it is given."""
    log.warning("%s", text)


_UNANSWERED = Failure("the model gave no answer")


def _join_scores(question: Encoded, scores: Sequence[SpanScore | Failure]) -> Response:
    """Add up a question's windows; no window at all is the certain empty text."""
    for score in scores:
        if isinstance(score, Failure):
            return score
    known = [score for score in scores if isinstance(score, SpanScore)]
    return Loglikelihood(
        logprob=math.fsum(score.logprob for score in known),
        is_greedy=all(score.is_greedy for score in known),
        num_tokens=sum(len(span.targets) for span in question.spans),
        prompt_tokens=sum(len(span.inputs) for span in question.spans),
        truncated=question.truncated,
        boundary=question.boundary,
    )


def _texts(request: Request) -> tuple[str, ...]:
    if isinstance(request, LoglikelihoodRequest):
        return (request.context, request.continuation)
    if isinstance(request, RollingRequest):
        return (request.text,)
    if isinstance(request.prompt, str):
        return (request.prompt,)
    return tuple(message.content for message in request.prompt)
