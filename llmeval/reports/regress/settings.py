"""How strict a gate is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Inconclusive = Literal["fail", "pass"]
Unscored = Literal["invalid", "wrong"]
Range = tuple[float, float]

_KNOWN_RANGES: Mapping[str, Range] = {"brier_score": (0.0, 2.0)}


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What a verdict depends on beside the numbers.

    Args:
        tolerance: how much worse is still good, in the metric's unit.
        tolerances: of single tasks or groups; a mapping says which of their metrics are judged.
        ranges: least and greatest value of a metric that is not a share.
        alpha: the chance of a wrong verdict among all units, in each direction.
        power: with which the plan counts.
        inconclusive: whether a night that cannot be decided fails.
        unscored: an answer that could not be judged makes a task invalid where there are more of
            them than in the baseline, or counts as wrong in both.
        max_errors: more errored items make a task invalid, as a share.
        max_coverage_drop: more items that have a number in the baseline and none tonight make a
            task invalid, as a share.
    """

    tolerance: float = 0.02
    tolerances: Mapping[str, float | Mapping[str, float]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    alpha: float = 0.05
    power: float = 0.8
    inconclusive: Inconclusive = "fail"
    unscored: Unscored = "invalid"
    max_errors: float = 0.05
    max_coverage_drop: float = 0.01

    def metrics_of(self, task: str) -> tuple[str, ...]:
        """Return which metrics of a task are judged; none means its first one."""
        own = self.tolerances.get(task)
        return tuple(own) if isinstance(own, Mapping) else ()

    def tolerance_of(self, task: str, metric: str) -> float:
        """Return how much worse a unit may be."""
        own = self.tolerances.get(task, self.tolerance)
        return own[metric] if isinstance(own, Mapping) else own

    def range_of(self, metric: str, least: float, greatest: float) -> Range | None:
        """Return the range of a metric whose values lie between two numbers; None: not known."""
        name = metric.partition(",")[0]
        for known in (self.ranges, _KNOWN_RANGES):
            for key in (metric, name):
                if key in known:
                    return known[key]
        return (0.0, 1.0) if least >= 0 and greatest <= 1 else None
