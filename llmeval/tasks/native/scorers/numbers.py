"""Numbers in text, read exactly: 1,234.5 and 3/4 and -2e3 and 60% are fractions, not floats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pydantic import Field

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

# A sign counts unless it follows a word or number (10-3 is a range) or stands apart (a list);
# a comma groups three digits, so a decimal comma (1,5) reads as two numbers.
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<![\w)\]])[-+\u2212](?=[$€£.\d]))?(?:[$€£]\s?)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?![\d,])|\d+|(?=\.\d))(?P<decimals>\.\d+)?"
    r"(?P<exponent>[eE][-+]?\d+)?"
    r"(?:\s?/\s?(?P<below>\d+))?(?![\d])(?P<percent>\s?(?:%|percent\b))?"
)
_MAX_DIGITS = 100
_MAX_EXPONENT = 400  # beyond what a float holds; 1e999999999 would fill the memory

Percent = Literal["either", "number", "fraction"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written; ``percent`` says that a percent sign followed."""

    text: str
    value: Fraction
    percent: bool


def find_numbers(text: str) -> list[Number]:
    """Return the numbers of a text in order; what has a zero below its bar is none."""
    found = (_read(match) for match in _NUMBER.finditer(text))
    return [number for number in found if number is not None]


def _read(match: re.Match[str]) -> Number | None:
    whole, exponent, below = match["whole"], match["exponent"], match["below"]
    digits = len(match[0])
    if digits > _MAX_DIGITS or (exponent and abs(int(exponent[1:])) > _MAX_EXPONENT):
        return None
    value = Fraction((whole.replace(",", "") or "0") + (match["decimals"] or "") + (exponent or ""))
    if below is not None:
        if int(below) == 0:
            return None
        value /= int(below)
    if match["sign"] in ("-", "\u2212"):
        value = -value
    return Number(match[0].strip(), value, match["percent"] is not None)


class NumericSpec(ScorerSpec):
    """1 where the answer's number equals a target within a tolerance.

    ``60%`` is ambiguous: a target ``60`` and a target ``0.6`` may both mean it. Where answer and
    target both have the sign, or neither has, the numbers are compared as they stand. Where only
    one has it, ``percent`` decides: ``either`` (60 and 0.6 are both right), ``number`` (60), or
    ``fraction`` (0.6).

    Attributes:
        pick: which number of the answer counts.
        absolute, relative: how far it may be from the target; the larger allowance holds.
    """

    type: Literal["numeric"]
    pick: Literal["first", "last"] = "last"
    absolute: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    relative: int | float = Field(default=0, ge=0, allow_inf_nan=False)
    percent: Percent = "either"

    def build(self) -> Scorer:
        def judge(answer: Answer, targets: Sequence[str]) -> Judgement:
            numbers = find_numbers(read_text(answer))
            if not numbers:
                raise Unscorable(f"no number in the answer{cut_note(answer)}")
            said = numbers[0 if self.pick == "first" else -1]
            right = any(self._agree(said, target) for target in _read_targets(targets))
            return Judgement(float(right), said.text)

        return mean_scorer(self.name or "numeric_match", judge)

    def _agree(self, said: Number, target: Number) -> bool:
        return any(
            self._close(a, b)
            for a in _readings(said, target, self.percent)
            for b in _readings(target, said, self.percent)
        )

    def _close(self, said: Fraction, target: Fraction) -> bool:
        # Tolerances as they are written: 0.1 is a tenth, not the float next to it.
        allowed = max(Fraction(str(self.absolute)), Fraction(str(self.relative)) * abs(target))
        return abs(said - target) <= allowed


def _readings(number: Number, other: Number, percent: Percent) -> list[Fraction]:
    if not number.percent or other.percent:
        return [number.value]
    readings = {"number": [number.value], "fraction": [number.value / 100]}
    return readings.get(percent, [number.value, number.value / 100])


def _read_targets(targets: Sequence[str]) -> list[Number]:
    numbers = []
    for target in targets:
        found = find_numbers(target)
        if not found:
            raise Unscorable(f"the target {target!r} is no number")
        numbers.append(found[-1])
    return numbers
