"""The regression gate: is a run not worse than its baseline by more than a tolerance?

Three answers. PASS where "worse by the tolerance or more" is rejected, REGRESSED where "not worse
than the tolerance" is rejected, and INCONCLUSIVE where the data cannot say. Errors are about *new
items like these*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from numpy.typing import ArrayLike

from llmeval.stats.intervals import (
    Estimate,
    Interval,
    Status,
    estimate_mean_by_t,
    finite_rows,
)
from llmeval.stats.multiplicity import holm

POWER = 0.8


class Verdict(StrEnum):
    """What the gate says of one task."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Noninferiority:
    """Both one-sided tests of one task, not yet adjusted for other tasks.

    Attributes:
        difference: the mean difference with its (clustered) interval; positive is better.
        tolerance: how much worse is tolerated, above 0.
        p_noninferior: of H0 "worse by the tolerance or more"; small speaks for PASS.
        p_inferior: of H0 "not worse than the tolerance"; small speaks for REGRESSED.
        needed_n: items that would decide with 80% power if the observed difference and spread were
            the true ones; None where they lie on the boundary or cannot be told.
        status: ``ok``, or why there are no p-values.
    """

    difference: Estimate
    tolerance: float
    p_noninferior: float | None
    p_inferior: float | None
    needed_n: int | None
    status: Status


def test_noninferiority(
    differences: ArrayLike,
    tolerance: float,
    clusters: ArrayLike | None = None,
    bounds: Interval | None = (-1.0, 1.0),
    alpha: float = 0.05,
) -> Noninferiority:
    """Test a mean difference against -tolerance in both directions.

    Args:
        differences: [n] the run's score less the baseline's, of each item; positive is better.
        tolerance: how much worse is tolerated, in the metric's unit, above 0.
        clusters: [n] labels; items with the same label are not independent.
        bounds: the least and greatest difference possible, (-1, 1) for a metric in [0, 1]; None for
            an unbounded metric, which cannot be judged where all differences are equal.
        alpha: the level that `needed_n` is computed for.

    Raises:
        ValueError: a difference is not finite or outside the bounds, or the tolerance is not above
            0.
    """
    rows = finite_rows(differences)
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be above 0, got {tolerance}")
    estimate = estimate_mean_by_t(rows, clusters)
    if estimate.value is None or estimate.stderr is None:
        return Noninferiority(estimate, tolerance, None, None, None, estimate.status)
    units = estimate.n if estimate.clusters is None else estimate.clusters
    margin = estimate.value + tolerance
    if estimate.stderr == 0:
        if bounds is None:
            return Noninferiority(estimate, tolerance, None, None, None, "degenerate")
        low, high = bounds
        p_non = (
            min(1.0, ((-tolerance - low) / (estimate.value - low)) ** units) if margin > 0 else 1.0
        )
        p_inf = (
            min(1.0, ((high + tolerance) / (high - estimate.value)) ** units) if margin < 0 else 1.0
        )
        return Noninferiority(estimate, tolerance, p_non, p_inf, None, "ok")
    from scipy.special import stdtr

    t = margin / estimate.stderr
    return Noninferiority(
        estimate, tolerance, float(stdtr(units - 1, -t)), float(stdtr(units - 1, t)), None, "ok"
    )


test_noninferiority.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test of ours


def decide(results: Sequence[Noninferiority], alpha: float = 0.05) -> list[Verdict]:
    """Return a verdict a task, adjusted over tasks by Holm in each direction.

    The chance that any task passes which is worse by its tolerance or more is at most alpha, and so
    is the chance that any is called REGRESSED which is not. A task without p-values is INCONCLUSIVE
    and counts in the family.

    Args:
        results: one a task.
        alpha: the family-wise error of each direction.
    """
    passing = holm([result.p_noninferior for result in results])
    failing = holm([result.p_inferior for result in results])
    return [_judge(good, bad, alpha) for good, bad in zip(passing, failing, strict=True)]


def _judge(good: float | None, bad: float | None, alpha: float) -> Verdict:
    if good is not None and good <= alpha:
        return Verdict.PASS
    if bad is not None and bad <= alpha:
        return Verdict.REGRESSED
    return Verdict.INCONCLUSIVE
