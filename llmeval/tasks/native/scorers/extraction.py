"""Reading the answer out of a completion: by a pattern, or the letter of a choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from llmeval.core import Unscorable
from llmeval.tasks.native.scorers.base import (
    Answer,
    Judgement,
    Scorer,
    ScorerSpec,
    cut_note,
    mean_scorer,
    read_text,
)
from llmeval.tasks.native.scorers.matching import Difference, normaliser


class RegexSpec(ScorerSpec):
    """1 where what a pattern finds in the answer equals a target.

    Attributes:
        pattern: Python's syntax; ``.`` also matches a line's end only with ``(?s)``.
        group: the group that is the answer; by default the first one, or all where there is none.
        pick: which match counts.
        ignore: as for ``exact``.
    """

    type: Literal["regex"]
    pattern: str
    group: int | str | None = None
    pick: Literal["first", "last"] = "first"
    ignore: list[Difference] = Field(default_factory=list)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _has_group(self) -> Self:
        pattern = re.compile(self.pattern)
        known = {*range(pattern.groups + 1), *pattern.groupindex}
        if self.group is not None and self.group not in known:
            raise ValueError(f"the pattern has no group {self.group!r}")
        return self

    def build(self) -> Scorer:
        pattern = re.compile(self.pattern)
        group = self.group if self.group is not None else min(pattern.groups, 1)
        normalise = normaliser(self.ignore)

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            found = [match[group] for match in pattern.finditer(read_text(answer))]
            found = [text for text in found if text is not None]
            if not found:
                raise Unscorable(f"the pattern is not in the answer{cut_note(answer)}")
            said = found[0 if self.pick == "first" else -1]
            return Judgement(float(normalise(said) in map(normalise, targets)), said)

        return mean_scorer(self.name or "regex_match", judge)


class LetterSpec(ScorerSpec):
    """1 where the letter that the answer names is the target.

    Read in this order, the first that finds a letter decides: the answer is nothing but a letter,
    or starts with one as ``B.``, ``(B)`` or ``B:``; a phrase such as "the answer is (B)", the last
    one; a letter in brackets; a capital that stands alone. Where one of these finds several
    different letters, the answer is unscored.

    Attributes:
        letters: the letters that there are.
    """

    type: Literal["letter"]
    letters: str = Field(default="ABCDEFGHIJ", min_length=2, pattern=r"^[A-Z]+$")

    def build(self) -> Scorer:
        find = letter_finder(self.letters)

        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            letter = find(answer)
            return Judgement(float(letter in [t.strip().upper() for t in targets]), letter)

        return mean_scorer(self.name or "letter_match", judge)


def letter_finder(letters: str) -> Callable[[Answer], str]:
    """Return a function that reads the letter of a choice out of an answer.

    It raises Unscorable where there is none, or several.
    """
    patterns = _letter_patterns(letters)
    return lambda answer: _find_letter(patterns, answer)


def _letter_patterns(letters: str) -> list[tuple[re.Pattern[str], bool]]:
    """Return the patterns in order, each with whether its last match is taken."""
    either_case = f"[{letters}{letters.lower()}]"
    return [
        (re.compile(rf"\s*[(\[]?({either_case})[)\].:]*\s*$"), False),
        (re.compile(rf"\A\s*(?:[(\[]([{letters}])[)\]]|([{letters}])[).:](?=\s|$))"), False),
        (
            re.compile(
                rf"(?i:answer|choice|option)(?i:\s+is)?\s*:?\s*[*(\[]*([{letters}])(?![\w'])"
                rf"|(?i:answer\s+is|choose|pick|select)\s*:?\s*[*(\[]*([{letters}])(?![\w'])"
            ),
            True,
        ),
        (re.compile(rf"[(\[]([{letters}])[)\]]"), False),
        # "A" and "I" alone are words as well: they count only where no further word follows.
        (re.compile(rf"(?<![\w'])([{letters}])(?![\w'])(?!(?<=[AI])\s+\w)"), False),
    ]


def _find_letter(patterns: Sequence[tuple[re.Pattern[str], bool]], answer: Answer) -> str:
    text = read_text(answer)
    for number, (pattern, takes_last) in enumerate(patterns):
        # The first pattern is about the whole answer.
        matches = [pattern.match(text)] if number == 0 else list(pattern.finditer(text))
        found = [next(g for g in m.groups() if g).upper() for m in matches if m]
        if found and (takes_last or len(set(found)) == 1):
            return found[-1]
        if found:
            raise Unscorable(f"the answer names several letters: {', '.join(sorted(set(found)))}")
    raise Unscorable(f"no letter of a choice in the answer{cut_note(answer)}")
