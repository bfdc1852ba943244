"""From questions to prompts that vLLM reads, and back to log-probabilities.

A context that fills a block of the prefix cache is read once for all its continuations: one prompt
gives the log-probabilities of all their first tokens and the most probable one. A longer
continuation is a second prompt, context and continuation without its last token: by then the
context is in the cache, the tokens in between have log-probabilities of their own, and the last
token is asked for as the first was. That the first token comes from the context's own prompt
matters: a context that ends with a block is not computed again, so that a longer prompt has no
log-probability behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmeval.core.responses import Failure, Loglikelihood, Response
from llmeval.models.hf.completions import BROKEN
from llmeval.models.hf.tokens import Encoded, Span
from llmeval.models.packing import IntArray
from llmeval.models.vllm.engine import Engine
from llmeval.models.vllm.probes import Probe, Reading

SCORING_VERSION = 1  # in the model's fingerprint: raise it where scores may change


def sort_key(tokens: IntArray) -> bytes:
    """Return bytes in whose order equal beginnings are neighbours, the shorter first."""
    return tokens.astype(">u4").tobytes()


@dataclass(slots=True)
class _Draft:
    """A prompt, with what several questions want to know about it."""

    tokens: IntArray
    wanted: dict[int, None] = field(default_factory=dict)
    inner: int = 0

    def make_probe(self) -> Probe:
        return Probe(self.tokens.tolist(), list(self.wanted), self.inner)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where a span's log-probabilities are read: its tokens are told by these one after another.

    Args:
        before: prompts that its first tokens follow, one each.
        inner: how many of the last prompt's own tokens are targets.
        last: prompt that its last token follows.
    """

    before: tuple[bytes, ...]
    inner: int
    last: bytes


class ProbePlan:
    """The prompts that answer some questions.

    Args:
        questions: each with at least one span.
        block: tokens that the engine's prefix cache keeps together, 0 where it has none; a context
            that fills no block is not read apart.
        inside: whether it gives log-probabilities of a prompt's own tokens; else every token of a
            continuation is asked for by a prompt of its own.
    """

    def __init__(self, questions: Sequence[Encoded], block: int, inside: bool = True) -> None:
        self._block = block
        self._inside = inside
        self._drafts: dict[bytes, _Draft] = {}
        self._parts = [[self._add(span) for span in q.spans] for q in questions]
        self._order = sorted(self._drafts)

    def list_probes(self) -> list[Probe]:
        """Return the prompts, equal beginnings side by side and the shorter first."""
        return [self._drafts[key].make_probe() for key in self._order]

    def collect(self, questions: Sequence[Encoded], readings: Sequence[Reading]) -> list[Response]:
        """Return the questions' answers from the readings of :meth:`list_probes`."""
        found = dict(zip(self._order, readings, strict=True))
        answers = []
        for question, own in zip(questions, self._parts, strict=True):
            spans = [_score(*pair, found) for pair in zip(question.spans, own, strict=True)]
            answers.append(_join(question, spans))
        return answers

    def _add(self, span: Span) -> _Parts:
        context = len(span.inputs) - len(span.targets) + 1
        before = tuple(
            self._want(span.inputs[: context + place], span.targets[place], 0)
            for place in range(self._count_apart(span))
        )
        inner = len(span.targets) - 1 - len(before)
        return _Parts(before, inner, self._want(span.inputs, span.targets[-1], inner))

    def _count_apart(self, span: Span) -> int:
        """Return how many of a continuation's first tokens are asked for by prompts of their own,
        of all but its last one."""
        others = len(span.targets) - 1
        if not self._inside:
            return others
        fills = 0 < self._block <= len(span.inputs) - others
        return min(1, others) if fills else 0

    def _want(self, prompt: IntArray, token: int, inner: int) -> bytes:
        key = sort_key(prompt)
        draft = self._drafts.setdefault(key, _Draft(prompt))
        draft.wanted[int(token)] = None
        draft.inner = max(draft.inner, inner)
        return key


def score(engine: Engine, questions: Sequence[Encoded]) -> list[Response]:
    """Return the log-probabilities of questions with at least one span each."""
    plan = ProbePlan(questions, engine.block, engine.inside)
    return plan.collect(questions, engine.read(plan.list_probes()))


def _score(span: Span, parts: _Parts, readings: dict[bytes, Reading]) -> list[tuple[float, bool]]:
    """Return each target's log-probability and whether it is the most probable token."""
    first = zip(parts.before, span.targets[: len(parts.before)], strict=True)
    scores = [_look_up(readings[key], token) for key, token in first]
    last = readings[parts.last]
    if parts.inner:
        scores.extend(last.inner[-parts.inner :])
    return [*scores, _look_up(last, span.targets[-1])]


def _look_up(reading: Reading, token: int) -> tuple[float, bool]:
    return reading.logprobs[int(token)], reading.best == int(token)


def _join(question: Encoded, spans: Sequence[Sequence[tuple[float, bool]]]) -> Response:
    """Add up a question's windows."""
    scores = [score for span in spans for score in span]
    logprob = math.fsum(value for value, _ in scores)
    if math.isnan(logprob):
        return BROKEN
    return Loglikelihood(
        logprob=logprob,
        is_greedy=all(best for _, best in scores),
        num_tokens=len(scores),
        prompt_tokens=sum(len(span.inputs) for span in question.spans),
        truncated=question.truncated,
        boundary=question.boundary,
    )


def answer_nothing(question: Encoded | Failure) -> Response:
    """Return the failure, or the certain empty text."""
    if isinstance(question, Failure):
        return question
    return Loglikelihood(0.0, True, 0, truncated=question.truncated, boundary=question.boundary)
