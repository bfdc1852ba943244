"""Records with known scores, written by the product's own writer: no model, no task, no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmeval.core import (
    GenerateRequest,
    Generation,
    Metric,
    Request,
    Response,
    Sample,
    Score,
    TaskGroup,
)
from llmeval.core.hashes import fingerprint
from llmeval.runs import Run, Tally, summarize_groups, summarize_tasks
from llmeval.runs.files import write_json
from llmeval.runs.record import RecordWriter
from llmeval.stats import Estimate, estimate_mean


@dataclass(frozen=True)
class Item:
    """A sample: its scores by metric (a number, or a whole `Score`), and what was said.

    ``question`` is the data row's content (the id unless given), ``prompt`` how it was asked;
    ``exchanges`` are requests with their responses in place of one question and its ``answer``.
    """

    id: str
    scores: Mapping[str, float | Score]
    question: str | None = None
    prompt: str | None = None
    answer: str = "an answer"
    target: str | None = "the target"
    cluster: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    exchanges: Sequence[tuple[Request, Response]] | None = None


def mean(items: Sequence[Any], clusters: Sequence[str] | None) -> Estimate:
    return estimate_mean([float(item) for item in items], clusters)


def items_of(values: Sequence[float], metric: str = "acc", **settings: Any) -> list[Item]:
    """Items q0, q1, ... with a value each."""
    return [Item(f"q{i}", {metric: value}, **settings) for i, value in enumerate(values)]


def write_record(
    folder: Path,
    tasks: Mapping[str, Sequence[Item]],
    *,
    model: str = "model",
    metrics: Mapping[str, Metric] | None = None,
    groups: Sequence[TaskGroup] = (),
    status: str = "complete",
    options: Mapping[str, Any] | None = None,
    usage: Mapping[str, Any] | None = None,
    **form: Any,
) -> Run:
    """Write a record to a folder and return it.

    Args:
        metrics: by name; those that are not given are means where higher is better.
        form: ``num_fewshot``, ``version`` and ``form`` of every task.
    """
    writer = RecordWriter(folder)
    stubs, tallies = [], {}
    for name, items in tasks.items():
        tally = tallies[name] = Tally()
        for item in items:
            sample, exchanges, scores = _rows(item)
            writer.write([(name, sample, exchanges, scores)])
            tally.add(sample, scores)
        names = dict.fromkeys(metric for item in items for metric in item.scores)
        known = {m: (metrics or {}).get(m) or Metric(m, mean) for m in names}
        stub = {"num_fewshot": 0, "version": "1", "form": None, **form}
        stubs.append(SimpleNamespace(name=name, metrics=known, **stub))
    writer.close()
    summary, estimates = summarize_tasks(stubs, tallies, {})  # type: ignore[arg-type]
    identity = {"name": model, "fingerprint": fingerprint(model)}
    told = {"run_id": folder.name, "status": status, "model": identity}
    zeros = dict.fromkeys(("requests", "cached", "prompt_tokens", "completion_tokens"), 0)
    seconds = dict.fromkeys(("startup", "model", "scoring", "total"), 1.0)
    write_json(
        folder / "summary.json",
        {
            **told,
            "tasks": summary,
            "groups": summarize_groups(groups, summary, estimates),
            "usage": {**zeros, "usd": None, **(usage or {})},
            "seconds": seconds,
        },
    )
    asked = {"apply_chat_template": False, "system_instruction": None, **(options or {})}
    write_json(folder / "manifest.json", {**told, "options": asked, "tasks": {}})
    return Run(folder)


def _rows(item: Item) -> tuple[Sample, list[tuple[Any, Any]], list[Score]]:
    sample = Sample(
        item.id,
        {"question": item.question or item.id},
        target=item.target,
        metadata=item.metadata,
        cluster=item.cluster,
    )
    request = GenerateRequest(item.prompt or f"{item.question or item.id}?")
    scores = [
        score if isinstance(score, Score) else Score(name, float(score), extracted=item.answer)
        for name, score in item.scores.items()
    ]
    exchanges = item.exchanges
    if exchanges is None:
        exchanges = [(request, Generation(item.answer))]
    return sample, list(exchanges), scores
