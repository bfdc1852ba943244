"""Items of records for the tests of pages: choices, completions, chats, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Score,
)
from tests.support import hostile
from tests.support.records import Item

TEXTS = ("red", "green", "blue", "black")
_METRIC = hostile.HANDLER + hostile.BIDI


def choice(name: str, logprobs: Sequence[float], right: int, **about: Any) -> Item:
    """Four colours after one prompt; the likeliest is picked."""
    picked = max(range(len(logprobs)), key=logprobs.__getitem__)
    prompt = f"Question: which is {name}?\nAnswer:"
    return Item(
        name,
        {"acc": Score("acc", float(picked == right), extracted=TEXTS[picked])},
        question=f"which is {name}?",
        target=TEXTS[right],
        exchanges=[
            (
                LoglikelihoodRequest(prompt, f" {text}"),
                Loglikelihood(logprob, text == TEXTS[picked], 2, prompt_tokens=12),
            )
            for text, logprob in zip(TEXTS, logprobs, strict=False)
        ],
        **about,
    )


def completion(name: str, answer: str, value: float | Score, **about: Any) -> Item:
    """A chat with one answer."""
    turns = (Message("system", "Be careful."), Message("user", f"What is {name}?"))
    return Item(
        name,
        {"exact_match": value},
        question=f"What is {name}?",
        exchanges=[(GenerateRequest(turns), Generation(answer, prompt_tokens=20))],
        **about,
    )


def failure(name: str, reason: str) -> Item:
    """A question that got no answer."""
    verdict = Score("exact_match", status="errored", reason=reason)
    return Item(
        name, {"exact_match": verdict}, exchanges=[(GenerateRequest(name), Failure(reason))]
    )


def hostile_items() -> list[Item]:
    """Texts that must stay texts, wherever a record may hold one."""
    items = [
        Item(
            f"item {i} {text}",
            {
                "exact_match": Score("exact_match", 0.0, extracted=text),
                _METRIC: Score(_METRIC, 0.5),
            },
            question=text,
            target=text,
            cluster=text,
            metadata={"kind": f"{i % 2} {text}", text: text},
            exchanges=[
                (
                    GenerateRequest((Message(text, text), Message("user", f"{i} {text}"))),
                    Generation(text, reasoning=text, top_logprobs={text: -1.0}),
                )
            ],
        )
        for i, text in enumerate(hostile.TEXTS)
    ]
    return [*items, completion("long", hostile.LONG, 1.0), failure("none", hostile.EVERYTHING)]
