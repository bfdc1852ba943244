"""The paired bootstrap and exchange test of corpus metrics, against other ways to the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from llmeval.stats import paired_difference, permutation_test
from llmeval.stats.corpus import Summed, bootstrap_median, sum_f1, sum_mcc, sum_perplexity
from llmeval.stats.corpus_pairs import bootstrap_difference, bootstrap_median_difference, swap_test

RNG = np.random.default_rng(5)
GOLD = RNG.integers(0, 2, 200)
A = np.where(RNG.random(200) < 0.7, GOLD, 1 - GOLD)
B = np.where(RNG.random(200) < 0.85, GOLD, 1 - GOLD)


def mean_of(values: np.ndarray) -> Summed:
    """A plain mean as a function of sums, to be held against what is known of means."""
    rows = np.column_stack([values, np.ones(len(values))])
    return Summed(rows, lambda sums: sums[:, 0] / sums[:, 1])


def test_of_means_it_is_the_paired_difference() -> None:
    a, b = RNG.normal(size=300), RNG.normal(0.1, size=300)
    ours, known = bootstrap_difference(mean_of(a), mean_of(b)), paired_difference(a, b)
    assert ours.value == pytest.approx(known.value)
    assert ours.stderr == pytest.approx(known.stderr, rel=0.03)
    assert ours.ci95 == pytest.approx(known.ci95, abs=0.02)


def test_of_means_exchanging_is_flipping_signs() -> None:
    a, b = RNG.integers(0, 2, 60).astype(float), RNG.integers(0, 2, 60).astype(float)
    known = permutation_test(b - a, resamples=20_000)
    assert swap_test(mean_of(a), mean_of(b), resamples=20_000) == pytest.approx(known, abs=0.015)


def test_few_units_are_all_exchanged() -> None:
    gold, a, b = [1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1], [1, 1, 0, 0, 1, 0]
    seen = abs(f1_score(gold, b) - f1_score(gold, a))
    hits = 0
    for swaps in itertools.product([0, 1], repeat=6):
        left = [y if s else x for x, y, s in zip(a, b, swaps, strict=True)]
        right = [x if s else y for x, y, s in zip(a, b, swaps, strict=True)]
        difference = f1_score(gold, right, zero_division=0) - f1_score(gold, left, zero_division=0)
        hits += abs(difference) >= seen - 1e-12
    assert swap_test(sum_f1(gold, a), sum_f1(gold, b)) == pytest.approx(hits / 2**6)


@pytest.mark.parametrize("make", [sum_f1, sum_mcc])
def test_values_are_scikit_learns(make: object) -> None:
    theirs = {sum_f1: f1_score, sum_mcc: matthews_corrcoef}[make]
    a, b = make(GOLD, A), make(GOLD, B)  # type: ignore[operator]
    found = bootstrap_difference(a, b, resamples=2000)
    assert found.value == pytest.approx(theirs(GOLD, B) - theirs(GOLD, A))
    draws = RNG.integers(0, 200, (400, 200))
    known = [theirs(GOLD[i], B[i]) - theirs(GOLD[i], A[i]) for i in draws]
    assert found.stderr == pytest.approx(np.std(known), rel=0.12)
    p = swap_test(a, b)
    assert p is not None and 0 < p < 0.05


def test_pairing_cancels_what_makes_items_hard() -> None:
    hard = RNG.normal(0, 5, 200)
    a, b = sum_perplexity(-10 + hard), sum_perplexity(-10.1 + hard)
    paired = bootstrap_difference(a, b, resamples=1000)
    alone = a.bootstrap(resamples=1000)
    assert paired.stderr is not None and alone.stderr is not None
    assert paired.stderr < alone.stderr / 5


def test_the_median_of_pairs() -> None:
    a, b = RNG.normal(size=101), RNG.normal(1, size=101)
    found = bootstrap_median_difference(a, b, resamples=500)
    expected = np.median(b) - np.median(a)
    assert found.value == pytest.approx(expected)
    assert bootstrap_median(b, resamples=10).value == np.median(b)


def test_whole_clusters_are_exchanged() -> None:
    a = np.zeros(40)
    b = np.repeat([1.0, -1.0, 1.0, 1.0], 10)
    clusters = np.repeat(np.arange(4), 10)
    assert swap_test(mean_of(a), mean_of(b), clusters) == pytest.approx(
        permutation_test(b - a, clusters)
    )


def test_nothing_to_tell_is_none() -> None:
    same = sum_f1(GOLD, A)
    assert swap_test(same, same) is None
    assert swap_test(sum_f1([1], [1]), sum_f1([1], [0])) is None
    assert swap_test(mean_of(A), mean_of(B), np.zeros(200)) is None
    assert bootstrap_difference(same, same, resamples=100).status == "degenerate"
    with pytest.raises(ValueError, match="expected pairs"):
        bootstrap_difference(same, sum_f1([1], [1]))


def test_a_random_p_value_is_never_0() -> None:
    a, b = mean_of(np.zeros(50)), mean_of(np.ones(50) + np.arange(50))
    assert swap_test(a, b, resamples=99) == pytest.approx(0.01)
