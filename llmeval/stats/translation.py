"""Bootstrap of BLEU, chrF and TER from sacrebleu's per-sentence sufficient statistics.

sacrebleu counts each sentence once; the scores of all resamples are then computed together from
summed counts, with sacrebleu's default settings (which are lm-eval's).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from llmeval.stats.corpus import Options, Summed
from llmeval.stats.intervals import Estimate, Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

BLEU_ORDER = 4
CHRF_BETA = 2


def bootstrap_bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Unpack[Options]
) -> Estimate:
    """Return corpus BLEU in [0, 100] with its interval; see `sum_bleu`."""
    return sum_bleu(hypotheses, references).bootstrap(**options)


def sum_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Summed:
    """Return corpus BLEU in [0, 100]: 13a tokens, exponential smoothing.

    Args:
        hypotheses: [n] answers.
        references: [n] lists of one or more references each.
    """
    from sacrebleu.metrics.bleu import BLEU

    return Summed(sentence_statistics(BLEU(), hypotheses, references), bleu_scores)


def bootstrap_chrf(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    word_order: int = 0,
    **options: Unpack[Options],
) -> Estimate:
    """Return corpus chrF2 in [0, 100] with its interval; chrF++ with ``word_order=2``."""
    return sum_chrf(hypotheses, references, word_order=word_order).bootstrap(**options)


def sum_chrf(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, word_order: int = 0
) -> Summed:
    """Return corpus chrF2 in [0, 100]; chrF++ with ``word_order=2``."""
    from sacrebleu.metrics.chrf import CHRF

    statistics = sentence_statistics(CHRF(word_order=word_order), hypotheses, references)
    return Summed(statistics, chrf_scores)


def bootstrap_ter(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Unpack[Options]
) -> Estimate:
    """Return the translation edit rate in percent with its interval; see `sum_ter`."""
    return sum_ter(hypotheses, references).bootstrap(**options)


def sum_ter(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Summed:
    """Return the corpus translation edit rate in percent; 0 is best, and it can exceed 100."""
    from sacrebleu.metrics.ter import TER

    return Summed(sentence_statistics(TER(), hypotheses, references), ter_scores)


def sentence_statistics(
    metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> Floats:
    """Return [n, d]: the counts that sacrebleu sums over a corpus, one row a sentence.

    Uses sacrebleu's private ``_extract_corpus_statistics`` (2.x), which has no public equal.

    Raises:
        ValueError: the lengths differ, or a sentence has no reference.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses but {len(references)} lists of references")
    if not all(references):
        raise ValueError("every hypothesis needs at least one reference")
    most = max(map(len, references), default=0)
    padded = [[*given, *[None] * (most - len(given))] for given in references]
    streams = [list(stream) for stream in zip(*padded, strict=True)]
    if not streams:
        return np.zeros((0, 1))
    return np.array(metric._extract_corpus_statistics(hypotheses, streams), dtype=np.float64)


def bleu_scores(sums: Floats) -> Floats:
    """Return [b] BLEU from [b, 2 + 2 * 4] sums: answer length, reference length, matches, n-grams.

    ``sacrebleu.BLEU.compute_bleu`` with smoothing ``exp``, for many corpora at once.
    """
    answer, reference = sums[:, 0], sums[:, 1]
    matches, ngrams = sums[:, 2 : 2 + BLEU_ORDER], sums[:, 2 + BLEU_ORDER :]
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.where(answer < reference, np.exp(1 - reference / answer), 1.0)
        missed = matches == 0
        smoothed = 1 / (2.0 ** np.cumsum(missed, axis=1))
        precisions = 100 * np.where(missed, smoothed, matches) / ngrams
        scores = brevity * np.exp(np.log(precisions).mean(axis=1))
    # No match at all scores 0, and so do answers too short to have an n-gram of every order.
    undefined = missed.all(axis=1) | (ngrams == 0).any(axis=1) | (answer == 0)
    result: Floats = np.where(undefined, 0.0, scores)
    return result


def chrf_scores(sums: Floats) -> Floats:
    """Return [b] chrF from [b, 3 * orders] sums: answer's n-grams, reference's, matches per order.

    ``sacrebleu.CHRF._compute_f_score`` without epsilon smoothing: orders that answer or reference
    lack are left out of the mean.
    """
    by_order = sums.reshape(len(sums), -1, 3)
    answer, reference, matches = by_order[..., 0], by_order[..., 1], by_order[..., 2]
    counted = (answer > 0) & (reference > 0)
    orders = np.maximum(counted.sum(axis=1), 1)
    precision = (matches / np.where(counted, answer, np.inf)).sum(axis=1) / orders
    recall = (matches / np.where(counted, reference, np.inf)).sum(axis=1) / orders
    factor = CHRF_BETA**2
    bottom = factor * precision + recall
    top = (1 + factor) * precision * recall
    shares: Floats = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return 100 * shares


def ter_scores(sums: Floats) -> Floats:
    """Return [b] TER in percent from [b, 2] sums: edits, mean reference lengths."""
    edits, length = sums[:, 0], sums[:, 1]
    empty = np.where(edits > 0, 1.0, 0.0)
    shares: Floats = np.divide(edits, length, out=empty, where=length > 0)
    return 100 * shares
