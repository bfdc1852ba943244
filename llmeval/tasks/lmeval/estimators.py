"""From lm-eval's aggregations to an estimate: lm-eval's own value, our standard error and interval.

lm-eval resamples 100,000 times in Python loops for everything but means; here the common ones have
a closed form or a vectorised bootstrap in ``llmeval.stats``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from llmeval.core import Estimator
from llmeval.stats import Estimate, estimate_mean
from llmeval.tasks import aggregations

_RESAMPLES = 200

T = TypeVar("T")
Aggregate = Callable[[Sequence[Any]], float]
Clusters = Sequence[str] | None


def estimator(aggregate: Aggregate | None) -> Estimator:
    """Return the estimator of an lm-eval aggregation: its value, our uncertainty.

    None is the mean, which lm-eval takes where a metric names no aggregation. A task's own
    aggregation is a Python function of which nothing is known: it is resampled in a plain loop, so
    with few resamples; one that fails (a class that a limited run never saw) leaves no value.
    """
    if aggregate is None:
        return lambda items, clusters: aggregations.aggregate("mean", items, clusters)
    name = getattr(aggregate, "__name__", "")
    ours = name if _is_stock(aggregate) and aggregations.is_known(name) else None

    def estimate(items: Sequence[Any], clusters: Clusters) -> Estimate:
        if not items:
            return estimate_mean([], None)
        with _quiet():
            value, problem = _try(lambda: float(aggregate(items)))
            if value is None or not math.isfinite(value):
                return _undefined(None, items, problem or f"the aggregation gives {value}")
            bound, problem = _try(
                lambda: (
                    aggregations.aggregate(ours, items, clusters)
                    if ours
                    else _resample(aggregate, items, clusters)
                )
            )
        return replace(bound, value=value) if bound else _undefined(value, items, problem)

    return estimate


def _try(compute: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return the result, or None and what went wrong: a number must not cost the whole record."""
    try:
        return compute(), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _undefined(value: float | None, items: Sequence[Any], why: str | None) -> Estimate:
    return Estimate(value, None, None, len(items), f"none: {why}", status="undefined")


def _resample(aggregate: Aggregate, items: Sequence[Any], clusters: Clusters) -> Estimate:
    """Bootstrap an unknown aggregation: whole clusters, percentile interval."""
    units: dict[Any, list[Any]] = {}
    for number, item in enumerate(items):
        units.setdefault(clusters[number] if clusters else number, []).append(item)
    groups = list(units.values())
    count = len(groups) if clusters else None
    method = f"bootstrap, percentile, {_RESAMPLES} resamples"
    if len(groups) < 2:
        why = "none: fewer than two units"
        return Estimate(None, None, None, len(items), why, count, status="single")
    rng = np.random.default_rng(0)
    draws = rng.integers(len(groups), size=(_RESAMPLES, len(groups)))
    values = [float(aggregate([x for i in draw for x in groups[i]])) for draw in draws]
    if not np.isfinite(values).all():
        return _undefined(None, items, "a resample has no value")
    low, high = (float(q) for q in np.quantile(values, [0.025, 0.975]))
    return Estimate(None, float(np.std(values, ddof=1)), (low, high), len(items), method, count)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what scikit-learn and NumPy say at each of many resamples."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _is_stock(aggregate: Aggregate) -> bool:
    return getattr(aggregate, "__module__", "") == "lm_eval.api.metrics"
