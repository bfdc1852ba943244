"""Runs made up sample by sample, as the checks are fed them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from llmeval.core import (
    GenerateRequest,
    Generation,
    Gold,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Sample,
    Sampling,
    Score,
)
from llmeval.health import HealthTally, RunFacts, TaskFacts

MODEL = {"backend": "hf", "name": "hf:some/model"}
LETTERS = ("A", "B", "C", "D")


def choice(
    number: int,
    pick: int,
    right: int,
    *,
    choices: Sequence[str] = LETTERS,
    prompt: str = "",
    **sample: Any,
) -> tuple[Any, ...]:
    """Return a sample of which a choice was picked by log-probability."""
    prompt = prompt or f"Question {number}?\nAnswer:"
    asked = [
        (
            LoglikelihoodRequest(prompt, f" {text}"),
            Loglikelihood(-1.0 if i == pick else -2.0 - i, i == pick, 1),
        )
        for i, text in enumerate(choices)
    ]
    given = {"fields": {"question": f"Question {number}?", "number": number}, **sample}
    made = Sample(str(number), target=choices[right], gold=Gold(tuple(choices), (right,)), **given)
    return made, asked, [Score("acc", float(pick == right))]


def completion(
    number: int,
    text: str,
    target: str | None = "",
    *,
    value: float | None = None,
    extracted: str | None = None,
    finish: Any = "stop",
    prompt: Any = None,
    max_tokens: int | None = 64,
    truncated: int = 0,
    unread: bool = False,
    **sample: Any,
) -> tuple[Any, ...]:
    """Return a sample that was answered by a completion."""
    target = f"target {number}" if target == "" else target
    request = GenerateRequest(prompt or f"Question {number}?", Sampling(max_tokens=max_tokens))
    answer = Generation(text, finish, truncated=truncated)
    given = {"fields": {"question": f"Question {number}?", "number": number}, **sample}
    made = Sample(str(number), target=target, gold=Gold(text=target), **given)
    if unread:
        score = Score("exact_match", None, "unscored", "the pattern is not in the answer")
    else:
        right = float(text.strip() == target) if value is None else value
        score = Score("exact_match", right, extracted=extracted)
    return made, [(request, answer)], [score]


def chat(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def examine(
    rows: Sequence[tuple[Any, ...]],
    *,
    informed: bool = False,
    model: dict[str, Any] | None = None,
    chat_applied: bool = False,
    report: dict[str, Any] | None = None,
    **facts: Any,
) -> dict[str, dict[str, Any]]:
    """Return the findings of a task and of its run, by the name of their check."""
    tally = HealthTally([make_facts("t", **facts)], informed=informed)
    for row in rows:
        tally.add("t", *row)
    metrics = {"t": {"acc": {"chance": 0.25}}}
    tasks, run = tally.find(metrics, RunFacts(model or MODEL, chat_applied, report))
    return {finding["check"]: finding for finding in [*tasks["t"], *run]}


def make_facts(name: str, **facts: Any) -> TaskFacts:
    return TaskFacts(name, **{"chance": {"acc": "choices"}, **facts})


def guesses(seed: int, n: int, picker: Callable[[random.Random, int], int]) -> list[Any]:
    """Return ``n`` samples of four choices whose right one is drawn evenly.

    Args:
        picker: from a generator and the right choice to the one picked.
    """
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        right = draw.randrange(4)
        metadata = {"subject": f"s{number % 8}", "difficulty": number % 3}
        rows.append(choice(number, picker(draw, right), right, metadata=metadata))
    return rows


def at_random(draw: random.Random, right: int) -> int:
    return draw.randrange(4)


def mostly_right(draw: random.Random, right: int) -> int:
    return right if draw.random() < 0.6 else draw.randrange(4)
