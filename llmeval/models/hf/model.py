"""The Hugging Face backend: questions in, answers out, batch by batch."""

from __future__ import annotations

import functools
import importlib.metadata
import operator
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Answers
from llmeval.core.requests import (
    Request,
)
from llmeval.models.chat import judge_template, render_chat
from llmeval.models.hf.computer import Computer, Work, load_computer
from llmeval.models.hf.generation import GENERATION_VERSION
from llmeval.models.hf.questions import QuestionEncoder
from llmeval.models.hf.runner import Effort
from llmeval.models.hf.scoring import SCORING_VERSION
from llmeval.models.hf.source import Source
from llmeval.models.hf.throughput import Figures
from llmeval.models.hf.tokens import RULES_VERSION
from llmeval.models.hf.workers import Crew, assign
from llmeval.models.settings import ModelSettings

_PACKAGES = ("torch", "transformers", "tokenizers")
_ANSWER_MAKERS = ("transformers", "tokenizers")
# Where it is computed is no part of what was asked: a run may go on elsewhere.
_PLACEMENT = ("workers", "device_map")
_UNASKED = (*_PLACEMENT, "max_training_rows")  # the last is for baselines


def load_hf_model(source: Source, name: str, settings: ModelSettings) -> HFModel:
    """Load a checkpoint as the model called ``name``, in as many processes as the settings say.

    Raises:
        UsageError: it cannot be loaded.
    """
    own, *others = [
        functools.partial(load_computer, source, name, share, identify=number == 0)
        for number, share in enumerate(assign(settings))
    ]
    return HFModel(Crew(own, others), name, settings)


class HFModel:
    """A causal language model on one device or several; implements ``llmeval.core.Model``."""

    def __init__(self, crew: Crew[Computer], name: str, settings: ModelSettings) -> None:
        self._name = name
        self._settings = settings
        self._crew = crew
        self._computer = crew.own
        self._checkpoint = crew.own.checkpoint
        self._rules = crew.own.rules
        self._planned: dict[tuple[Request, ...], Work] = {}
        self._figures = Figures(self._checkpoint.model, crew.concurrency)
        self._questions = QuestionEncoder(self._rules, self._computer.generator.room, name)
        self._fingerprint = fingerprint(self._answer_makers())

    def close(self) -> None:
        """End the other processes, if there are any."""
        self._crew.close()

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

    @property
    def concurrency(self) -> int:
        return self._crew.concurrency

    def report(self) -> dict[str, Any]:
        """Return what was computed since this was last asked, how fast, and by which scorer."""
        names = {"scorer": self._computer.scorer.name, "fallback": self._computer.fallback}
        doubled = {"doubled_bos": round(self._questions.doubled_bos, 4)}
        return names | self._computer.generator.describe() | self._figures.report() | doubled

    def describe(self) -> dict[str, Any]:
        """Return resolved settings and versions; what answers went through is in the answers."""
        model, tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        return {
            "backend": "hf",
            "name": self._name,
            "architecture": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": {k: v for k, v in asdict(self._settings).items() if k not in _UNASKED},
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "max_length": self._checkpoint.max_length,
            "prefix_token_id": self._rules.prefix_id,
            "chat_template": judge_template(tokenizer, self._computer.generator.end_ids),
            "scorer": self._computer.scorer.name,
            "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
            "identity": self._checkpoint.identity,
        }

    def prepare(self, requests: Sequence[Request]) -> None:
        """Tokenize questions ahead of time; the tokenizer's cache keeps what it finds."""
        self._questions.encode(list(dict.fromkeys(requests)))

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut requests into batches that share what they have in common.

        What each batch has to compute is kept for :meth:`answer` until the next plan.
        """
        works = self._computer.plan(self._questions.encode(requests))
        self._planned = {tuple(requests[i] for i in work.members): work for work in works}
        return [work.members for work in works]

    def answer(self, requests: Sequence[Request]) -> Answers:
        """Answer one batch of :meth:`plan`; other batches are answered too, perhaps slower."""
        work = self._planned.get(tuple(requests))
        works = [work] if work else self._computer.plan(self._questions.encode(requests))
        members = range(len(requests)) if work else [i for w in works for i in w.members]
        began = time.monotonic()
        parts = [self._crew.compute(work) for work in works]
        responses = dict(zip(members, (r for part in parts for r in part.responses), strict=True))
        effort = functools.reduce(operator.add, (part.effort for part in parts), Effort())
        distinct = sum(part.distinct_tokens for part in parts)
        self._figures.add(effort, distinct, time.monotonic() - began)
        for request in requests:
            self._questions.warn(request)
        return Answers([responses[i] for i in range(len(requests))], effort.tokens, distinct)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        """Render a chat; see :func:`llmeval.models.chat.render_chat`."""
        tokenizer = self._checkpoint.tokenizer
        return render_chat(tokenizer, messages, add_generation_prompt, self._name)

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
