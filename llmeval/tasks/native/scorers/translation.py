"""BLEU, chrF and TER of a whole corpus, by sacrebleu with its default settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from llmeval.core import Metric
from llmeval.tasks.aggregations import aggregate
from llmeval.tasks.native.scorers.base import Answer, Judgement, Scorer, ScorerSpec

_LM_EVALS = {"bleu": "bleu", "chrf": "chrf", "chrf++": "chrfpp", "ter": "ter"}


class CorpusSpec(ScorerSpec):
    """A metric of all answers together; every target of a sample is a reference.

    ``bleu``, ``chrf`` and ``chrf++`` run from 0 to 100; ``ter`` is an edit rate in percent, where
    less is better. An item is ``[references, answer]``, as in lm-eval.
    """

    type: Literal["bleu", "chrf", "chrf++", "ter"]

    def build(self) -> Scorer:
        aggregation = _LM_EVALS[self.type]

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = answer.text.strip()
            return Judgement(None, text, [list(targets), text])

        metric = Metric(
            self.name or self.type,
            partial(aggregate, aggregation),
            higher_is_better=self.type != "ter",
            aggregation=aggregation,
        )
        return Scorer(metric, judge)
