"""Log-probabilities of rows: the seam for scorers, and the plain one in padded batches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from llmeval.core.responses import Failure
from llmeval.models.hf.batching import Cutter, MemoryGuard
from llmeval.models.hf.tokens import Encoded, Span

SCORING_VERSION = 1  # in the model's fingerprint: raise it where scores may change
_LOGITS_AT_ONCE = 1 << 24  # float32 logits that one log-softmax holds: 64 MiB


@dataclass(frozen=True, slots=True)
class SpanScore:
    """Sum of the natural-log probabilities of a span's targets, and whether all are the argmax."""

    logprob: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of spans in the order given, and the positions computed, padding included."""

    spans: list[SpanScore | Failure]
    computed_tokens: int


class Scorer(Protocol):
    """How rows are scored; what it computes together is its own affair."""

    @property
    def name(self) -> str: ...

    def plan(self, questions: Sequence[Encoded]) -> list[list[int]]:
        """Cut questions into batches of indices; pure and deterministic."""
        ...

    def score(self, spans: Sequence[Span]) -> Scores:
        """Score the spans of one batch; the same spans give bit-equal scores."""
        ...


class PlainScorer:
    """Right-padded batches, one row for all spans that read the same tokens.

    Right padding needs no mask under causal attention: no row's own position sees it.
    """

    name = "plain"

    def __init__(self, model: Any, cutter: Cutter) -> None:
        self._model = model
        self._cutter = cutter
        self._guard = MemoryGuard()
        accepted = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in accepted
        self._options: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted else {}

    def plan(self, questions: Sequence[Encoded]) -> list[list[int]]:
        """Cut by length, longest first; questions that read the same tokens stay together."""
        units: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for index, question in enumerate(questions):
            units.setdefault(tuple(s.inputs for s in question.spans), []).append(index)
        ordered = sorted(units.items(), key=lambda item: -_width(item[0]))
        sizes = [(len(rows), _width(rows)) for rows, _ in ordered]
        return [
            sorted(index for unit in batch for index in ordered[unit][1])
            for batch in self._cutter.cut(sizes)
        ]

    def score(self, spans: Sequence[Span]) -> Scores:
        rows: dict[tuple[int, ...], list[int]] = {}
        for index, span in enumerate(spans):
            rows.setdefault(span.inputs, []).append(index)
        ordered = sorted(rows, key=len, reverse=True)
        scores: list[SpanScore | Failure] = [_UNANSWERED] * len(spans)
        computed = 0
        for batch in self._cutter.cut([(1, len(inputs)) for inputs in ordered]):
            members = [[spans[i] for i in rows[ordered[unit]]] for unit in batch]
            computed += len(batch) * len(ordered[batch[0]])
            for unit, answer in zip(batch, self._guard.run(members, self._forward), strict=True):
                for place, index in enumerate(rows[ordered[unit]]):
                    scores[index] = answer if isinstance(answer, Failure) else answer[place]
        return Scores(scores, computed)

    def _forward(self, rows: Sequence[Sequence[Span]]) -> list[list[SpanScore | Failure]]:
        """Score rows in one pass; the spans of a row read the same inputs."""
        width = max(len(row[0].inputs) for row in rows)
        first = min(len(s.inputs) - len(s.targets) for row in rows for s in row)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row[0].inputs)] = torch.tensor(row[0].inputs)
        options = dict(self._options)
        if self._keeps_logits:
            options["logits_to_keep"] = width - first
        with torch.inference_mode():
            logits = self._model(ids.to(self._model.device), **options).logits
            offset = width - logits.shape[1]
            spans = [(number, span) for number, row in enumerate(rows) for span in row]
            logprobs, greedy = _score_targets(logits, offset, spans)
        scores = iter(_sum_spans(logprobs, greedy, [len(span.targets) for _, span in spans]))
        return [[next(scores) for _ in row] for row in rows]


_UNANSWERED = Failure("the scorer gave no answer")


def _width(rows: Sequence[Sequence[int]]) -> int:
    return max(map(len, rows), default=0)


def _score_targets(
    logits: Any, offset: int, spans: Sequence[tuple[int, Span]]
) -> tuple[list[float], list[bool]]:
    """Return log-probability and argmax hit of every target token, in the order of the spans.

    Args:
        logits: [rows, positions, vocabulary] in the model's dtype; normalised in float32.
        offset: position in the row of the first position that ``logits`` holds.
        spans: (row, span); targets sit on the last positions of the span's inputs.
    """
    row_of = [row for row, span in spans for _ in span.targets]
    place_of = [
        place - offset
        for _, span in spans
        for place in range(len(span.inputs) - len(span.targets), len(span.inputs))
    ]
    target_of = [token for _, span in spans for token in span.targets]
    index = torch.tensor([row_of, place_of, target_of], device=logits.device)
    logprobs: list[float] = []
    greedy: list[bool] = []
    for part in index.split(max(1, _LOGITS_AT_ONCE // logits.shape[-1]), dim=1):
        chosen = torch.log_softmax(logits[part[0], part[1]].float(), dim=-1)
        logprobs += chosen.gather(1, part[2].unsqueeze(1)).squeeze(1).tolist()
        greedy += (chosen.argmax(dim=-1) == part[2]).tolist()
    return logprobs, greedy


def _sum_spans(
    logprobs: Sequence[float], greedy: Sequence[bool], lengths: Sequence[int]
) -> list[SpanScore | Failure]:
    scores: list[SpanScore | Failure] = []
    start = 0
    for length in lengths:
        total = math.fsum(logprobs[start : start + length])
        if math.isfinite(total):
            scores.append(SpanScore(total, all(greedy[start : start + length])))
        else:
            scores.append(Failure("the model's log-probability is not a finite number"))
        start += length
    return scores
