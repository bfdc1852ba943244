"""Scorers: from a completion and its targets to a number. See the table in ``docs/tasks.md``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llmeval.tasks.native.scorers.base import Answer, Judgement, Scorer, Strict, mean
from llmeval.tasks.native.scorers.extraction import LetterSpec, RegexSpec, letter_finder
from llmeval.tasks.native.scorers.matching import ExactSpec, IncludesSpec
from llmeval.tasks.native.scorers.numbers import NumericSpec
from llmeval.tasks.native.scorers.overlap import F1Spec, RougeSpec
from llmeval.tasks.native.scorers.translation import CorpusSpec

__all__ = [
    "AnyScorer",
    "Answer",
    "Judgement",
    "Scorer",
    "Strict",
    "letter_finder",
    "mean",
    "short_form",
]


def short_form(value: Any) -> Any:
    """``exact`` is short for ``{type: exact}``."""
    return {"type": value} if isinstance(value, str) else value


AnyScorer = Annotated[
    Annotated[
        ExactSpec
        | IncludesSpec
        | NumericSpec
        | RegexSpec
        | LetterSpec
        | F1Spec
        | RougeSpec
        | CorpusSpec,
        Field(discriminator="type"),
    ],
    BeforeValidator(short_form),
]
