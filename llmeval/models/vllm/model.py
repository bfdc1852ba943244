"""The vLLM backend: questions in, answers out, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.core.hashes import fingerprint
from llmeval.core.protocols import Answers, Model
from llmeval.core.requests import GenerateRequest, Request
from llmeval.core.responses import Failure, Response
from llmeval.models.chat import judge_template, render_chat, warn_once
from llmeval.models.hf.completions import PromptRow
from llmeval.models.hf.questions import Item, QuestionEncoder
from llmeval.models.hf.tokens import RULES_VERSION, Encoded, TokenRules
from llmeval.models.vllm.checkpoint import Checkpoint, read_checkpoint
from llmeval.models.vllm.engine import Engine
from llmeval.models.vllm.generation import GENERATION_VERSION, Completer
from llmeval.models.vllm.probes import Work
from llmeval.models.vllm.scoring import SCORING_VERSION, answer_nothing, score, sort_key
from llmeval.models.vllm.settings import VllmSettings

# Where and in what portions it is computed is no part of what was asked.
_PLACEMENT = {
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "batch_size",
    "gpu_memory_utilization", "enforce_eager",
}  # fmt: skip


def load_vllm_model(target: str, name: str, settings: VllmSettings) -> Model:
    """Start vLLM with a checkpoint, as the model called ``name``.

    Args:
        target: folder or hub id.
        name: as on the command line, e.g. ``vllm:gpt2``.
        settings: how it is loaded.

    Raises:
        UsageError: vLLM is not installed, or it cannot load the checkpoint.
    """
    if settings.data_parallel_size > 1:
        raise UsageError(
            "vLLM has several copies of a model only behind its server",
            where=f"{name}: data_parallel_size",
            mend="take tensor_parallel_size, or `vllm serve --data-parallel-size N` and openai:ID",
        )
    checkpoint = read_checkpoint(target, name, settings)
    return VllmModel(checkpoint, Engine(checkpoint, settings, name), name, settings)


class VllmModel:
    """A causal language model in a vLLM engine; implements ``llmeval.core.Model``."""

    def __init__(
        self, checkpoint: Checkpoint, engine: Engine, name: str, settings: VllmSettings
    ) -> None:
        self._name = name
        self._settings = settings
        self._checkpoint = checkpoint
        self._engine = engine
        self._rules = TokenRules(
            checkpoint.tokenizer,
            checkpoint.max_length,
            checkpoint.vocabulary,
            settings.add_bos_token,
            settings.prefix_token_id,
        )
        self._completer = Completer(self._rules, settings.max_gen_toks)
        self._questions = QuestionEncoder(self._rules, self._completer.room, name)
        self._planned: dict[Request, Item] = {}
        self._seconds = 0.0
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
        return frozenset({"loglikelihood", "generate", "top_logprobs"} | chat)

    @property
    def concurrency(self) -> int:
        """One: the engine itself computes many questions at once."""
        return 1

    def describe(self) -> dict[str, Any]:
        """Return resolved settings and versions."""
        tokenizer = self._checkpoint.tokenizer
        ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        return {
            "backend": "vllm",
            "name": self._name,
            "architecture": self._checkpoint.architecture,
            "settings": self._settings.model_dump(exclude=_PLACEMENT),
            "dtype": self._engine.dtype,
            "device": self._engine.device,
            "max_length": self._checkpoint.max_length,
            "prefix_token_id": self._rules.prefix_id,
            "chat_template": judge_template(tokenizer, ends),
            "prefix_cache": self._engine.block > 0,
            "versions": self._list_versions(),
            "identity": self._checkpoint.identity,
        }

    def report(self) -> dict[str, Any]:
        """Return what was computed since this was last asked, and how fast."""
        work, self._engine.work = self._engine.work, Work()
        seconds, self._seconds = self._seconds, 0.0
        if not seconds:
            return {}
        return {
            "computed_tokens": work.computed,
            "cached_tokens": work.cached,
            "reread_prompts": work.reread,
            "block_size": self._engine.block,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(work.computed / seconds, 1),
            "doubled_bos": round(self._questions.doubled_bos, 4),
        }

    def prepare(self, requests: Sequence[Request]) -> None:
        """Tokenize questions ahead of time; the tokenizer's cache keeps what it finds."""
        self._questions.encode(list(dict.fromkeys(requests)))

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut questions into batches of one kind, those that begin alike side by side."""
        items = self._questions.encode(requests)
        self._planned = dict(zip(requests, items, strict=True))
        idle = [i for i, item in enumerate(items) if _needs_nothing(item)]
        scored = [
            (sort_key(item.spans[0].inputs), i)
            for i, item in enumerate(items)
            if isinstance(item, Encoded) and item.spans
        ]
        drawn = [
            (sort_key(item.tokens), i)
            for i, item in enumerate(items)
            if isinstance(item, PromptRow)
        ]
        kinds = (idle, *([i for _, i in sorted(kind)] for kind in (scored, drawn)))
        return [batch for kind in kinds for batch in _cut(kind, self._settings.batch_size)]

    def answer(self, requests: Sequence[Request]) -> Answers:
        """Answer one batch of :meth:`plan`; other batches are answered too.

        The prefix cache is emptied first: whether a prefix was computed by itself or together with
        others changes the last bits of an answer.
        """
        planned = self._planned
        known = all(request in planned for request in requests)
        items = (
            [planned[request] for request in requests]
            if known
            else self._questions.encode(requests)
        )
        before, began = self._engine.work.computed, time.monotonic()
        self._engine.forget()
        answers: dict[int, Response] = {
            i: answer_nothing(item)
            for i, item in enumerate(items)
            if not isinstance(item, PromptRow) and _needs_nothing(item)
        }
        questions = {
            i: item for i, item in enumerate(items) if isinstance(item, Encoded) and item.spans
        }
        rows = {i: item for i, item in enumerate(items) if isinstance(item, PromptRow)}
        answers.update(zip(questions, score(self._engine, list(questions.values())), strict=True))
        completed = self._completer.complete(self._engine, list(rows.values()))
        answers.update(zip(rows, completed, strict=True))
        self._seconds += time.monotonic() - began
        for request in requests:
            self._warn(request)
        responses = [answers[i] for i in range(len(requests))]
        return Answers(responses, self._engine.work.computed - before)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        """Render a chat; without a generation prompt the last message is left open.

        Raises:
            UsageError: the tokenizer has no template, or it refuses the chat.
        """
        tokenizer = self._checkpoint.tokenizer
        return render_chat(tokenizer, messages, add_generation_prompt, self._name)

    def close(self) -> None:
        """End the engine and give its memory back."""
        self._engine.close()

    def _answer_makers(self) -> dict[str, Any]:
        """Everything that may change an answer; not the batch size, the devices, or the name."""
        settings = self._settings
        return {
            "backend": "vllm",
            "versions": [RULES_VERSION, GENERATION_VERSION, SCORING_VERSION],
            "libraries": self._list_versions(),
            "trust_remote_code": settings.trust_remote_code,
            "architecture": self._checkpoint.architecture,
            "device": self._engine.device,
            "identity": self._checkpoint.identity,
            "dtype": self._engine.dtype,
            "quantization": settings.quantization,
            "max_length": self._checkpoint.max_length,
            "add_bos_token": settings.add_bos_token,
            "prefix_token_id": self._rules.prefix_id,
            "max_gen_toks": settings.max_gen_toks,
            "chat_template": self._checkpoint.tokenizer.chat_template,
            "engine_args": settings.engine_args,
        }

    def _list_versions(self) -> dict[str, str]:
        import tokenizers
        import transformers

        return {
            "vllm": self._engine.version,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        }

    def _warn(self, request: Request) -> None:
        self._questions.warn(request)
        if isinstance(request, GenerateRequest) and 0 < request.sampling.temperature < 0.01:
            warn_once("vLLM draws with a temperature of .01 at least")


def _needs_nothing(item: Item) -> bool:
    return isinstance(item, Failure) or (isinstance(item, Encoded) and not item.spans)


def _cut(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
