"""lm-eval's own numbers, and the estimates that are made of them and of the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llmeval.core import Estimator
from llmeval.runs.lm_eval.samples import metric_key
from llmeval.stats import Estimate, bootstrap_perplexity, estimate_mean
from llmeval.stats.intervals import Status

REPORTED = "as lm-eval reported it"
_CLOSE = 1e-6  # relative: what the samples come to and what lm-eval reported
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Recorded:
    """A number as lm-eval reported it; NaN and ``N/A`` are None."""

    value: float | None
    stderr: float | None
    n: int

    def estimate(self) -> Estimate:
        """Return the number with a normal interval from the standard error that was reported."""
        if self.value is None:
            return Estimate(None, None, None, self.n, REPORTED, status="undefined")
        if not self.stderr:
            status: Status = "degenerate" if self.stderr == 0 else "undefined"
            return Estimate(self.value, self.stderr, None, self.n, REPORTED, status=status)
        half = _Z95 * self.stderr
        ci = (self.value - half, self.value + half)
        return Estimate(self.value, self.stderr, ci, self.n, f"{REPORTED}, normal")


def read_numbers(results: Mapping[str, Any], n: int) -> dict[str, Recorded]:
    """Return the numbers of a task or group by llmeval's keys, in lm-eval's order."""
    counts = results.get("sample_count")
    counts = counts if isinstance(counts, Mapping) else {}
    numbers = {}
    for key, value in results.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr") or metric == "bypass":
            continue
        stderr = results.get(f"{metric}_stderr,{filter_name}")
        count = counts.get(key)
        numbers[metric_key(metric, filter_name)] = Recorded(
            finite(value), finite(stderr), count if isinstance(count, int) else n
        )
    return numbers


def finite(value: Any) -> float | None:
    """Return a number; None for NaN, and for what is none (``N/A``)."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None


def make_estimator(recorded: Recorded) -> Estimator:
    """Return the estimator that gives lm-eval's number: with our interval where it is the mean or
    the perplexity of the samples, else with one from lm-eval's standard error."""

    def estimate(items: Sequence[Any], clusters: Sequence[str] | None) -> Estimate:
        if not items or not all(isinstance(item, float) for item in items):
            return recorded.estimate()
        mean = estimate_mean(items, clusters)
        if recorded.value is None:  # a sample's score is not a number, so lm-eval's mean is none
            return mean
        for found in (mean, _perplexity(items, clusters)):
            if found.value is not None and is_close(found.value, recorded.value):
                return replace(found, value=recorded.value)
        return recorded.estimate()

    return estimate


def _perplexity(items: Sequence[float], clusters: Sequence[str] | None) -> Estimate:
    """Return the perplexity of log-likelihoods, of nothing where these are none."""
    if max(items) > 0:
        return Estimate(None, None, None, len(items), "none", status="undefined")
    return bootstrap_perplexity(items, clusters=None if clusters is None else np.array(clusters))


def is_close(a: float, b: float) -> bool:
    """Whether two numbers are one, save for the order in which they were added up."""
    return math.isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE)
