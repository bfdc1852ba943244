"""Is a confidence of .8 right in eight cases of ten? Reliability diagram, ECE, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.bootstrap import RESAMPLES, bootstrap_sums
from llmeval.stats.intervals import (
    Estimate,
    Floats,
    cluster_codes,
    estimate_mean,
    finite_rows,
    is_binary,
)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence lies in [low, high), the last bin's high included.

    Attributes:
        low, high: the bin's edges.
        n: how many answers; 0 in an empty bin, whose confidence is None.
        confidence: their mean confidence.
        accuracy: the share that is right, with its interval.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: Estimate


def reliability(
    confidences: ArrayLike,
    correct: ArrayLike,
    bins: int = 10,
    clusters: ArrayLike | None = None,
) -> list[ReliabilityBin]:
    """Return one row for each of `bins` bins of equal width, empty ones included.

    As ``sklearn.calibration.calibration_curve(strategy="uniform")``, with intervals. The accuracy's
    standard error is about new items like these.

    Args:
        confidences: [n] in [0, 1], how sure the model was of the answer that it gave.
        correct: [n] 0 or 1.
        bins: at least 1.
        clusters: [n] labels; items with the same label are not independent.

    Raises:
        ValueError: lengths differ, or a value lies outside its range.
    """
    sure, right = _check(confidences, correct)
    labels = None if clusters is None else cluster_codes(clusters, len(sure))
    codes = _bin_codes(sure, bins)
    edges = np.linspace(0, 1, bins + 1)
    table = []
    for code in range(bins):
        inside = codes == code
        count = int(inside.sum())
        mean = float(sure[inside].mean()) if count else None
        accuracy = estimate_mean(right[inside], None if labels is None else labels[inside])
        table.append(
            ReliabilityBin(float(edges[code]), float(edges[code + 1]), count, mean, accuracy)
        )
    return table


def expected_calibration_error(
    confidences: ArrayLike,
    correct: ArrayLike,
    bins: int = 10,
    clusters: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return sum_b n_b/n |accuracy_b - confidence_b| over bins of equal width (Guo et al. 2017).

    arXiv 1706.04599, equation 3. An absolute value cannot average to 0, so with few items a bin
    even a perfectly calibrated model gets an error above 0; the BCa interval corrects for part of
    that. Compare models on the same items and bins only. Standard error by the bootstrap over items
    (or clusters), about new items like these.

    Args:
        confidences, correct, bins, clusters: as for `reliability`.
        resamples, seed: of the bootstrap.
    """
    sure, right = _check(confidences, correct)
    gaps = np.zeros((len(sure), bins))
    gaps[np.arange(len(sure)), _bin_codes(sure, bins)] = right - sure
    counted = np.column_stack([gaps, np.ones(len(sure))])

    def score(sums: Floats) -> Floats:
        error: Floats = np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]
        return error

    return bootstrap_sums(
        score, counted, resamples=resamples, seed=seed, clusters=clusters, ci="bca"
    )


def brier_score(
    confidences: ArrayLike, correct: ArrayLike, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the mean of (confidence - correct)^2; 0 is best (Brier 1950).

    A proper score: it cannot be bettered by stating another confidence than one's own.

    Args:
        confidences, correct, clusters: as for `reliability`.
    """
    sure, right = _check(confidences, correct)
    return estimate_mean((sure - right) ** 2, clusters)


def _check(confidences: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    sure, right = finite_rows(confidences), finite_rows(correct)
    if sure.shape != right.shape:
        raise ValueError(f"{len(sure)} confidences but {len(right)} outcomes")
    if ((sure < 0) | (sure > 1)).any():
        raise ValueError("a confidence must lie between 0 and 1")
    if not is_binary(right):
        raise ValueError("an answer is right (1) or wrong (0)")
    return sure, right


def _bin_codes(sure: Floats, bins: int) -> NDArray[np.intp]:
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(inner, sure, side="right")
