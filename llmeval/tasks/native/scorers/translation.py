"""BLEU, chrF and TER of a whole corpus, by sacrebleu with its default settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from llmeval.core import Metric
from llmeval.stats import Estimate, bootstrap_bleu, bootstrap_chrf, bootstrap_ter
from llmeval.tasks.native.scorers.base import Answer, Judgement, Scorer, ScorerSpec

Clusters = Sequence[str] | None
Corpus = Callable[[Sequence[str], Sequence[Sequence[str]], Clusters], Estimate]


def _bleu(answers: Sequence[str], references: Sequence[Sequence[str]], c: Clusters) -> Estimate:
    return bootstrap_bleu(answers, references, clusters=c)


def _chrf(answers: Sequence[str], references: Sequence[Sequence[str]], c: Clusters) -> Estimate:
    return bootstrap_chrf(answers, references, clusters=c)


def _chrfpp(answers: Sequence[str], references: Sequence[Sequence[str]], c: Clusters) -> Estimate:
    return bootstrap_chrf(answers, references, word_order=2, clusters=c)


def _ter(answers: Sequence[str], references: Sequence[Sequence[str]], c: Clusters) -> Estimate:
    return bootstrap_ter(answers, references, clusters=c)


_CORPUS: dict[str, Corpus] = {"bleu": _bleu, "chrf": _chrf, "chrf++": _chrfpp, "ter": _ter}


class CorpusSpec(ScorerSpec):
    """A metric of all answers together; every target of a sample is a reference.

    ``bleu``, ``chrf`` and ``chrf++`` run from 0 to 100; ``ter`` is an edit rate in percent, where
    less is better.
    """

    type: Literal["bleu", "chrf", "chrf++", "ter"]

    def build(self) -> Scorer:
        corpus = _CORPUS[self.type]

        def estimate(items: Sequence[Any], clusters: Clusters) -> Estimate:
            answers = [item[0] for item in items]
            return corpus(answers, [item[1] for item in items], clusters)

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = answer.text.strip()
            return Judgement(None, text, [text, list(targets)])

        name = self.name or self.type
        higher = self.type != "ter"
        return Scorer(Metric(name, estimate, higher, aggregation="corpus"), judge)
