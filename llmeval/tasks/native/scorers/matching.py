"""Equal texts: exact match and inclusion, up to differences that do not count."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from llmeval.tasks.native.scorers.base import (
    Answer,
    Judgement,
    Scorer,
    ScorerSpec,
    mean_scorer,
)

Difference = Literal["case", "punctuation", "articles", "whitespace"]

_ARTICLE = re.compile(r"\b(a|an|the)\b", re.IGNORECASE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normaliser(ignore: Sequence[Difference]) -> Callable[[str], str]:
    """Return a function that removes differences which do not count.

    The order is that of SQuAD's evaluation script: case, punctuation (ASCII), articles, whitespace;
    all four together are its normalisation.
    """

    def normalise(text: str) -> str:
        if "case" in ignore:
            text = text.lower()
        if "punctuation" in ignore:
            text = text.translate(_PUNCTUATION)
        if "articles" in ignore:
            text = _ARTICLE.sub(" ", text)
        if "whitespace" in ignore or "articles" in ignore:
            text = " ".join(text.split())
        return text.strip()

    return normalise


class ExactSpec(ScorerSpec):
    """1 where the answer equals a target; blanks around both never count."""

    type: Literal["exact"]
    ignore: list[Difference] = Field(default_factory=list)

    def build(self) -> Scorer:
        normalise = normaliser(self.ignore)

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = answer.text.strip()
            said = normalise(text)
            return Judgement(float(said in map(normalise, targets)), text)

        return mean_scorer(self.name or "exact_match", judge)


class IncludesSpec(ScorerSpec):
    """1 where a target occurs in the answer, as whole words unless ``words: false``."""

    type: Literal["includes"]
    ignore: list[Difference] = Field(default_factory=list)
    words: bool = True

    def build(self) -> Scorer:
        normalise = normaliser(self.ignore)

        def occurs(target: str, text: str) -> bool:
            if not self.words:
                return target in text
            return re.search(rf"(?<!\w){re.escape(target)}(?!\w)", text) is not None

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            text = normalise(answer.text.strip())
            found = next((t for t in targets if occurs(normalise(t), text)), None)
            return Judgement(float(found is not None), found)

        return mean_scorer(self.name or "includes", judge)
