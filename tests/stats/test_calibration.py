"""Reliability, ECE and Brier score: against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from llmeval.stats import brier_score, expected_calibration_error, reliability

answers = st.lists(
    st.tuples(st.integers(0, 100).map(lambda x: x / 100), st.integers(0, 1)),
    min_size=1,
    max_size=60,
)


@given(answers, st.integers(1, 15))
def test_diagram_is_scikit_learns(rows: list[tuple[float, int]], bins: int) -> None:
    sure, right = (np.array(column) for column in zip(*rows, strict=True))
    shares, means = calibration_curve(right, sure, n_bins=bins, strategy="uniform")
    table = reliability(sure, right, bins)
    full = [row for row in table if row.n]
    # scikit-learn puts a confidence that lies on an edge below it, and rounds its edges: no ties
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    if len(edges) == 0 or np.abs(sure[:, None] - edges).min() > 1e-9:
        assert [row.accuracy.value for row in full] == pytest.approx(shares)
        assert [row.confidence for row in full] == pytest.approx(means)
    assert sum(row.n for row in table) == len(rows) and len(table) == bins


@given(answers, st.integers(1, 12))
def test_error_is_the_diagrams(rows: list[tuple[float, int]], bins: int) -> None:
    sure, right = zip(*rows, strict=True)
    table = reliability(sure, right, bins)
    expected = sum(
        row.n / len(rows) * abs((row.accuracy.value or 0.0) - (row.confidence or 0.0))
        for row in table
    )
    estimate = expected_calibration_error(sure, right, bins, resamples=10)
    assert estimate.value == pytest.approx(expected, abs=1e-12)


def test_error_by_hand() -> None:
    # Bin [.5, .6): .5 and .55, one right: |1/2 - .525|. Bin [.9, 1]: .9 and 1, both right: .05.
    estimate = expected_calibration_error([0.5, 0.55, 0.9, 1.0], [1, 0, 1, 1])
    assert estimate.value == pytest.approx(2 / 4 * 0.025 + 2 / 4 * 0.05)


def test_empty_bins_stay_empty_and_edges_belong_above() -> None:
    table = reliability([0.1, 0.2, 1.0], [0, 1, 1], bins=10)
    assert [row.n for row in table] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert (table[0].confidence, table[0].accuracy.value) == (None, None)
    assert table[0].accuracy.status == "empty"
    assert (table[9].low, table[9].high) == (0.9, 1.0)


def test_interval_of_the_error_covers() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        sure = rng.uniform(0.5, 1, 400)
        right = rng.random(400) < sure - 0.2  # overconfident by .2 everywhere
        low, high = expected_calibration_error(sure, right, resamples=400, seed=seed).ci95 or (1, 0)
        covered += low <= 0.2 <= high
    assert covered >= 88


@given(answers)
def test_brier_score_is_scikit_learns(rows: list[tuple[float, int]]) -> None:
    sure, right = zip(*rows, strict=True)
    expected = brier_score_loss([*right, 0, 1], [*sure, 0, 1]) * (len(rows) + 2) / len(rows)
    assert brier_score(sure, right).value == pytest.approx(expected)


def test_clusters_widen_what_hangs_together() -> None:
    rng = np.random.default_rng(1)
    sure, right = rng.random(60), rng.random(60) < 0.5
    labels = np.repeat(np.arange(60), 4)
    for measure in (brier_score, expected_calibration_error):
        alone = measure(sure, right)
        copied = measure(np.repeat(sure, 4), np.repeat(right, 4), clusters=labels)
        assert copied.stderr == pytest.approx(alone.stderr, rel=0.05)
    assert reliability(sure, right, 2, np.arange(60) // 3)[0].accuracy.clusters is not None


def test_nothing_measured_and_nonsense() -> None:
    assert expected_calibration_error([], []).status == "empty"
    assert brier_score([], []).value is None
    for sure, right in (([1.2], [1]), ([0.5], [0.5]), ([0.5], []), ([np.nan], [1])):
        with pytest.raises(ValueError, match=r"between|right|outcomes|finite"):
            reliability(sure, right)
    with pytest.raises(ValueError, match="bin"):
        reliability([0.5], [1], bins=0)
