"""Groups of tasks: one value and its uncertainty from those of the subtasks, as lm-eval pools them.

The subtasks are taken as independent; rows that appear in two subtasks, or clusters that run across
them, would make the pooled standard error too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from llmeval.stats.intervals import Estimate, Interval, Status, t_interval, wilson_interval


def pool(parts: Sequence[Estimate], *, weight_by_size: bool = True) -> Estimate:
    """Return a group's mean of its subtasks' means.

    Value and standard error are those of lm-eval's ``aggregate_subtask_metrics`` with
    ``pooled_sample_stderr`` (weighted by size) or ``unweighted_mean_stderr``. The interval is
    Wilson's at the effective sample size where every part is an unclustered share, else Student's t
    with Welch and Satterthwaite's degrees of freedom.

    A subtask with nothing measured has no weight; in an unweighted mean it leaves the group without
    a value (``incomplete``).
    """
    measured = [part for part in parts if part.value is not None]
    total = sum(part.n for part in measured)
    method = "pooled" if weight_by_size else "mean of subtasks"
    if not measured:
        return Estimate(None, None, None, 0, method, status="empty")
    if not weight_by_size and len(measured) < len(parts):
        return Estimate(None, None, None, total, method, status="incomplete")
    sizes = [part.n for part in measured]
    values = [part.value for part in measured if part.value is not None]
    weights = sizes if weight_by_size else [1] * len(sizes)
    value = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    stderr = _stderr(measured, weight_by_size)
    ci = _interval(measured, weights, value, stderr)
    status: Status = "ok"
    if stderr is None or ci is None:
        status = "degenerate" if stderr == 0 else "incomplete"
    return Estimate(value, stderr, ci, total, method, status=status)


def pooled_stderr(stderrs: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the standard error of a mean weighted by size, from a pooled within-task variance.

    lm-eval's ``pooled_sample_stderr``: sqrt(sum (n_i - 1) n_i se_i^2 / (N - k) / N), k subtasks.

    Raises:
        ValueError: no subtask has two rows.
    """
    total, freedom = sum(sizes), sum(sizes) - len(sizes)
    if freedom < 1:
        raise ValueError("a pooled standard error needs a subtask with at least two rows")
    squares = sum((n - 1) * n * se * se for n, se in zip(sizes, stderrs, strict=True))
    return math.sqrt(squares / freedom / total)


def unweighted_stderr(stderrs: Sequence[float]) -> float:
    """Return the standard error of the plain mean of k independent means: sqrt(sum se^2) / k."""
    return math.sqrt(sum(se * se for se in stderrs)) / len(stderrs)


def _stderr(parts: Sequence[Estimate], weight_by_size: bool) -> float | None:
    if weight_by_size:
        # A subtask of one row has no spread to pool; the formula gives it weight zero.
        parts = [replace(part, stderr=0.0) if part.n == 1 else part for part in parts]
    known = [part.stderr for part in parts if part.stderr is not None]
    sizes = [part.n for part in parts]
    if len(known) < len(parts) or (weight_by_size and sum(sizes) == len(sizes)):
        return None
    return pooled_stderr(known, sizes) if weight_by_size else unweighted_stderr(known)


def _interval(
    parts: Sequence[Estimate], weights: Sequence[int], value: float, stderr: float | None
) -> Interval | None:
    total = sum(part.n for part in parts)
    if all(part.method == "wilson" for part in parts):
        spread = value * (1 - value)
        # No spread seen, or no standard error: count every row as one observation.
        effective = spread / stderr**2 if stderr and spread > 0 else total
        return wilson_interval(value * effective, effective)
    if not stderr:
        return None
    return t_interval(value, stderr, _degrees_of_freedom(parts, weights))


def _degrees_of_freedom(parts: Sequence[Estimate], weights: Sequence[int]) -> float:
    """Return Welch and Satterthwaite's (sum v_i)^2 / sum(v_i^2 / df_i), v_i = (w_i se_i / W)^2."""
    known = [
        (weight * part.stderr, part.n if part.clusters is None else part.clusters)
        for part, weight in zip(parts, weights, strict=True)
        if part.stderr
    ]
    largest = max(error for error, _ in known)  # only ratios matter, and tiny fourth powers vanish
    variances = [((error / largest) ** 2, units) for error, units in known]
    numerator = sum(variance for variance, _ in variances)
    return numerator**2 / sum(variance**2 / (units - 1) for variance, units in variances)
