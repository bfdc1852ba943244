"""Groups of tasks: one value and its uncertainty from those of the subtasks, as lm-eval pools them.

The subtasks are taken as independent; rows that appear in two subtasks, or clusters that run across
them, would make the pooled standard error too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmeval.stats.intervals import Estimate, Interval, t_interval, wilson_interval


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
    stderr = _stderr([part.stderr for part in measured], sizes, weight_by_size)
    ci = _interval(measured, weights, value, stderr)
    complete = stderr is not None and ci is not None
    status = "ok" if complete else "degenerate" if stderr == 0 else "incomplete"
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


def combined_stderr(
    stderrs: Sequence[float], sizes: Sequence[int], values: Sequence[float]
) -> float:
    """Return lm-eval's ``combined_sample_stderr``, which also counts the spread between subtasks.

    lm-eval keeps it for the record and advises against it; so it is here for comparison only.
    """
    variance, size, value = stderrs[0] ** 2, sizes[0], values[0]
    for se, n, v in zip(stderrs[1:], sizes[1:], values[1:], strict=True):
        value = (value * size + v * n) / (size + n)
        within = ((size - 1) * variance + (n - 1) * se**2) / (size + n - 1)
        between = size * n / ((size + n) * (size + n - 1)) * (value - v) ** 2
        variance, size = within + between, size + n
    return math.sqrt(variance)


def _stderr(stderrs: Sequence[float | None], sizes: Sequence[int], weighted: bool) -> float | None:
    known = [se for se in stderrs if se is not None]
    if len(known) < len(stderrs):
        return None
    return pooled_stderr(known, sizes) if weighted else unweighted_stderr(known)


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
    total = sum(weights)
    numerator = denominator = 0.0
    for part, weight in zip(parts, weights, strict=True):
        variance = (weight / total * (part.stderr or 0.0)) ** 2
        units = part.clusters if part.clusters is not None else part.n
        numerator += variance
        denominator += variance**2 / (units - 1)
    return numerator**2 / denominator
