"""Bootstrap of the corpus metrics that lm-eval reports: f1, mcc, perplexity, median.

Each is defined where scikit-learn defines it, 0 where scikit-learn warns and returns 0. All but the
median are functions of sums over rows (`Summed`), by which two runs are compared, too
(`llmeval.stats.corpus_pairs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.bootstrap import Method, Score, bootstrap, bootstrap_sums
from llmeval.stats.intervals import Estimate, Floats


class Options(TypedDict, total=False):
    """Keyword arguments that every function here hands to the bootstrap."""

    resamples: int
    seed: int
    clusters: ArrayLike | None
    ci: Method


@dataclass(frozen=True, slots=True)
class Summed:
    """A corpus metric as a function of sums.

    Attributes:
        rows: [n, d] statistics of each row.
        score: [b, d] sums -> [b] values.
    """

    rows: Floats
    score: Score

    def bootstrap(self, **options: Unpack[Options]) -> Estimate:
        """Return the value of all rows with its bootstrap standard error and interval."""
        return bootstrap_sums(self.score, self.rows, **options)


def bootstrap_f1(
    golds: Sequence[object] | ArrayLike,
    preds: Sequence[object] | ArrayLike,
    *,
    average: Literal["binary", "macro"] = "binary",
    positive: object = 1,
    **options: Unpack[Options],
) -> Estimate:
    """Return F1 in [0, 1] with its interval; see `sum_f1`."""
    return sum_f1(golds, preds, average=average, positive=positive).bootstrap(**options)


def sum_f1(
    golds: Sequence[object] | ArrayLike,
    preds: Sequence[object] | ArrayLike,
    *,
    average: Literal["binary", "macro"] = "binary",
    positive: object = 1,
) -> Summed:
    """Return F1 in [0, 1], as ``sklearn.metrics.f1_score``.

    Args:
        golds, preds: [n] labels.
        average: ``binary`` for the F1 of the label `positive`; ``macro`` for the plain mean over
            labels, of those that a resample contains.
        positive: the label that binary F1 is about.
    """
    labels, gold, pred = _one_hot(golds, preds)
    if average == "binary":
        column = labels == np.asarray(positive)
        gold, pred = gold[:, column].sum(1, keepdims=True), pred[:, column].sum(1, keepdims=True)
    k = gold.shape[1]

    def score(sums: Floats) -> Floats:
        hits, actual, predicted = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
        f1 = _ratio(2 * hits, actual + predicted)
        present = (actual + predicted > 0).sum(axis=1)
        return _ratio(f1.sum(axis=1), present)

    return Summed(np.hstack([gold * pred, gold, pred]), score)


def bootstrap_mcc(
    golds: Sequence[object] | ArrayLike,
    preds: Sequence[object] | ArrayLike,
    **options: Unpack[Options],
) -> Estimate:
    """Return Matthews' correlation in [-1, 1] with its interval; see `sum_mcc`."""
    return sum_mcc(golds, preds).bootstrap(**options)


def sum_mcc(golds: Sequence[object] | ArrayLike, preds: Sequence[object] | ArrayLike) -> Summed:
    """Return Matthews' correlation in [-1, 1], for two or more labels (Gorodkin's R_K, 2004)."""
    _, gold, pred = _one_hot(golds, preds)
    k = gold.shape[1]

    def score(sums: Floats) -> Floats:
        hits, actual, predicted = sums[:, 0], sums[:, 1 : k + 1], sums[:, k + 1 :]
        n = actual.sum(axis=1)
        covariance = hits * n - (actual * predicted).sum(axis=1)
        gold_spread = n**2 - (actual**2).sum(axis=1)
        pred_spread = n**2 - (predicted**2).sum(axis=1)
        return _ratio(covariance, np.sqrt(gold_spread * pred_spread))

    hits = (gold * pred).sum(axis=1, keepdims=True)
    return Summed(np.hstack([hits, gold, pred]), score)


def bootstrap_perplexity(
    loglikelihoods: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    unit: Literal["perplexity", "bits"] = "perplexity",
    **options: Unpack[Options],
) -> Estimate:
    """Return the perplexity, or bits a unit, with its interval; see `sum_perplexity`."""
    return sum_perplexity(loglikelihoods, weights, unit=unit).bootstrap(**options)


def sum_perplexity(
    loglikelihoods: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    unit: Literal["perplexity", "bits"] = "perplexity",
) -> Summed:
    """Return exp(-sum ll / sum w), or -sum ll / sum w / ln 2 in bits.

    Args:
        loglikelihoods: [n] in nats.
        weights: [n] words or bytes of each document; 1 each where left out.
        unit: ``perplexity`` (lm-eval's perplexity, word_perplexity, byte_perplexity) or ``bits``
            (bits_per_byte).
    """
    lls = np.asarray(loglikelihoods, dtype=np.float64)
    sizes = np.ones_like(lls) if weights is None else np.asarray(weights, dtype=np.float64)

    def score(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            nats = -sums[:, 0] / sums[:, 1]
            return np.exp(nats) if unit == "perplexity" else nats / np.log(2)

    return Summed(np.column_stack([lls, sizes]), score)


def bootstrap_median(values: ArrayLike, **options: Unpack[Options]) -> Estimate:
    """Return lm-eval's median: the value at position n // 2 of the sorted rows (the upper one)."""
    return bootstrap(score_median, [np.asarray(values, dtype=np.float64)], **options)


def score_median(counts: Floats, column: Floats) -> Floats:
    """Return [b] medians of [n] values that occur as often as [b, n] counts say."""
    order = np.argsort(column, kind="stable")
    reached = np.cumsum(counts[:, order], axis=1)
    middle = reached[:, -1:] // 2
    picked: Floats = column[order][(reached > middle).argmax(axis=1)]
    return picked


def _one_hot(
    golds: Sequence[object] | ArrayLike, preds: Sequence[object] | ArrayLike
) -> tuple[NDArray[np.generic], Floats, Floats]:
    """Return the k labels that occur, and two [n, k] indicator matrices."""
    actual, predicted = np.asarray(golds), np.asarray(preds)
    if actual.shape != predicted.shape or actual.ndim != 1:
        raise ValueError(f"golds and preds differ in shape: {actual.shape}, {predicted.shape}")
    labels = np.unique(np.concatenate([actual, predicted]))
    gold = (actual[:, None] == labels).astype(np.float64)
    pred = (predicted[:, None] == labels).astype(np.float64)
    return labels, gold, pred


def _ratio(numerator: Floats, denominator: ArrayLike) -> Floats:
    """Return numerator / denominator, 0 where the denominator is 0."""
    bottom = np.broadcast_to(np.asarray(denominator, dtype=np.float64), numerator.shape)
    return np.divide(numerator, bottom, out=np.zeros_like(numerator), where=bottom != 0)
