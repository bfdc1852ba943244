"""The checks of a run over its record: old ones, and those of other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from llmeval.core import Message, Sample, Sampling, Score
from llmeval.core.requests import GenerateRequest, LoglikelihoodRequest, Request, RollingRequest
from llmeval.core.responses import from_plain
from llmeval.health.seen import Exchanges, TaskFacts
from llmeval.health.tally import HealthTally
from llmeval.health.template import RunFacts
from llmeval.runs import Run

_BATCH = 512  # samples that are read at once
Findings = tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]


def examine_run(run: Run) -> Findings:
    """Return the findings of each task of a record, and those of the run as a whole.

    They are those that the run itself would store, but for what a record does not hold: where a
    target is not one of the choices' texts or their index, it is not known which one was right.

    Raises:
        UsageError: the record has no tables.
    """
    model: Mapping[str, Any] = run.manifest.get("model") or {}
    entries: Mapping[str, Any] = run.summary.get("tasks") or {}
    metrics = {name: entry.get("metrics") or {} for name, entry in entries.items()}
    facts = [
        TaskFacts(
            name=name,
            num_fewshot=entry.get("num_fewshot") or 0,
            form=entry.get("form"),
            chance={key: metric.get("chance") for key, metric in metrics[name].items()},
        )
        for name, entry in entries.items()
    ]
    tally = HealthTally(facts, informed=model.get("backend") == "baseline")
    for task, sample, exchanges, scores, content in _read(run):
        if task in metrics:
            tally.add(task, sample, exchanges, scores, content)
    options = run.manifest.get("options") or {}
    applied = bool(options.get("apply_chat_template"))
    return tally.find(metrics, RunFacts(model, applied, run.manifest.get("performance")))


def _read(run: Run) -> Iterator[tuple[str, Sample, Exchanges, list[Score], str | None]]:
    scores: dict[tuple[str, str], list[Score]] = {}
    columns = ["task", "sample_id", "metric", "value", "status", "reason", "extracted"]
    for row in _rows(run.scores.select(columns)):
        task, sample_id = row.pop("task"), row.pop("sample_id")
        scores.setdefault((task, sample_id), []).append(Score(**row))
    for row in _rows(run.samples):
        task, sample_id = row["task"], row["sample_id"]
        sample = Sample(
            id=sample_id,
            fields=json.loads(row["fields"] or "{}"),
            target=row["target"],
            metadata=json.loads(row["metadata"] or "{}"),
            cluster=row["cluster"],
        )
        exchanges = list(_read_exchanges(row["prompt"], json.loads(row["exchanges"] or "[]")))
        yield task, sample, exchanges, scores.get((task, sample_id), []), row.get("content")


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _read_exchanges(prompt: str | None, exchanges: list[dict[str, Any]]) -> Iterator[Any]:
    for exchange in exchanges:
        yield _read_request(prompt, exchange["request"]), from_plain(exchange["response"])


def _read_request(prompt: str | None, plain: Mapping[str, Any]) -> Request:
    """Return a request that the record holds; see ``docs/run-record.md``."""
    asked = plain.get("prompt", prompt)
    rest = plain.get("rest") or []
    if plain["kind"] == "rolling":
        return RollingRequest(str(asked))
    if plain["kind"] == "loglikelihood":
        return LoglikelihoodRequest(str(asked), str(rest[0]))
    settings = dict(rest[0]) if rest else {}
    settings["stop"] = tuple(settings.get("stop", ()))
    return GenerateRequest(_read_chat(asked), Sampling(**settings), *rest[1:])


def _read_chat(prompt: Any) -> str | tuple[Message, ...]:
    """A chat stands as turns, or where it is the row's own prompt, as their JSON."""
    if isinstance(prompt, str) and prompt.startswith('[["'):
        try:
            prompt = json.loads(prompt)
        except ValueError:
            return str(prompt)
    if isinstance(prompt, str):
        return prompt
    return tuple(Message(role, content) for role, content in prompt or ())
