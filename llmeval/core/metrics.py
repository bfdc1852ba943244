"""What a task measures: the metric, how samples become one number, and its direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


class Estimate(Protocol):
    """A number with its uncertainty; ``llmeval.stats`` makes them."""

    @property
    def value(self) -> float | None: ...
    @property
    def stderr(self) -> float | None: ...
    @property
    def ci95(self) -> tuple[float, float] | None: ...
    @property
    def n(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def status(self) -> str: ...


Estimator = Callable[[Sequence[Any], Sequence[str] | None], Estimate]
"""Items of the scored samples (a value, or the score's ``item``) and their clusters, if any."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a task.

    Args:
        name: lm-eval's key, ``acc`` or with its filter ``exact_match,strict-match``.
        estimate: from the scored samples to the number and its uncertainty.
        higher_is_better: direction.
        chance: what guessing reaches, where that is known; ``"choices"`` for the mean over samples
            of right choices / choices.
        aggregation: name of the aggregation, for the record.
    """

    name: str
    estimate: Estimator
    higher_is_better: bool = True
    chance: float | Literal["choices"] | None = None
    aggregation: str = "mean"


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """How a group pools one metric of its leaf tasks: lm-eval's ``aggregate_metric_list``."""

    name: str
    weight_by_size: bool = True


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """A named set of tasks (and of groups, by name) with metrics of its own."""

    name: str
    members: tuple[str, ...]
    leaves: tuple[str, ...]
    metrics: tuple[GroupMetric, ...] = ()
    version: str | None = None
