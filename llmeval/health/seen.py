"""One sample as the checks see it: what was picked or answered, and what was right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmeval.core import (
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    Response,
    Sample,
    Score,
)

Exchanges = Sequence[tuple[Request, Response]]
_AROUND_LETTERS = " \t\n()[].:"


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the checks know of a task before its first sample.

    Args:
        form: the form in which it is asked, where that is not its own (choices by letter).
        chance: what guessing gives for each metric that has such a level: a number, or
            ``"choices"``, by how many choices of a sample are right.
    """

    name: str
    num_fewshot: int = 0
    form: str | None = None
    chance: Mapping[str, float | Literal["choices"] | None] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One sample.

    Args:
        content: tells equal data rows with equal answers, within one process.
        gold: the right answer, as the task or else the questions tell it.
        prompt: the first prompt as text; None where nothing was asked.
        pick: which choice was preferred; None where nothing was chosen from.
        right: which choices are right; empty where that is not known.
        count: how many choices there are; 0 where nothing was chosen from.
        drawn: completions with their questions, in the order asked.
    """

    sample: Sample
    exchanges: Exchanges
    scores: Sequence[Score]
    content: int
    gold: Gold | None
    prompt: str | None
    pick: int | None
    right: tuple[int, ...]
    count: int
    drawn: Sequence[tuple[GenerateRequest, Generation]]


def look_at(
    facts: TaskFacts,
    sample: Sample,
    exchanges: Exchanges,
    scores: Sequence[Score],
    content: str | None = None,
) -> Seen:
    """Return a sample as the checks see it.

    Args:
        content: digest of the data row and its answer, where there is one already.
    """
    gold = sample.gold or _infer_gold(sample.target, exchanges)
    pick, right, count = _read_pick(facts, gold, exchanges, scores)
    return Seen(
        sample=sample,
        exchanges=exchanges,
        scores=scores,
        # A plain hash: it is quick, and only compared within this process.
        content=hash(content or (sample.target, repr(sample.fields))),
        gold=gold,
        prompt=_text_of(exchanges[0][0]) if exchanges else None,
        pick=pick,
        right=right,
        count=count,
        drawn=[
            (request, response)
            for request, response in exchanges
            if isinstance(response, Generation) and isinstance(request, GenerateRequest)
        ],
    )


def _text_of(request: Request) -> str:
    prompt = request.prompt
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message.content for message in prompt)


def _read_pick(
    facts: TaskFacts, gold: Gold | None, exchanges: Exchanges, scores: Sequence[Score]
) -> tuple[int | None, tuple[int, ...], int]:
    count = len(gold.choices) if gold is not None else 0
    if gold is None or count < 2:
        return None, (), 0
    if facts.form is not None:
        return _read_letter(gold, scores)
    asked = [
        response.logprob
        for request, response in exchanges[:count]
        if isinstance(response, Loglikelihood) and isinstance(request, LoglikelihoodRequest)
    ]
    if len(asked) != count or any(math.isnan(value) for value in asked):
        return None, (), 0
    best = max(range(count), key=asked.__getitem__)  # the first of equals, as tasks score it
    return best, gold.right, count


def _read_letter(gold: Gold, scores: Sequence[Score]) -> tuple[int | None, tuple[int, ...], int]:
    """Return which letter was picked; of shuffled choices it is not known which one is right."""
    letter = scores[0].extracted if scores else None
    count = len(gold.choices)
    if letter is None or len(letter) != 1:
        return None, (), 0
    names = [choice.strip(_AROUND_LETTERS) for choice in gold.choices]
    if letter in names:
        return names.index(letter), gold.right, count
    place = ord(letter) - ord("A")
    return (place, (), count) if 0 <= place < count else (None, (), 0)


def _infer_gold(target: str | None, exchanges: Exchanges) -> Gold | None:
    """Read choices and the right one off the questions and the target, as a record has them."""
    asked = [request for request, _ in exchanges if isinstance(request, LoglikelihoodRequest)]
    if any(request.context for request in asked):  # not those without it (mutual information)
        asked = [request for request in asked if request.context]
    if len(asked) < 2:
        return None
    texts = [request.continuation.strip() for request in asked]
    wanted = (target or "").strip()
    right: tuple[int, ...] = ()
    if texts.count(wanted) == 1:
        right = (texts.index(wanted),)
    elif wanted.isdecimal() and wanted not in texts and int(wanted) < len(texts):
        right = (int(wanted),)
    return Gold(tuple(texts), right)


def flatten(value: Any) -> list[str]:
    """Return all texts in a row's values, lists and objects included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in flatten(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in flatten(part)]
    return []
