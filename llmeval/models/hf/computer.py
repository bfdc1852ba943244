"""Computes work on one device: the part of the backend that every worker has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llmeval.core.responses import Failure, Loglikelihood, Response
from llmeval.models.hf.batching import GENERATION_BUDGET, SCORING_BUDGET, Cutter
from llmeval.models.hf.completions import GenerationUnit, PromptRow
from llmeval.models.hf.generation import Generator
from llmeval.models.hf.loading import Checkpoint, load_checkpoint, quiet_transformers
from llmeval.models.hf.packability import Unpackable, find_runner
from llmeval.models.hf.packed import PackedScorer
from llmeval.models.hf.runner import Effort, PackRunner
from llmeval.models.hf.scoring import PlainScorer, Scorer, ScoringUnit, SpanScore
from llmeval.models.hf.source import Source
from llmeval.models.hf.tokens import Encoded, TokenRules
from llmeval.models.settings import ModelSettings

_CPU_PACK = 512  # of 256, 384, 512 and 1024 the fastest on one thread, and
_CPU_PACK_WHOLE = 256  # where all of a pack attends at once, since the mask then hides more
_MOST_OF_PACK = 8192


def load_computer(
    source: Source, name: str, settings: ModelSettings, identify: bool = True
) -> Computer:
    """Load a checkpoint and what computes with it.

    Args:
        identify: tell what the checkpoint's files are; one worker's knowing is enough.

    Raises:
        UsageError: it cannot be loaded.
    """
    return Computer(load_checkpoint(source, name, settings, identify), settings)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Questions that are computed together; travels to a worker.

    Args:
        members: indices of the questions in what was planned.
        items: the questions in tokens, or why there is nothing to compute.
        unit: how they are computed; None where nothing is.
    """

    members: list[int]
    items: list[Encoded | PromptRow | Failure]
    unit: ScoringUnit | GenerationUnit | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """The answers to a piece of work, in its order, and what they took."""

    responses: list[Response]
    effort: Effort
    distinct_tokens: int = 0


class Computer:
    """A checkpoint on one device with its ways of computing.

    Args:
        checkpoint: the loaded model.
        settings: how it is asked.
    """

    def __init__(self, checkpoint: Checkpoint, settings: ModelSettings) -> None:
        model = checkpoint.model
        place = "cpu" if checkpoint.device.type == "cpu" else "gpu"
        self.checkpoint = checkpoint
        self.rules = TokenRules(
            checkpoint.tokenizer,
            checkpoint.max_length,
            model.get_input_embeddings().num_embeddings,
            settings.add_bos_token,
            settings.prefix_token_id,
        )
        size = settings.batch_size
        with quiet_transformers():
            found = _find_runner(checkpoint, settings)
        pack_size = settings.pack_size or choose_pack_size(checkpoint, found)
        self.fallback = found.reason if isinstance(found, Unpackable) else None
        self.scorer: Scorer
        if isinstance(found, PackRunner):
            self.scorer = PackedScorer(found, pack_size)
        else:
            self.scorer = PlainScorer(model, Cutter(size, SCORING_BUDGET[place]))
        self.generator = Generator(
            model,
            self.rules,
            found,
            cutter=Cutter(size, GENERATION_BUDGET[place]),
            slots=size,
            pack_size=pack_size,
            max_gen_toks=settings.max_gen_toks,
        )

    def plan(self, items: Sequence[Encoded | PromptRow | Failure]) -> list[Work]:
        """Cut questions into work, each question once; pure and deterministic."""
        idle = [i for i, item in enumerate(items) if _needs_nothing(item)]
        works = [Work(idle, [items[i] for i in idle])] if idle else []
        pairs = [(i, item) for i, item in enumerate(items) if isinstance(item, Encoded)]
        pairs = [(i, item) for i, item in pairs if item.spans]
        for unit in self.scorer.plan([item for _, item in pairs]):
            members = [pairs[k][0] for k in unit.members]
            works.append(Work(members, [items[i] for i in members], unit))
        prompts = [(i, item) for i, item in enumerate(items) if isinstance(item, PromptRow)]
        for group in self.generator.plan([item for _, item in prompts]):
            members = [prompts[k][0] for k in group.members]
            works.append(Work(members, [items[i] for i in members], group))
        return works

    def compute(self, work: Work) -> Computed:
        """Compute the answers; the same work gives the same bits."""
        with quiet_transformers():
            if isinstance(work.unit, ScoringUnit):
                return self._score(work, work.unit)
            if work.unit is not None:
                done = self.generator.complete(work.unit)
                return Computed(list(done.answers), done.effort, done.distinct)
            return Computed([_answer_at_once(item) for item in work.items], Effort())

    def _score(self, work: Work, unit: ScoringUnit) -> Computed:
        scores = self.scorer.score(unit)
        spans = iter(scores.spans)
        responses = [
            _join_scores(item, [next(spans) for _ in item.spans])
            for item in work.items
            if isinstance(item, Encoded)
        ]
        return Computed(responses, scores.effort, unit.distinct)


def _find_runner(checkpoint: Checkpoint, settings: ModelSettings) -> PackRunner | Unpackable:
    if settings.scorer == "plain":
        return Unpackable("the settings ask for it")
    return find_runner(checkpoint.model, checkpoint.max_length)


def choose_pack_size(checkpoint: Checkpoint, runner: PackRunner | Unpackable) -> int:
    """Return how many new tokens a pack should have on a checkpoint's device.

    A GPU is kept busy as far as its memory goes: float32 logits and their exponentials, and the
    widest activations of a layer, for every token of the pack. Equal devices choose equally.
    """
    if checkpoint.device.type != "cuda":
        in_blocks = isinstance(runner, PackRunner) and runner.block is not None
        return _CPU_PACK if in_blocks else _CPU_PACK_WHOLE
    config = checkpoint.model.config.get_text_config(decoder=True)
    total = torch.cuda.get_device_properties(checkpoint.device).total_memory
    free = max(0, total - checkpoint.model.get_memory_footprint())
    fitting = int(0.25 * free / (10 * config.vocab_size + 64 * config.hidden_size))
    return min(_MOST_OF_PACK, max(_CPU_PACK, 1 << max(0, fitting.bit_length() - 1)))


def _needs_nothing(item: Encoded | PromptRow | Failure) -> bool:
    return isinstance(item, Failure) or (isinstance(item, Encoded) and not item.spans)


def _answer_at_once(item: Encoded | PromptRow | Failure) -> Response:
    """Return the failure, or the certain empty text."""
    return _join_scores(item, []) if isinstance(item, Encoded) else _as_failure(item)


def _as_failure(item: PromptRow | Failure) -> Failure:
    assert isinstance(item, Failure)
    return item


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
