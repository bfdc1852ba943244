"""From what samples came to, to one number: the aggregations that lm-eval knows, by its names.

Each is taken in one of three ways: as the mean of a value for each sample, as a function of sums
over samples, or (the median) by itself. Two runs are compared in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmeval.stats import Estimate, bootstrap_median, estimate_mean
from llmeval.stats.corpus import Summed, sum_f1, sum_mcc, sum_perplexity
from llmeval.stats.translation import sum_bleu, sum_chrf, sum_ter

Items = Sequence[Any]
Clusters = Sequence[str] | None

MEDIAN = "median"


def _plain_values(items: Items) -> list[float]:
    return [float(item) for item in items]


def _squared_errors(items: Items) -> list[float]:
    """The Brier score of each ``(gold, probabilities)``."""
    return [sum((p - (i == gold)) ** 2 for i, p in enumerate(given)) for gold, given in items]


def _perplexity(items: Items) -> Summed:
    return sum_perplexity(_plain_values(items))


def _weighted_perplexity(items: Items) -> Summed:
    return sum_perplexity(*_columns(items))


def _bits(items: Items) -> Summed:
    return sum_perplexity(*_columns(items), unit="bits")


def _f1(items: Items) -> Summed:
    return sum_f1(*_columns(items))


def _mcc(items: Items) -> Summed:
    return sum_mcc(*_columns(items))


def _bleu(items: Items) -> Summed:
    return sum_bleu(*_sentences(items))


def _chrf(items: Items) -> Summed:
    return sum_chrf(*_sentences(items))


def _chrfpp(items: Items) -> Summed:
    return sum_chrf(*_sentences(items), word_order=2)


def _ter(items: Items) -> Summed:
    return sum_ter(*_sentences(items))


def _columns(items: Items) -> tuple[list[Any], list[Any]]:
    return [item[0] for item in items], [item[1] for item in items]


def _sentences(items: Items) -> tuple[list[str], list[list[str]]]:
    """Return predictions and references; lm-eval's items are ``(references, prediction)``."""
    predictions, references = [], []
    for reference, prediction in items:
        predictions.append(prediction if isinstance(prediction, str) else str(prediction[0]))
        references.append([reference] if isinstance(reference, str) else list(reference))
    return predictions, references


MEANS: dict[str, Callable[[Items], list[float]]] = {
    "mean": _plain_values,
    "nanmean": _plain_values,
    "brier_score": _squared_errors,
}
"""From items to a value for each: the metric is their mean."""

SUMS: dict[str, Callable[[Items], Summed]] = {
    "perplexity": _perplexity,
    "weighted_perplexity": _weighted_perplexity,
    "bits_per_byte": _bits,
    "f1_score": _f1,
    "matthews_corrcoef": _mcc,
    "bleu": _bleu,
    "chrf": _chrf,
    "chrfpp": _chrfpp,
    "ter": _ter,
}
"""From items to statistics whose sums the metric is a function of."""


def is_known(name: str) -> bool:
    """Return whether there is an aggregation of this name."""
    return name in MEANS or name in SUMS or name == MEDIAN


def aggregate(name: str, items: Items, clusters: Clusters = None) -> Estimate:
    """Return a metric of items with its standard error and interval.

    Raises:
        KeyError: there is no aggregation of this name.
    """
    if name == MEDIAN:
        return bootstrap_median(_plain_values(items), clusters=clusters)
    if name in MEANS:
        return estimate_mean(MEANS[name](items), clusters)
    return SUMS[name](items).bootstrap(clusters=clusters)
