"""Why a unit cannot be judged: the kinds of INVALID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "baseline missing",
    "baseline changed",
    "interrupted",
    "run invalid",
    "nothing measured",
    "too many errors",
    "coverage dropped",
    "data changed",
    "prompt changed",
    "form changed",
    "not comparable",
    "nights unreadable",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no verdict.

    Args:
        what: what is wrong, with its numbers.
        mend: what the reader can do about it.
    """

    kind: Kind
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} ({self.mend})"
