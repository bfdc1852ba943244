"""From scores to numbers: every metric with its n, coverage, standard error and interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmeval.core import (
    Estimate,
    Metric,
    Request,
    Response,
    Sample,
    Score,
    Task,
    TaskGroup,
)
from llmeval.stats import Estimate as StatsEstimate
from llmeval.stats import pool


@dataclass(slots=True)
class _MetricTally:
    items: list[Any] = field(default_factory=list)
    clusters: list[str | None] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    errored: int = 0

    def add(self, score: Score, cluster: str | None) -> None:
        if score.status == "scored":
            self.items.append(score.item if score.value is None else score.value)
            self.clusters.append(cluster)
        else:
            self.reasons[f"{score.status}: {score.reason}"] += 1
            self.errored += score.status == "errored"


Price = Callable[[Response], float | None]
"""What an answer cost in USD; None where no price is known."""


@dataclass(slots=True)
class TaskUsage:
    """What a task's answers took, whenever they were given: those of the journal count as well.

    Args:
        requests: its questions.
        prompt_tokens, completion_tokens: of their answers, each counted whole.
        usd: what they cost; None where no price is known.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None

    def add(self, response: Response, usd: float | None) -> None:
        """Count an answer and its price."""
        self.requests += 1
        self.prompt_tokens += response.prompt_tokens
        self.completion_tokens += response.completion_tokens
        if usd is not None:
            self.usd = (self.usd or 0.0) + usd

    def to_plain(self) -> dict[str, Any]:
        """Return it as ``summary.json`` holds it."""
        usd = None if self.usd is None else round(self.usd, 8)
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": usd,
        }


@dataclass(slots=True)
class Tally:
    """What a task's samples came to, kept as numbers while the samples pass by.

    Args:
        price: of an answer; None where answers have none.
    """

    price: Price | None = None
    n: int = 0
    complete: int = 0
    errored: int = 0
    guess: float = 0.0
    guessed: int = 0
    metrics: dict[str, _MetricTally] = field(default_factory=dict)
    usage: TaskUsage = field(default_factory=TaskUsage)

    def add(
        self,
        sample: Sample,
        scores: Iterable[Score],
        exchanges: Sequence[tuple[Request, Response]] = (),
    ) -> None:
        """Count one sample, and what its answers took."""
        scores = list(scores)
        for _, response in exchanges:
            self.usage.add(response, self.price(response) if self.price else None)
        self.n += 1
        self.complete += all(score.status == "scored" for score in scores)
        self.errored += any(score.status == "errored" for score in scores)
        if sample.gold is not None and sample.gold.choices:
            self.guess += len(sample.gold.right) / len(sample.gold.choices)
            self.guessed += 1
        for score in scores:
            self.metrics.setdefault(score.metric, _MetricTally()).add(score, sample.cluster)


def summarize_tasks(
    tasks: Sequence[Task], tallies: Mapping[str, Tally], data: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, Estimate]]]:
    """Return the ``tasks`` part of the summary, and the estimates that groups pool."""
    summary: dict[str, Any] = {}
    estimates: dict[str, dict[str, Estimate]] = {}
    for task in tasks:
        tally = tallies.get(task.name, Tally())
        estimates[task.name] = {
            name: _estimate(metric, tally.metrics.get(name, _MetricTally()))
            for name, metric in task.metrics.items()
        }
        summary[task.name] = {
            "n": tally.n,
            "coverage": tally.complete / tally.n if tally.n else 0.0,
            "version": task.version,
            "num_fewshot": task.num_fewshot,
            "form": getattr(task, "form", None),
            "data": _evaluated_data(data.get(task.name, ())),
            "usage": tally.usage.to_plain(),
            "metrics": {
                name: _metric_row(task.metrics[name], estimate, tally)
                for name, estimate in estimates[task.name].items()
            },
        }
    return summary, estimates


def _estimate(metric: Metric, tally: _MetricTally) -> Estimate:
    if all(cluster is None for cluster in tally.clusters):
        return metric.estimate(tally.items, None)
    # A sample without a cluster stands for itself.
    clusters = [f"alone {i}" if c is None else c for i, c in enumerate(tally.clusters)]
    return metric.estimate(tally.items, clusters)


def _metric_row(metric: Metric, estimate: Estimate, tally: Tally) -> dict[str, Any]:
    counts = tally.metrics.get(metric.name, _MetricTally())
    row = {
        **_numbers(estimate),
        "coverage": estimate.n / tally.n if tally.n else 0.0,
        "higher_is_better": metric.higher_is_better,
        "chance": _chance(metric, tally),
        "aggregation": metric.aggregation,
    }
    if counts.reasons:
        row["not_scored"] = dict(counts.reasons.most_common(10))
    return row


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "stderr": estimate.stderr,
        "ci95": list(estimate.ci95) if estimate.ci95 else None,
        "n": estimate.n,
        "method": estimate.method,
        "status": estimate.status,
    }


def _chance(metric: Metric, tally: Tally) -> float | None:
    if metric.chance == "choices":
        return tally.guess / tally.guessed if tally.guessed else None
    return metric.chance


def _evaluated_data(data: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The data set that the samples come from; the manifest holds all of them."""
    return {"id": data[0]["id"], "fingerprint": data[0]["digest"]} if data else None


def summarize_groups(
    groups: Sequence[TaskGroup],
    tasks: Mapping[str, Any],
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> dict[str, Any]:
    """Return the ``groups`` part of the summary: metrics pooled over leaf tasks as lm-eval does."""
    summary: dict[str, Any] = {}
    for group in groups:
        metrics = {}
        for wanted in group.metrics:
            leaves = [leaf for leaf in group.leaves if wanted.name in estimates.get(leaf, {})]
            parts = [_as_stats(estimates[leaf][wanted.name]) for leaf in leaves]
            if not parts:
                continue
            rows = [tasks[leaf]["metrics"][wanted.name] for leaf in leaves]
            total = sum(tasks[leaf]["n"] for leaf in leaves)
            pooled = pool(parts, weight_by_size=wanted.weight_by_size)
            if len({tasks[leaf].get("form") for leaf in leaves}) > 1:
                continue  # forms of asking are not comparable, so there is no number over them
            metrics[wanted.name] = {
                **_numbers(pooled),
                "coverage": sum(part.n for part in parts) / total if total else 0.0,
                "higher_is_better": rows[0]["higher_is_better"],
                "chance": _pooled_chance(rows, wanted.weight_by_size),
                "aggregation": "weighted by size" if wanted.weight_by_size else "unweighted",
            }
        forms = {tasks[leaf].get("form") for leaf in group.leaves if leaf in tasks}
        summary[group.name] = {
            "version": group.version,
            "tasks": group.members,
            "form": forms.pop() if len(forms) == 1 else None,
            "metrics": metrics,
        }
    return summary


def _as_stats(estimate: Estimate) -> StatsEstimate:
    assert isinstance(estimate, StatsEstimate)
    return estimate


def _pooled_chance(rows: Sequence[Mapping[str, Any]], weight_by_size: bool) -> float | None:
    if any(row["chance"] is None for row in rows):
        return None
    weights = [row["n"] if weight_by_size else 1 for row in rows]
    total = sum(weights)
    weighted = sum(w * row["chance"] for w, row in zip(weights, rows, strict=True))
    return float(weighted) / total if total else None
