"""Ask a model as the engine does: plan, answer each batch, put the answers in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmeval.core import Request, Response


def ask(model: Any, requests: Sequence[Request]) -> list[Response]:
    answers: dict[int, Response] = {}
    for batch in model.plan(requests):
        responses = model.answer([requests[i] for i in batch]).responses
        answers.update(zip(batch, responses, strict=True))
    assert sorted(answers) == list(range(len(requests)))
    return [answers[i] for i in range(len(requests))]
