"""What a night can tell, said before any question is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llmeval.reports.matching import match
from llmeval.reports.regress.nights import State
from llmeval.reports.regress.noise import Noise
from llmeval.reports.regress.pairing import Clusters, join_clusters
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName
from llmeval.reports.scores import Floats, ScoreTable
from llmeval.runs import Run
from llmeval.stats import clustered_stderr
from llmeval.stats.bounded import Totals, units_needed

Basis = Literal["earlier nights", "repeated answers", "independent answers"]
"""Where the spread of the differences is known from.

- ``earlier nights``: their own differences from the same baseline.
- ``repeated answers``: of the baseline, which a sentinel asked several times.
- ``independent answers``: an upper bound, from the baseline's scores alone: as if tonight's answers
  had nothing to do with it.
"""

_HALVINGS = 13  # 1/8192 of the span
_ALMOST = 1 - 1e-9
_ANY_SIZE = 1000.0  # units, which are scaled to the size that is asked for


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """What a night can tell about one unit.

    Attributes:
        n: items that will be compared; None where there is no baseline to tell.
        sd: planned standard deviation of the differences, by ``basis``.
        detects: the smallest drop that is called REGRESSED with the plan's power.
        needed_n: items with which an unchanged model passes with that power.
        warnings: why its verdict will be worth little.
    """

    model: str
    task: str
    metric: str
    tolerance: float
    n: int | None = None
    sd: float | None = None
    basis: Basis | None = None
    detects: float | None = None
    needed_n: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """How far differences are expected to scatter."""

    sd: float
    basis: Basis


def plan_unit(
    model: str,
    name: UnitName,
    settings: GateSettings,
    units: int,
    n: int | None,
    spread: Spread | None,
    span: float = 1.0,
) -> PlannedUnit:
    """Return what n items can tell of a unit.

    All at ``alpha / units``, Holm's first step, so that a unit alone has at least this power.

    Args:
        units: how many are judged together.
        span: greatest value of the metric less the least.
    """
    tolerance = settings.tolerance_of(name.task, name.metric)
    bare = PlannedUnit(model, name.task, name.metric, tolerance, n)
    if n is None or n < 1 or spread is None or tolerance >= span:
        return bare
    alpha = min(settings.alpha / units, 0.49)
    return PlannedUnit(
        model,
        name.task,
        name.metric,
        tolerance,
        n,
        spread.sd,
        spread.basis,
        detects=_smallest_drop(n, spread.sd, tolerance, alpha, settings.power, span),
        needed_n=_needed_n(spread.sd, tolerance, alpha, settings.power, span),
    )


def _smallest_drop(
    n: int, sd: float, tolerance: float, alpha: float, power: float, span: float
) -> float | None:
    """Return the least drop of which n items show that it exceeds the tolerance; None: no drop."""

    def is_found(drop: float) -> bool:
        needed = units_needed(_expect(drop, sd, span), -tolerance, (-span, span), alpha, power)
        return needed is not None and needed <= n

    low, high = tolerance, span
    if not is_found(high * _ALMOST):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def _needed_n(sd: float, tolerance: float, alpha: float, power: float, span: float) -> int | None:
    """Return the items with which an unchanged model is shown to be no worse than tolerated."""
    needed = units_needed(_expect(0.0, sd, span), -tolerance, (-span, span), alpha, power)
    return None if needed is None else math.ceil(needed - 1e-6)


def _expect(drop: float, sd: float, span: float) -> Totals:
    """Return differences with a mean of -drop as they are expected: items lost and items gained.

    As many together as make the spread, but never fewer than the drop takes.
    """
    moved = min(1.0, max((sd / span) ** 2, drop / span))
    lost, gained = (moved + drop / span) / 2, (moved - drop / span) / 2
    values = np.array([-span, 0.0, span])
    counts = np.array([lost, 1 - moved, gained])
    kept = counts > 0
    return Totals(values[kept], np.ones(int(kept.sum())), counts[kept] * _ANY_SIZE)


def expect_spread(
    table: ScoreTable,
    name: UnitName,
    state: State,
    model: str,
    noise: Noise | None,
    span: float = 1.0,
) -> Spread | None:
    """Return the spread to plan with, from the best source that there is.

    Args:
        table: scores of the baseline alone.
        noise: of the baseline, where it was repeated.
        span: greatest value of the metric less the least.
    """
    kept = state.find((model, name.task, name.metric))
    if kept is not None and kept.nights:
        recent = [night.sd for night in kept.nights[-5:]]
        return Spread(float(np.sqrt(np.mean(np.square(recent)))), "earlier nights")
    if noise is not None:
        return Spread(math.sqrt(2) * (noise.sd or span * noise.largest), "repeated answers")
    values, clusters = _read_baseline(table, name)
    if len(values) < 2:
        return None
    sd = float(values.std(ddof=1))
    if clusters is not None and (stderr := clustered_stderr(values, clusters)):
        sd = stderr * math.sqrt(len(values))
    return Spread(math.sqrt(2) * sd, "independent answers")


def _read_baseline(table: ScoreTable, name: UnitName) -> tuple[Floats, Clusters]:
    """Return the baseline's scores, and their clusters."""
    values: list[Floats] = []
    clusters: list[tuple[int, Clusters]] = []
    for leaf in name.leaves:
        if (leaf, name.metric) in table.keys:
            found = match(table.scores(leaf, name.metric))
            values.append(found.values[0, found.common])
            own = None if found.clusters is None else found.clusters[found.common]
            clusters.append((int(found.common.sum()), own))
    if not values:
        return np.empty(0), None
    return np.concatenate(values), join_clusters(clusters)


def count_items(baseline: Run, name: UnitName, sizes: Mapping[str, int] | None) -> int:
    """Return how many items will be compared: as many as both have.

    Args:
        sizes: tonight's samples by task, from a forecast; None: as many as the baseline has.
    """
    tasks = baseline.summary["tasks"]
    held = {leaf: int(tasks[leaf]["n"]) for leaf in name.leaves if leaf in tasks}
    return sum(min(n, (sizes or held).get(leaf, n)) for leaf, n in held.items())
