"""All pairs at once: against one pair at a time, and against a family of nulls."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from llmeval.stats import (
    Pairwise,
    compare_all,
    estimate_mean_by_t,
    holm,
    rank_intervals,
    significantly_better,
    tiers,
)

Floats = NDArray[np.float64]


def _scores(seed: int, k: int, n: int, missing: float, binary: bool) -> Floats:
    rng = np.random.default_rng(seed)
    values = rng.random((k, n)) + rng.normal(0, 0.2, (k, 1))
    if binary:
        values = (values > 0.5).astype(float)
    values[rng.random((k, n)) < missing] = np.nan
    return values


@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(0, 14),
    st.sampled_from([0.0, 0.1, 0.6]),
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 6)),
)
def test_every_entry_is_that_of_the_pair_alone(
    seed: int, k: int, n: int, missing: float, binary: bool, groups: int | None
) -> None:
    values = _scores(seed, k, n, missing, binary)
    clusters = None if groups is None else np.random.default_rng(seed).integers(0, groups, n)
    board = compare_all(values, clusters)
    for i in range(k):
        for j in range(k):
            both = ~np.isnan(values[i]) & ~np.isnan(values[j])
            own = None if clusters is None else clusters[both]
            pair = estimate_mean_by_t((values[i] - values[j])[both], own)
            units = pair.n if pair.clusters is None else pair.clusters
            assert board.n[i, j] == pair.n
            expected = [np.nan if x is None else x for x in (pair.value, pair.stderr or None)]
            found = [board.difference[i, j], board.stderr[i, j]]
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)
            assert board.df[i, j] == (
                units - 1 if units >= 2 else pytest.approx(np.nan, nan_ok=True)
            )
            if np.isfinite(found[1]) and (clusters is not None or not binary):
                p = 2 * stats.t.sf(abs(found[0] / found[1]), units - 1)
                moved = (values[i] - values[j])[both]
                if own is not None:
                    moved = np.array([moved[own == label].sum() for label in np.unique(own)])
                differing = int((np.abs(moved) > 1e-9).sum())
                assert board.differing[i, j] == differing
                assert board.p[i, j] == pytest.approx(max(p, 2.0 ** (1 - differing)), rel=1e-6)


@given(
    st.integers(0, 10**6),
    st.integers(2, 5),
    st.integers(2, 40),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([(0.0, 1.0), (-1.0, 0.0), (0.1, 0.4)]),
)
def test_independent_outcomes_are_compared_by_mcnemars_exact_test(
    seed: int, k: int, n: int, missing: float, outcomes: tuple[float, float]
) -> None:
    right = _scores(seed, k, n, missing, True)
    low, high = outcomes
    board = compare_all(low + (high - low) * right)
    if not (right == 0).any() or not (right == 1).any():
        return  # a single value: nothing differs
    for i, j in itertools.combinations(range(k), 2):
        gained = int(((right[i] == 1) & (right[j] == 0)).sum())
        lost = int(((right[i] == 0) & (right[j] == 1)).sum())
        assert board.differing[i, j] == gained + lost
        if board.n[i, j] < 2 or gained + lost == 0:
            assert np.isnan(board.p[i, j])
            continue
        assert board.p[i, j] == board.p[j, i]
        assert board.p[i, j] == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)
        table = np.array([[0, gained], [lost, 0]])
        assert board.p[i, j] == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_a_few_items_that_differ_prove_nothing_whatever_their_number_is_among() -> None:
    """Student's t takes 7 lost and 1 gained of 30, or 4 lost of 400, for significant."""
    lost = np.zeros((2, 30))
    lost[0, :7], lost[1, 7] = 1, 1
    assert compare_all(lost).p[0, 1] == pytest.approx(9 / 128)  # 2 (1 + 8) / 2^8, by hand
    graded = np.zeros((2, 400))
    graded[0, :4] = [0.5, 0.51, 0.49, 0.5]
    assert stats.ttest_rel(graded[0], graded[1]).pvalue < 0.05
    assert compare_all(graded).p[0, 1] == 1 / 8
    clustered = compare_all(np.repeat(graded, 2, axis=1), np.repeat(np.arange(400), 2))
    assert clustered.p[0, 1] == 1 / 8
    holes = np.repeat(graded, 2, axis=1)
    holes[0, :9:2] = np.nan  # a cluster of which an item is missing still differs
    assert compare_all(holes, np.repeat(np.arange(400), 2)).p[0, 1] == 1 / 8


@pytest.mark.parametrize("n", [8, 10, 20])
@pytest.mark.parametrize("kind", ["outcomes", "graded", "clustered"])
def test_equal_models_with_few_items_are_seldom_told_apart(n: int, kind: str) -> None:
    """The familywise error is at most 5%; by t alone 7% of ten outcomes' boards told some apart."""
    rng = np.random.default_rng(n)
    wrong, boards = 0, 2000
    for _ in range(boards):
        values = (rng.random((3, n)) < 0.5).astype(float)
        clusters = None
        if kind == "graded":
            values *= rng.choice([0.5, 0.9, 1.0], (3, n))
        if kind == "clustered":
            values, clusters = np.repeat(values, 3, axis=1), np.repeat(np.arange(n), 3)
        wrong += bool(significantly_better(compare_all(values, clusters)).any())
    assert wrong / boards <= 0.05 + 2 * (0.05 * 0.95 / boards) ** 0.5


def test_p_values_are_the_paired_t_tests() -> None:
    values = _scores(1, 3, 50, 0.0, False)
    expected = stats.ttest_rel(values[0], values[2])
    board = compare_all(values)
    assert board.p[0, 2] == pytest.approx(expected.pvalue, rel=1e-9)
    assert board.df[0, 2] == expected.df
    assert board.difference[0, 2] == pytest.approx(np.mean(values[0] - values[2]))


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3]))
def test_differences_are_antisymmetric_and_runs_may_stand_in_any_order(
    seed: int, missing: float
) -> None:
    values = _scores(seed, 5, 12, missing, False)
    clusters = np.arange(12) // 3
    board = compare_all(values, clusters)
    assert board.difference == pytest.approx(-board.difference.T, abs=1e-12, nan_ok=True)
    assert board.p == pytest.approx(board.p.T, rel=1e-6, nan_ok=True)
    order = np.random.default_rng(seed).permutation(5)
    turned = compare_all(values[order], clusters)
    assert turned.p == pytest.approx(board.p[np.ix_(order, order)], rel=1e-6, nan_ok=True)


def test_pairs_that_cannot_be_compared_are_not_estimable_nor_significant() -> None:
    values = np.full((4, 6), np.nan)
    values[0] = [1, 0, 1, 0, 1, 0]
    values[1] = values[0]  # the very same answers
    values[2, :3] = 0.5
    values[3, 5] = 1.0  # one item
    board = compare_all(values)
    assert np.isnan(board.p[0, 1]) and board.difference[0, 1] == 0
    assert np.isnan(board.difference[2, 3]) and board.n[2, 3] == 0
    assert np.isnan(board.p[0, 3]) and np.isnan(np.diag(board.p)).all()
    assert rank_intervals(board) == [(1, 4)] * 4
    shifted = compare_all(np.stack([np.arange(9) / 7, np.arange(9) / 7 + 0.1]))
    assert np.isnan(shifted.p[0, 1])  # a constant difference shows no spread, rounding or not


def _board(p: Floats, difference: Floats) -> Pairwise:
    ones = np.ones_like(p)
    return Pairwise(difference, ones, ones, p, ones.astype(np.int64), ones.astype(np.int64))


@given(st.lists(st.floats(1e-6, 0.2), min_size=6, max_size=6), st.integers(0, 6))
def test_significance_is_holms_over_all_pairs(pvalues: list[float], gaps: int) -> None:
    rows, columns = np.triu_indices(4, 1)
    values = [np.nan] * min(gaps, 6) + pvalues[min(gaps, 6) :]
    p = np.full((4, 4), np.nan)
    p[rows, columns] = p[columns, rows] = values
    difference = np.sign(columns[None, :6] - rows[:6])  # all positive
    matrix = np.zeros((4, 4))
    matrix[rows, columns], matrix[columns, rows] = difference, -difference
    better = significantly_better(_board(p, matrix))
    adjusted = holm([None if np.isnan(v) else float(v) for v in values])
    for i, j, level in zip(rows, columns, adjusted, strict=True):
        assert better[i, j] == (level is not None and level <= 0.05)
        assert not better[j, i]


def test_ranks_and_tiers_of_clear_cases() -> None:
    rng = np.random.default_rng(2)
    hard = rng.random(400)
    skills = np.array([0.9, 0.89, 0.6, 0.3, 0.3])
    values = (rng.random((5, 400)) < skills[:, None]).astype(float) * 0.7 + 0.3 * hard
    board = compare_all(values)
    assert rank_intervals(board) == [(1, 2), (1, 2), (3, 3), (4, 5), (4, 5)]
    assert tiers(values.mean(axis=1), board) == [1, 1, 2, 3, 3]


def test_a_tier_holds_whoever_cannot_be_told_from_its_leader() -> None:
    # a > b > c: only a and b differ; c was measured on few items and differs from nobody.
    p = np.array([[np.nan, 0.001, 0.9], [0.001, np.nan, 0.9], [0.9, 0.9, np.nan]])
    difference = np.array([[0, 0.1, 0.2], [-0.1, 0, 0.1], [-0.2, -0.1, 0]])
    assert tiers([0.9, 0.8, 0.7], _board(p, difference)) == [1, 2, 1]
    with pytest.raises(ValueError, match="values"):
        tiers([0.9, 0.8], _board(p, difference))


@given(st.integers(0, 10**6))
def test_ranks_enclose_a_permutation_and_tiers_follow_their_leaders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal(0, 0.5, (6, 1)), 1, (6, 40))
    board, means = compare_all(values), values.mean(axis=1)
    order = np.argsort(np.argsort(-means)) + 1
    for (best, worst), rank in zip(rank_intervals(board), order, strict=True):
        assert 1 <= best <= worst <= 6
        assert (
            best <= rank <= worst
        )  # complete data: who is significantly better has the higher mean
    better, tier = significantly_better(board), tiers(means, board)
    for run, level in enumerate(tier):
        leader = max((r for r in range(6) if tier[r] == level), key=lambda r: means[r])
        assert not better[leader, run]
        if level > 1:
            above = max((r for r in range(6) if tier[r] == level - 1), key=lambda r: means[r])
            assert better[above, run]


def test_equal_models_all_share_rank_1_in_95_of_100_leaderboards() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(300):
        values = rng.normal(0, 1, (8, 60)) + rng.normal(0, 1, 60)
        wrong += any(ranks != (1, 8) for ranks in rank_intervals(compare_all(values)))
    assert wrong / 300 <= 0.05 + 0.025


def test_scores_must_be_numbers_in_a_table() -> None:
    with pytest.raises(ValueError, match="finite"):
        compare_all([[np.inf, 1.0]])
    with pytest.raises(ValueError, match="shape"):
        compare_all([1.0, 2.0])
    with pytest.raises(ValueError, match="labels"):
        compare_all([[1.0, 2.0]], ["a"])


@pytest.mark.slow
def test_hundreds_of_runs_take_seconds() -> None:
    rng = np.random.default_rng(4)
    values = (rng.random((300, 6000)) < rng.uniform(0.3, 0.9, (300, 1))).astype(float)
    values[rng.random(values.shape) < 0.001] = np.nan
    started = time.process_time()
    board = compare_all(values, np.arange(6000) // 4)
    rank_intervals(board)
    assert time.process_time() - started < 10
    assert board.p.shape == (300, 300)
