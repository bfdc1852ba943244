"""What a run would take: questions, tokens, dollars. Asks no question that costs anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from llmeval.core import (
    Estimated,
    GenerateRequest,
    InformedModel,
    Model,
    Request,
    ServedModel,
    Task,
)
from llmeval.engine import Journal
from llmeval.engine.journal import Keyring
from llmeval.preparation import prepared
from llmeval.run_spec import RunSpec
from llmeval.session import journal_path
from llmeval.tasks.letters import first_questions

_CHUNK = 512  # samples looked up at once
_CHARACTERS_A_TOKEN = 4


@dataclass(slots=True)
class TaskForecast:
    """What one task would take.

    Attributes:
        samples, questions: in all; ``journaled`` of the questions are answered already.
        prompt_tokens: of what is left to ask, estimated at four bytes a token.
        completion_tokens: at most: every answer as long as it may be.
        usd: at most; None where no price is known.
        form: how it is asked, where that is not its own way.
    """

    name: str
    samples: int = 0
    questions: int = 0
    journaled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    form: str | None = None


@dataclass(slots=True)
class Forecast:
    """What a run would take, task by task."""

    model: str
    price: dict[str, Any] | None
    tasks: list[TaskForecast] = field(default_factory=list)

    def total(self) -> TaskForecast:
        """Return the sums."""
        total = TaskForecast("total")
        for task in self.tasks:
            for name in ("samples", "questions", "journaled", "prompt_tokens", "completion_tokens"):
                setattr(total, name, getattr(total, name) + getattr(task, name))
            if task.usd is not None:
                total.usd = (total.usd or 0.0) + task.usd
        return total

    def to_plain(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "price": self.price,
            "tasks": {task.name: asdict(task) for task in self.tasks},
            "total": asdict(self.total()),
        }


def forecast(spec: RunSpec) -> Forecast:
    """Return what a run would take beyond what the journal holds.

    Tasks in several steps are counted by their first question, for the others depend on answers.

    Raises:
        UsageError: as for the run itself.
    """
    with prepared(spec) as (model, selection, _), Journal(journal_path(spec)) as journal:
        price = model.report().get("price") if isinstance(model, ServedModel) else None
        found = Forecast(model.name, price)
        if isinstance(model, InformedModel):
            found.tasks = [TaskForecast(t.name, len(t)) for t in selection.tasks]
            return found
        scoring = model.scoring_fingerprint if isinstance(model, ServedModel) else None
        keyring, seen = Keyring(model.fingerprint, scoring), set[bytes]()
        for task in selection.tasks:
            one = TaskForecast(task.name, form=getattr(task, "form", None))
            one.usd = None if price is None else 0.0
            _forecast_task(one, task, model, journal, keyring, seen)
            found.tasks.append(one)
        if spec.batch:
            _discount(found, model)
    return found


def _discount(found: Forecast, model: Model | ServedModel) -> None:
    """Take off what the batch service saves."""
    from llmeval.models.served.model import OpenAIModel

    if isinstance(model, OpenAIModel):
        for task in found.tasks:
            task.usd = None if task.usd is None else task.usd * model.batch_share


def _forecast_task(
    found: TaskForecast,
    task: Task,
    model: Model | ServedModel,
    journal: Journal,
    keyring: Keyring,
    seen: set[bytes],
) -> None:
    for questions in _chunks(task):
        found.samples += len(questions)
        keys = [[keyring.key(request) for request in asked] for asked in questions]
        known = journal.lookup(list({key for row in keys for key in row}))
        for asked, row in zip(questions, keys, strict=True):
            found.questions += len(asked)
            found.journaled += sum(key in known for key in row)
            fresh = {
                key: request
                for key, request in zip(row, asked, strict=True)
                if key not in known and key not in seen
            }
            seen.update(row)
            _add(found, list(fresh.values()), model)


def _chunks(task: Task) -> Iterator[list[list[Request]]]:
    samples = task.samples()
    while chunk := list(itertools.islice(samples, _CHUNK)):
        yield first_questions(task, chunk)


def _add(found: TaskForecast, requests: Sequence[Request], model: Model | ServedModel) -> None:
    if not requests:
        return
    if not isinstance(model, ServedModel):
        groups = [_estimate(request) for request in requests]
    else:
        groups = [model.estimate([requests[i] for i in g]) for g in model.group(requests)]
    for one in groups:
        found.prompt_tokens += one.prompt_tokens
        found.completion_tokens += one.completion_tokens
        if one.usd is not None:
            found.usd = (found.usd or 0.0) + one.usd


def _estimate(request: Request) -> Estimated:
    """Estimate a question to a local model."""
    if isinstance(request, GenerateRequest):
        limit = request.sampling.max_tokens or 0
        return Estimated(request.size // _CHARACTERS_A_TOKEN, limit)
    size = sum(len(part) for part in request.canonical())
    return Estimated(size // _CHARACTERS_A_TOKEN, 0)
