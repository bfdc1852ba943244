"""The packed scorer: every distinct token of the questions is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmeval.core.responses import Failure
from llmeval.models.hf.batching import MemoryGuard
from llmeval.models.hf.runner import PackRunner
from llmeval.models.hf.scoring import Scores, ScoringUnit, SpanScore, read_logits, sum_spans
from llmeval.models.hf.tokens import Encoded
from llmeval.models.packing import IntArray, Pack, build_trie, cut_packs, list_members, plan_units

PACKS_OF_UNIT = 16  # a unit is journaled whole, and computes half a trunk step twice


class PackedScorer:
    """Scores questions as a prefix tree, pack by pack.

    Args:
        runner: computes packs.
        size: most new tokens of a pack; halved when memory runs out, and remembered.
    """

    name = "packed"

    def __init__(self, runner: PackRunner, size: int) -> None:
        self._runner = runner
        self._unit_size = size * PACKS_OF_UNIT
        self._guard = MemoryGuard(size)

    @property
    def pack_size(self) -> int:
        """Most new tokens of a pack, as far as the memory allowed."""
        return self._guard.limit or 1

    def plan(self, questions: Sequence[Encoded]) -> list[ScoringUnit]:
        """Cut questions into units in the order of the tree that they form together."""
        single = [i for i, question in enumerate(questions) if len(question.spans) == 1]
        several = [i for i, question in enumerate(questions) if len(question.spans) > 1]
        return [*self._plan_tree(questions, single), *self._plan_groups(questions, several)]

    def score(self, unit: ScoringUnit) -> Scores:
        """Score the spans of a unit; it gives the same bits whichever unit came before."""
        self._runner.take_effort()
        sums = self._guard.run_whole(
            lambda size: self._score(unit, size), on_failure=self._runner.reset
        )
        effort = self._runner.take_effort()
        if isinstance(sums, Failure):
            return Scores([sums] * len(unit.spans), effort)
        broken = [i for i, found in enumerate(sums) if isinstance(found, Failure)]
        if broken and len(sums) > 1:
            # What is no number spoils the nodes that it is masked from, too: 0 x NaN is NaN.
            self._runner.reset()
            for index in broken:
                alone = self.score(ScoringUnit([0], [unit.spans[index]], 0, 0))
                sums[index], effort = alone.spans[0], effort + alone.effort
        return Scores(sums, effort)

    def _plan_tree(
        self, questions: Sequence[Encoded], members: Sequence[int]
    ) -> Iterator[ScoringUnit]:
        if not members:
            return
        spans = [questions[i].spans[0] for i in members]
        trie = build_trie([span.inputs for span in spans])
        first_reads = trie.lengths
        np.minimum.at(first_reads, trie.row_of, [len(s.inputs) - len(s.targets) for s in spans])
        units = plan_units(trie, first_reads.tolist(), self._unit_size)
        for unit, chosen in zip(units, list_members(trie, units), strict=True):
            yield ScoringUnit(
                [members[i] for i in chosen], [spans[i] for i in chosen], unit.trunk, unit.distinct
            )

    def _plan_groups(
        self, questions: Sequence[Encoded], members: Sequence[int]
    ) -> Iterator[ScoringUnit]:
        """Cut questions of several windows, in the order given: a question is answered whole."""
        group: list[int] = []
        tokens = 0
        for place, index in enumerate(members):
            group.append(index)
            tokens += sum(len(span.inputs) for span in questions[index].spans)
            if tokens >= self._unit_size or place == len(members) - 1:
                spans = [span for i in group for span in questions[i].spans]
                distinct = build_trie([span.inputs for span in spans]).nodes
                yield ScoringUnit(group, spans, 0, distinct)
                group, tokens = [], 0

    def _score(self, unit: ScoringUnit, size: int) -> list[SpanScore | Failure]:
        trunk, packs, targets = _cut(unit, size)
        logprobs = np.empty(len(targets))
        greedy = np.empty(len(targets), bool)
        self._runner.begin(trunk)
        for pack in packs:
            logprobs[pack.read_ids], greedy[pack.read_ids] = read_pack(
                self._runner, pack, targets[pack.read_ids]
            )
        return sum_spans(logprobs, greedy, [len(span.targets) for span in unit.spans])


def read_pack(
    runner: PackRunner, pack: Pack, targets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Compute a pack; return log-probability and argmax hit of the targets of its reads."""
    if runner.head is None:
        return read_logits(runner.run(pack), pack.reads, targets)
    states = runner.run_to_head(pack, runner.head)
    return runner.head.read(states, pack.reads, targets)


def _cut(unit: ScoringUnit, size: int) -> tuple[IntArray, list[Pack], npt.NDArray[np.int64]]:
    """Return a unit's trunk, its packs, and the target of each read in the order of its spans."""
    trie = build_trie([span.inputs for span in unit.spans])
    shared = trie.shared.copy()
    shared[0] = unit.trunk
    counts = [len(span.targets) for span in unit.spans]
    rows = np.repeat(trie.row_of, counts)
    places = np.concatenate(
        [np.arange(len(s.inputs) - len(s.targets), len(s.inputs)) for s in unit.spans]
    )
    targets = np.concatenate([span.targets for span in unit.spans]).astype(np.int64)
    packs = cut_packs(trie.rows, shared, np.stack([rows, places]), size)
    return trie.rows[0][: unit.trunk], packs, targets
