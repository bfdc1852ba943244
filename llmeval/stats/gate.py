"""The regression gate: is a run not worse than its baseline by more than a tolerance?

Three answers. PASS where "worse by the tolerance or more" is rejected, REGRESSED where "not worse
than the tolerance" is rejected, and INCONCLUSIVE where the data cannot say. Errors are about *new
items like these* (new clusters, where items are clustered), each answered once by both sides.

To pass a tolerance t of a metric in [0, 1] takes at least ln(1/alpha) / t units without any loss:
150 items or clusters for .02, 300 for .01, at alpha .05. With fewer, losses as frequent as the
tolerance can have stayed unseen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from numpy.typing import ArrayLike

from llmeval.stats.bounded import (
    Side,
    Totals,
    check_bounds,
    collect_totals,
    mean_bound,
    mean_interval,
    mean_pvalues,
    units_needed,
)
from llmeval.stats.intervals import (
    ROUNDING,
    Estimate,
    Interval,
    Status,
    estimate_mean_by_t,
    finite_rows,
)
from llmeval.stats.multiplicity import holm, holm_levels
from llmeval.stats.power import planned_n

POWER = 0.8  # of what `needed_n` promises


class Verdict(StrEnum):
    """What the gate says of one task."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Noninferiority:
    """Both one-sided tests of one task, not yet adjusted for other tasks.

    Attributes:
        difference: the mean difference with its (clustered) standard error; positive is better.
            For a bounded metric the interval is that of the tests: its lower end is above
            -tolerance just where p_noninferior is below .025.
        tolerance: how much worse is tolerated, above 0.
        p_noninferior: of H0 "worse by the tolerance or more"; small speaks for PASS.
        p_inferior: of H0 "not worse than the tolerance"; small speaks for REGRESSED.
        needed_n: items that would decide with 80% power if the observed difference and spread were
            the true ones; None where the difference lies on the boundary or cannot be told.
        status: ``ok``, or why there are no p-values: ``empty``, ``single`` (one item or cluster),
            ``degenerate`` (an unbounded metric without spread).
        totals: what a bounded metric's tests are made of, and the bounds of the difference.
    """

    difference: Estimate
    tolerance: float
    p_noninferior: float | None
    p_inferior: float | None
    needed_n: int | None
    status: Status
    totals: tuple[Totals, Interval] | None = field(default=None, compare=False, repr=False)


def test_noninferiority(
    differences: ArrayLike,
    tolerance: float,
    clusters: ArrayLike | None = None,
    bounds: Interval | None = (-1.0, 1.0),
    alpha: float = 0.05,
) -> Noninferiority:
    """Test a mean difference against -tolerance in both directions.

    A bounded metric by Gaffke's test on items or whole clusters (`llmeval.stats.bounded`), whose
    error holds however few pairs are discordant; without spread it is exact. An unbounded one by
    Student's t with the (clustered) standard error, which needs many units and no rare, large
    losses.

    Args:
        differences: [n] the run's score less the baseline's, of each item; positive is better.
        tolerance: how much worse is tolerated, in the metric's unit, above 0 and within the bounds.
        clusters: [n] labels; items with the same label are not independent.
        bounds: the least and greatest difference possible, (-1, 1) for a metric in [0, 1]; None for
            an unbounded metric.
        alpha: the level that `needed_n` is computed for.

    Raises:
        ValueError: a difference is not finite or outside the bounds, or the tolerance is not above
            0 or not within the bounds.
    """
    rows = finite_rows(differences)
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be above 0, got {tolerance}")
    if bounds is not None:
        check_bounds(rows, bounds)
        if not bounds[0] < -tolerance < bounds[1]:
            raise ValueError(f"a tolerance of {tolerance} is not within the bounds {bounds}")
    estimate = estimate_mean_by_t(rows, clusters)
    if estimate.stderr is None:  # nothing, or one unit
        return Noninferiority(estimate, tolerance, None, None, None, estimate.status)
    if bounds is None:
        return _test_unbounded(estimate, tolerance, alpha)
    totals = collect_totals(rows, clusters)
    above, below = mean_pvalues(totals, -tolerance, bounds)
    units = units_needed(totals, -tolerance, bounds, alpha, POWER)
    needed = None if units is None else math.ceil(units * estimate.n / totals.units - 1e-6)
    method = "gaffke" if clusters is None else "gaffke, clustered"
    estimate = replace(estimate, ci95=mean_interval(totals, bounds), method=method, status="ok")
    return Noninferiority(estimate, tolerance, above, below, needed, "ok", (totals, bounds))


# Its name is the statistician's; pytest must not take it for a test of ours.
test_noninferiority.__test__ = False  # type: ignore[attr-defined]


def decide(results: Sequence[Noninferiority], alpha: float = 0.05) -> list[Verdict]:
    """Return a verdict a task, adjusted over tasks by Holm in each direction.

    The chance that any task passes which is worse by its tolerance or more is at most alpha, and so
    is the chance that any is called REGRESSED which is not. A task without p-values is INCONCLUSIVE
    and counts in the family.

    Args:
        results: one a task.
        alpha: the family-wise error of each direction, between 0 and 1/2.

    Raises:
        ValueError: alpha is not.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and .5, got {alpha}")
    passing = holm([result.p_noninferior for result in results])
    failing = holm([result.p_inferior for result in results])
    return [_judge(good, bad, alpha) for good, bad in zip(passing, failing, strict=True)]


def tested_bounds(results: Sequence[Noninferiority], alpha: float = 0.05) -> list[Interval | None]:
    """Return the bounds of each difference that `decide` held against -tolerance.

    Each end is a one-sided confidence bound, at the level that Holm gave its test. So the lower end
    is -tolerance or more just where the verdict is PASS, and the upper end -tolerance or less just
    where it is REGRESSED. Those of several tasks together promise no more than their verdicts.

    Args:
        results, alpha: as for `decide`.

    Returns:
        (low, high) a task; None without p-values.
    """
    lower = _bounds([result.p_noninferior for result in results], results, "above", alpha)
    upper = _bounds([result.p_inferior for result in results], results, "below", alpha)
    return [
        None if low is None or high is None else (low, high)
        for low, high in zip(lower, upper, strict=True)
    ]


def _bounds(
    pvalues: Sequence[float | None], results: Sequence[Noninferiority], side: Side, alpha: float
) -> list[float | None]:
    adjusted, levels = holm(pvalues), holm_levels(pvalues, alpha)
    return [
        None if p is None or level is None else _bound(result, side, level, p <= alpha)
        for result, p, level in zip(results, adjusted, levels, strict=True)
    ]


def _bound(result: Noninferiority, side: Side, level: float, rejected: bool) -> float:
    null = -result.tolerance
    if result.totals is None:
        bound = _t_bound(result.difference, side, level)
    else:
        bound = mean_bound(*result.totals, side, level)
    if rejected == (bound >= null if side == "above" else bound <= null):
        return bound
    # The solver's last digit: the verdict is the p-value's.
    return null if rejected else math.nextafter(null, -math.inf if side == "above" else math.inf)


def _t_bound(estimate: Estimate, side: Side, level: float) -> float:
    from scipy.special import stdtrit

    assert estimate.value is not None and estimate.stderr is not None
    units = estimate.n if estimate.clusters is None else estimate.clusters
    t = float(stdtrit(units - 1, level))
    return estimate.value + (t if side == "above" else -t) * estimate.stderr


def _judge(good: float | None, bad: float | None, alpha: float) -> Verdict:
    if good is not None and good <= alpha:
        return Verdict.PASS
    if bad is not None and bad <= alpha:
        return Verdict.REGRESSED
    return Verdict.INCONCLUSIVE


def _test_unbounded(estimate: Estimate, tolerance: float, alpha: float) -> Noninferiority:
    from scipy.special import stdtr

    nothing = ROUNDING * tolerance  # what rounding leaves of no spread
    if estimate.value is None or estimate.stderr is None or estimate.stderr <= nothing:
        return Noninferiority(estimate, tolerance, None, None, None, "degenerate")
    units = estimate.n if estimate.clusters is None else estimate.clusters
    margin = estimate.value + tolerance
    t = margin / estimate.stderr
    needed = None
    if abs(t) > 1e-3:
        spread = estimate.stderr * math.sqrt(estimate.n)
        needed = planned_n(spread, margin, alpha=alpha, power=POWER, sided=1)
    above, below = float(stdtr(units - 1, -t)), float(stdtr(units - 1, t))
    return Noninferiority(estimate, tolerance, above, below, needed, "ok")
