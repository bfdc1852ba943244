"""pass@k and maj@k: what k answers out of the n that were drawn would have given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MAX_ANSWERS = 1000  # binomial coefficients of larger n overflow float64


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """Return the unbiased estimator 1 - C(n-c, k) / C(n, k), per problem.

    Chen et al. 2021 (arXiv 2107.03374). Computed as a product of k ratios, each in [0, 1], so
    nothing overflows or cancels.

    Args:
        n: answers drawn; scalar or [problems].
        c: correct ones among them, same shape or broadcastable.
        k: answers allowed, 1 <= k <= every n.

    Raises:
        ValueError: k or c lies outside its range.
    """
    drawn, correct = np.broadcast_arrays(np.asarray(n, np.int64), np.asarray(c, np.int64))
    if k < 1 or (drawn < k).any():
        raise ValueError(f"pass@{k} needs 1 <= k <= n, and the smallest n is {drawn.min()}")
    if (correct < 0).any() or (correct > drawn).any():
        raise ValueError("the number of correct answers must lie between 0 and n")
    all_wrong = np.ones(drawn.shape)
    for i in range(k):
        all_wrong *= np.maximum(drawn - correct - i, 0) / (drawn - i)
    result: Floats = np.asarray(1.0 - all_wrong, dtype=np.float64)
    return result


def maj_at_k(counts: Sequence[int], correct: int | None, k: int) -> float:
    """Return the chance that a majority vote among k of the n drawn answers is right.

    The expectation over all C(n, k) subsets, a tie for first place giving each tied answer an equal
    share. It depends neither on the order of the answers nor on a seed.

    Args:
        counts: how often each distinct answer was drawn; they sum to n.
        correct: the index in counts of the right answer, or None where it was never drawn.
        k: voters, 1 <= k <= n.

    Raises:
        ValueError: k lies outside its range, or n is above `MAX_ANSWERS`.
    """
    n = sum(counts)
    if not 1 <= k <= n:
        raise ValueError(f"maj@{k} needs 1 <= k <= n, and n is {n}")
    if n > MAX_ANSWERS:
        raise ValueError(f"maj@k is computed for at most {MAX_ANSWERS} answers, got {n}")
    if correct is None:
        return 0.0
    rivals = [count for index, count in enumerate(counts) if index != correct and count]
    wins = 0.0
    for votes in range(1, min(counts[correct], k) + 1):
        ways = _ways_to_stay_at_or_below(rivals, votes, k - votes)
        shares = 1.0 / np.arange(1, len(ways) + 1)  # t tied rivals leave a share of 1/(t+1)
        wins += math.comb(counts[correct], votes) * float(ways @ shares)
    return wins / math.comb(n, k)


def _ways_to_stay_at_or_below(rivals: Sequence[int], votes: int, seats: int) -> Floats:
    """Return [ties+1]: subsets of the rivals' answers that fill all seats, by number of ties.

    No rival has more than `votes` answers in the subset, and exactly t rivals have `votes`. The
    product of the rivals' generating functions, ways[t, s] over t ties and s seats taken.
    """
    ways = np.zeros((seats // votes + 1, seats + 1))
    ways[0, 0] = 1.0
    for count in rivals:
        grown = np.zeros_like(ways)
        for taken in range(min(count, votes, seats) + 1):
            share = math.comb(count, taken) * ways[:, : seats + 1 - taken]
            if taken < votes:
                grown[:, taken:] += share
            else:
                grown[1:, taken:] += share[:-1]
        ways = grown
    result: Floats = ways[:, seats]
    return result
