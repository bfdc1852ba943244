"""pass@k and maj@k: against published values and enumeration of every subset."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.stats.passk import maj_at_k, pass_at_k


def test_pass_at_k_of_a_known_case() -> None:
    assert float(pass_at_k(200, 30, 10)) == pytest.approx(0.811059, abs=5e-7)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.integers(0, n)] * 2, st.just(n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_answer(
    case: tuple[int, int, int],
) -> None:
    c, k, n = case[0], max(1, case[1]), case[2]
    answers = [True] * c + [False] * (n - c)
    expected = np.mean([any(subset) for subset in combinations(answers, k)])
    assert float(pass_at_k(n, c, k)) == pytest.approx(expected, abs=1e-12)


def test_pass_at_1_is_the_share_correct_and_large_n_is_stable() -> None:
    assert pass_at_k([10, 20], [3, 5], 1) == pytest.approx([0.3, 0.25])
    assert float(pass_at_k(100_000, 1, 50_000)) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 6), (5, 2, 0), (5, 6, 1), (5, -1, 1)])
def test_pass_at_k_refuses_what_has_no_meaning(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def enumerate_majority(counts: list[int], correct: int, k: int) -> float:
    answers = [index for index, count in enumerate(counts) for _ in range(count)]
    shares = []
    for subset in combinations(answers, k):
        votes = Counter(subset)
        first = [answer for answer, n in votes.items() if n == max(votes.values())]
        shares.append((correct in first) / len(first))
    return float(np.mean(shares))


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(sum), st.data())
def test_maj_at_k_is_the_mean_over_all_subsets(counts: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(sum(counts), 7)))
    correct = data.draw(st.integers(0, len(counts) - 1))
    assert maj_at_k(counts, correct, k) == pytest.approx(enumerate_majority(counts, correct, k))


def test_maj_at_k_sums_to_one_over_the_answers_at_full_size() -> None:
    counts = [20, 12, 9, 9, 5, 3, 2, 1, 1, 1, 1]
    for k in (1, 8, 64):
        total = sum(maj_at_k(counts, index, k) for index in range(len(counts)))
        assert total == pytest.approx(1.0, abs=1e-9)
    assert maj_at_k(counts, None, 8) == 0.0
    assert maj_at_k([60, 4], 0, 64) == pytest.approx(1.0)


def test_maj_at_k_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="maj@4"):
        maj_at_k([2, 1], 0, 4)
    with pytest.raises(ValueError, match="at most"):
        maj_at_k([2000], 0, 4)
