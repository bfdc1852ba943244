"""Shared words: SQuAD's token F1, and ROUGE."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from llmeval.tasks.native.scorers.base import (
    Answer,
    Judgement,
    Scorer,
    ScorerSpec,
    mean_scorer,
)
from llmeval.tasks.native.scorers.matching import normaliser

squad_normalise = normaliser(("case", "punctuation", "articles", "whitespace"))


def token_f1(answer: str, target: str) -> float:
    """Return the F1 of two texts' tokens as bags, in [0, 1].

    As SQuAD 2.0's evaluation script (Rajpurkar et al. 2018): lower case, no ASCII punctuation, no
    articles; two texts without a token agree, and one alone agrees with nothing.
    """
    said, right = squad_normalise(answer).split(), squad_normalise(target).split()
    if not said or not right:
        return float(said == right)
    shared = (Counter(said) & Counter(right)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(said), shared / len(right)
    return 2 * precision * recall / (precision + recall)


class F1Spec(ScorerSpec):
    """SQuAD's token F1 with the best target."""

    type: Literal["f1"]

    def build(self) -> Scorer:
        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = answer.text.strip()
            return Judgement(max(token_f1(text, target) for target in targets), text)

        return mean_scorer(self.name or "f1", judge)


class RougeSpec(ScorerSpec):
    """ROUGE by Google's ``rouge_score``, in [0, 1], with the best target.

    Attributes:
        variant: which n-grams or longest common subsequence.
        measure: F-measure, precision or recall.
        stemmer: Porter's stemmer, for English.
    """

    type: Literal["rouge"]
    variant: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL"
    measure: Literal["fmeasure", "precision", "recall"] = "fmeasure"
    stemmer: bool = False

    def build(self) -> Scorer:
        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = answer.text.strip()
            rouge = _rouge(self.variant, self.stemmer)
            scores = [rouge.score(target, text)[self.variant] for target in targets]
            return Judgement(max(getattr(score, self.measure) for score in scores), text)

        return mean_scorer(self.name or self.variant, judge)


@functools.cache
def _rouge(variant: str, stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # it loads nltk, which takes a second

    return RougeScorer([variant], use_stemmer=stemmer)
