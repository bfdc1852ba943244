"""Two runs on the same items by a metric that is a function of sums (BLEU, F1, perplexity).

Both sides are resampled together, so that what an item's difficulty adds to both cancels.
"""

from __future__ import annotations

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmeval.stats.bootstrap import RESAMPLES, Score, bootstrap, bootstrap_sums
from llmeval.stats.corpus import Options, Summed, score_median
from llmeval.stats.intervals import Estimate, Floats, cluster_codes
from llmeval.stats.paired import sum_with_random_signs

EXACT_UNITS = 12  # up to here all 2^units exchanges are enumerated


def bootstrap_difference(a: Summed, b: Summed, **options: Unpack[Options]) -> Estimate:
    """Return b's value minus a's, with the standard error and interval of the paired bootstrap.

    The same items, or whole clusters of them, are drawn for both sides (Koehn 2004, "Statistical
    significance tests for machine translation evaluation").

    Args:
        a, b: of the same n items in the same order.

    Raises:
        ValueError: the lengths differ.
    """
    _check_lengths(a.rows, b.rows)
    width = a.rows.shape[1]

    def score(sums: Floats) -> Floats:
        return b.score(sums[:, width:]) - a.score(sums[:, :width])

    return bootstrap_sums(score, np.hstack([a.rows, b.rows]), **options)


def bootstrap_median_difference(a: ArrayLike, b: ArrayLike, **options: Unpack[Options]) -> Estimate:
    """Return the median of b minus that of a; see `bootstrap_difference`.

    Args:
        a, b: [n] values of the same items.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    _check_lengths(first, second)

    def score(counts: Floats, before: Floats, after: Floats) -> Floats:
        return score_median(counts, after) - score_median(counts, before)

    return bootstrap(score, [first, second], **options)


def swap_test(
    a: Summed,
    b: Summed,
    clusters: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float | None:
    """Return the two-sided p-value of the hypothesis that it is all the same who gave an answer.

    Items (whole clusters, where there are any) are exchanged between the sides at random, and the
    difference of the two values is computed anew: approximate randomization (Noreen 1989; Riezler
    and Maxwell 2005). With up to `EXACT_UNITS` units that differ at all, every exchange is counted;
    with more, p = (hits + 1) / (resamples + 1), which is never 0. None where there is one unit or
    none, none differs, or an exchange has no value.

    Args:
        a, b: of the same n items, with statistics of the same meaning.
        clusters: [n] labels; without them every item stands alone.
        resamples: random exchanges.
        seed: the result depends on it and on the data, and on nothing else.

    Raises:
        ValueError: the lengths differ.
    """
    _check_lengths(a.rows, b.rows)
    if a.rows.shape != b.rows.shape:
        raise ValueError(f"the sides have different statistics: {a.rows.shape}, {b.rows.shape}")
    moved = b.rows - a.rows
    units = len(moved)
    if clusters is not None:
        codes = cluster_codes(clusters, len(moved))
        units = int(codes.max()) + 1 if len(codes) else 0
        sums = np.zeros((units, moved.shape[1]))
        np.add.at(sums, codes, moved)
        moved = sums
    moved = moved[(moved != 0).any(axis=1)]
    if units < 2 or len(moved) == 0:
        return None
    totals = a.rows.sum(axis=0), b.rows.sum(axis=0)
    if len(moved) <= EXACT_UNITS:
        return _share_of_all(b.score, totals, moved)
    return _share_of_random(b.score, totals, moved, resamples, np.random.default_rng(seed))


def _share_of_all(score: Score, totals: tuple[Floats, Floats], moved: Floats) -> float | None:
    swapped = ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1) @ moved
    reached = _reach(score, totals, swapped)
    return None if reached is None else float(reached.mean())


def _share_of_random(
    score: Score,
    totals: tuple[Floats, Floats],
    moved: Floats,
    resamples: int,
    rng: np.random.Generator,
) -> float | None:
    swapped = (moved.sum(axis=0) + sum_with_random_signs(moved, resamples, rng)) / 2
    reached = _reach(score, totals, swapped)
    return None if reached is None else (int(reached.sum()) + 1) / (resamples + 1)


def _reach(
    score: Score, totals: tuple[Floats, Floats], swapped: Floats
) -> NDArray[np.bool_] | None:
    """Tell which exchanges differ at least as much as what was seen; None where one has no value.

    Sums in another order differ in the last digits; a tie must still count as a tie.
    """
    before, after = totals
    seen = abs(float(score(after[None, :])[0] - score(before[None, :])[0]))
    differences = np.abs(score(after - swapped) - score(before + swapped))
    if not np.isfinite(differences).all() or not np.isfinite(seen):
        return None
    return np.asarray(differences >= seen - 1e-9 * max(1.0, seen), dtype=bool)


def _check_lengths(a: Floats, b: Floats) -> None:
    if len(a) != len(b):
        raise ValueError(f"expected pairs, got {len(a)} and {len(b)} items")
