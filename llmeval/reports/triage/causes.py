"""What can make one answer worse than another, in the order in which it is looked for."""

from __future__ import annotations

from typing import Literal, get_args

Cause = Literal[
    "error",
    "data change",
    "prompt change",
    "format",
    "truncation",
    "refusal",
    "empty answer",
    "not scored",
    "answer bias",
    "capability",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""
- ``error``: there was no answer.
- ``data change``, ``prompt change``: another row, or another question about it.
- ``format``: what was answered is right once its wrapping is taken off.
- ``truncation``: the answer was cut at the token limit, or the prompt was cut.
- ``refusal``: the model declined to answer.
- ``empty answer``: no text was generated, or blanks only.
- ``not scored``: the scorer could not judge the answer, and says why.
- ``answer bias``: it picked the letter or label that it has come to favour.
- ``capability``: none of these; the answer is just worse.
"""

MEANINGS: dict[Cause, str] = {
    "error": "got no answer",
    "data change": "are about changed data",
    "prompt change": "were asked otherwise",
    "format": "are as good as before once their wrapping is taken off",
    "truncation": "were cut off",
    "refusal": "are refusals",
    "empty answer": "are empty",
    "not scored": "have an answer that could not be judged",
    "answer bias": "pick the label that has come to be favoured",
    "capability": "are just worse",
}
