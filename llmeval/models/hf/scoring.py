"""Log-probabilities of rows: the seam for scorers, and the plain one in padded batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from llmeval.core.responses import Failure
from llmeval.models.hf.batching import Cutter, MemoryGuard
from llmeval.models.hf.runner import Effort, takes_argument
from llmeval.models.hf.tokens import Encoded, Span
from llmeval.models.packing import build_trie

SCORING_VERSION = 3  # in the model's fingerprint: raise it where scores may change
_LOGITS_AT_ONCE = 1 << 24  # float32 logits that one log-softmax holds: 64 MiB


@dataclass(frozen=True, slots=True)
class SpanScore:
    """Sum of the natural-log probabilities of a span's targets, and whether all are the argmax."""

    logprob: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a unit's spans in their order, and what was computed, padding included."""

    spans: list[SpanScore | Failure]
    effort: Effort


@dataclass(frozen=True, slots=True, eq=False)
class ScoringUnit:
    """Questions that are scored, and journaled, together.

    Args:
        members: indices of the questions.
        spans: their spans, question by question.
        trunk: leading tokens of the first row that neighbouring units have as well.
        distinct: tokens of its prefix tree that no other unit of the plan stands for.
    """

    members: list[int]
    spans: list[Span]
    trunk: int
    distinct: int


class Scorer(Protocol):
    """How rows are scored; what it computes together is its own affair."""

    @property
    def name(self) -> str: ...

    def plan(self, questions: Sequence[Encoded]) -> list[ScoringUnit]:
        """Cut questions with at least one span into units; pure and deterministic."""
        ...

    def score(self, unit: ScoringUnit) -> Scores:
        """Score the spans of a unit; the same unit gives bit-equal scores."""
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
        self._keeps_logits = takes_argument(model, "logits_to_keep")
        self._options = {"use_cache": False} if takes_argument(model, "use_cache") else {}

    def plan(self, questions: Sequence[Encoded]) -> list[ScoringUnit]:
        """Cut by length, longest first; questions that read the same tokens stay together."""
        groups: dict[tuple[bytes, ...], list[int]] = {}
        for index, question in enumerate(questions):
            groups.setdefault(tuple(s.inputs.tobytes() for s in question.spans), []).append(index)
        sizes = [
            (len(questions[members[0]].spans), max(len(s.inputs) for s in questions[m].spans))
            for members in groups.values()
            for m in members[:1]
        ]
        order = sorted(range(len(sizes)), key=lambda group: -sizes[group][1])
        groups_in_order = list(groups.values())
        return [
            _make_unit(questions, sorted(i for g in batch for i in groups_in_order[order[g]]))
            for batch in self._cutter.cut([sizes[group] for group in order])
        ]

    def score(self, unit: ScoringUnit) -> Scores:
        rows: dict[bytes, list[int]] = {}
        for index, span in enumerate(unit.spans):
            rows.setdefault(span.inputs.tobytes(), []).append(index)
        ordered = sorted(rows.values(), key=lambda row: -len(unit.spans[row[0]].inputs))
        widths = [len(unit.spans[row[0]].inputs) for row in ordered]
        scores: list[SpanScore | Failure] = [_UNANSWERED] * len(unit.spans)
        effort = Effort()
        for batch in self._cutter.cut([(1, width) for width in widths]):
            members = [[unit.spans[i] for i in ordered[place]] for place in batch]
            positions = len(batch) * widths[batch[0]]
            effort += Effort(positions, positions * widths[batch[0]], positions)
            for place, answer in zip(batch, self._guard.run(members, self._forward), strict=True):
                for number, index in enumerate(ordered[place]):
                    scores[index] = answer if isinstance(answer, Failure) else answer[number]
        return Scores(scores, effort)

    def _forward(self, rows: Sequence[Sequence[Span]]) -> list[list[SpanScore | Failure]]:
        """Score rows in one pass; the spans of a row read the same inputs."""
        width = max(len(row[0].inputs) for row in rows)
        first = min(len(s.inputs) - len(s.targets) for row in rows for s in row)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row[0].inputs)] = torch.from_numpy(row[0].inputs)
        options: dict[str, Any] = dict(self._options)
        if self._keeps_logits:
            options["logits_to_keep"] = width - first
        with torch.inference_mode():
            logits = self._model(ids.to(self._model.device), **options).logits
        offset = width - logits.shape[1]
        spans = [(number, span) for number, row in enumerate(rows) for span in row]
        counts = [len(span.targets) for _, span in spans]
        places = np.concatenate(
            [
                number * logits.shape[1] + np.arange(len(s.inputs) - len(s.targets), len(s.inputs))
                for number, s in spans
            ]
        )
        targets = np.concatenate([span.targets for _, span in spans])
        read, reads = np.unique(places - offset, return_inverse=True)
        order = np.argsort(reads, kind="stable")
        logprobs, greedy = np.empty(len(reads)), np.empty(len(reads), bool)
        chosen = logits.flatten(0, 1)[torch.from_numpy(read).to(logits.device)]
        logprobs[order], greedy[order] = read_logits(chosen, reads[order], targets[order])
        scores = iter(sum_spans(logprobs, greedy, counts))
        return [[next(scores) for _ in row] for row in rows]


_UNANSWERED = Failure("the scorer gave no answer")


def _make_unit(questions: Sequence[Encoded], members: list[int]) -> ScoringUnit:
    spans = [span for i in members for span in questions[i].spans]
    return ScoringUnit(members, spans, 0, build_trie([span.inputs for span in spans]).nodes)


def read_logits(
    logits: Any, rows: npt.NDArray[np.int64], targets: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return log-probability and argmax hit of each target.

    Args:
        logits: [rows, vocabulary] in the model's dtype; normalised in float32. Overwritten.
        rows: [n] row of each target, ascending.
        targets: [n] token ids.
    """
    logprobs, greedy = np.empty(len(rows)), np.empty(len(rows), bool)
    step = max(1, _LOGITS_AT_ONCE // logits.shape[-1])
    for start in range(0, len(logits), step):
        low, high = np.searchsorted(rows, [start, start + step])
        if low == high:
            continue
        row = torch.from_numpy(rows[low:high] - start).to(logits.device)
        target = torch.from_numpy(targets[low:high].astype(np.int64)).to(logits.device)
        with torch.inference_mode():
            values, hits = _normalise(logits[start : start + step].float(), row, target)
        logprobs[low:high], greedy[low:high] = values.cpu().numpy(), hits.cpu().numpy()
    return logprobs, greedy


def _normalise(logits: Any, row: Any, target: Any) -> tuple[Any, Any]:
    """Return log-softmax and argmax hit at some places of float32 logits, which are overwritten.

    The log-softmax of a whole vocabulary, and its argmax, would cost as much as a layer.
    """
    found = logits[row, target]
    top = logits.amax(dim=-1)
    hits = found == top[row]
    tied = hits.nonzero().squeeze(1)  # the first of equal maxima is the argmax
    hits[tied] = logits[row[tied]].argmax(dim=-1) == target[tied]
    total = logits.sub_(top.unsqueeze(1)).exp_().sum(dim=-1)
    return found - top[row] - total.log()[row], hits


def sum_spans(
    logprobs: npt.NDArray[np.float64], greedy: npt.NDArray[np.bool_], counts: Sequence[int]
) -> list[SpanScore | Failure]:
    """Add up the reads of spans, which stand one span after the other."""
    scores: list[SpanScore | Failure] = []
    start = 0
    for count in counts:
        total = math.fsum(logprobs[start : start + count])
        if math.isfinite(total):
            scores.append(SpanScore(total, bool(greedy[start : start + count].all())))
        else:
            scores.append(Failure("the model's log-probability is not a finite number"))
        start += count
    return scores
