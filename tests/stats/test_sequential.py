"""The e-process over nights: exact expectations, false alarms for ever, drops found, the noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmeval.stats import combine_evidence, decoding_stderr, night_evidence
from llmeval.stats.sequential import LARGEST, STAKES

Floats = NDArray[np.float64]


def test_evidence_is_the_product_of_bets_by_hand() -> None:
    tolerance, rows = 0.1, np.array([-1.0, 0.0, 1.0])
    largest = 1 / 1.1  # a gain of 1 would bring the factor to 0
    expected = [np.prod(1 - stake * largest * (rows + tolerance)) for stake in STAKES]
    evidence = night_evidence(rows, tolerance)
    assert np.exp(evidence) == pytest.approx(expected)
    assert combine_evidence(evidence) == pytest.approx(np.mean(expected))


chances = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=5)


@given(chances, st.floats(0.01, 0.3))
def test_expectation_under_the_null_is_at_most_1(
    items: list[tuple[float, bool]], tolerance: float
) -> None:
    """Whatever the items' chances and baseline: the exact expectation over all outcomes."""
    chance = np.array([p for p, _ in items])
    baseline = np.array([float(b) for _, b in items])
    worse = baseline.mean() - tolerance - chance.mean()
    chance = np.minimum(1.0, chance + max(0.0, worse) + 1e-12) if worse > 0 else chance
    if chance.mean() < baseline.mean() - tolerance:
        return  # it cannot be made to hold: the null is false for these
    total = 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=len(items)):
        scores = np.array(outcome)
        weight = float(np.prod(np.where(scores == 1, chance, 1 - chance)))
        total += weight * combine_evidence(night_evidence(scores - baseline, tolerance))
    assert total <= 1 + 1e-9


def _nights(rng: np.random.Generator, chance: Floats, runs: int, nights: int) -> Floats:
    """[runs] the largest e-value that each run of nights reached, at a tolerance of .02."""
    baseline = (rng.random(len(chance)) < chance).astype(float)
    # the null holds exactly: the pinned baseline is moved to where the model is .02 worse
    shift = baseline.mean() - chance.mean() - 0.02
    top = np.zeros(runs)
    for run in range(runs):
        state = np.zeros(len(STAKES))
        for _ in range(nights):
            scores = (rng.random(len(chance)) < chance).astype(float)
            differences = np.clip(scores - baseline + shift, -1.5, 1.5)
            state = state + night_evidence(differences, 0.02, (-1.5, 1.5))
            top[run] = max(top[run], combine_evidence(state))
    return top


def test_false_alarms_stay_rare_over_many_nights() -> None:
    rng = np.random.default_rng(0)
    top = _nights(rng, rng.beta(2, 1, 100), runs=200, nights=50)
    assert np.mean(top >= 20) <= 0.05
    assert top.max() > 2  # the process does move


def test_a_drop_is_found() -> None:
    rng = np.random.default_rng(1)
    chance = rng.beta(4, 1, 300)
    baseline = chance.round()
    tolerance = max(0.02, float(baseline.mean() - chance.mean()))
    state = np.zeros(len(STAKES))
    for _ in range(4):
        scores = rng.random(300) < chance - 0.1  # ten points beyond the tolerance
        state = state + night_evidence(scores - baseline, tolerance)
    assert combine_evidence(state) >= 20


def test_bets_multiply_over_nights_and_items_in_any_order() -> None:
    rng = np.random.default_rng(2)
    rows = rng.choice([-1.0, -0.5, 0.0, 1.0], 40)
    whole = night_evidence(rows, 0.05)
    halves = night_evidence(rows[:13], 0.05) + night_evidence(rows[13:], 0.05)
    assert whole == pytest.approx(halves)
    assert whole == pytest.approx(night_evidence(rng.permutation(rows), 0.05))


def test_overwhelming_evidence_stays_a_number() -> None:
    evidence = night_evidence(-np.ones(5000), 0.02)
    assert combine_evidence(evidence) == pytest.approx(LARGEST)
    assert combine_evidence(-evidence) == 0.0 or combine_evidence(-evidence) < 1e-4
    assert combine_evidence(np.zeros(len(STAKES))) == 1.0


def test_wrong_use_is_refused() -> None:
    for rows, tolerance, bounds in (
        ([], 0.1, (-1.0, 1.0)),
        ([math.nan], 0.1, (-1.0, 1.0)),
        ([0.0], 0.0, (-1.0, 1.0)),
        ([2.0], 0.1, (-1.0, 1.0)),
        ([0.0], 0.1, (-math.inf, math.inf)),
    ):
        with pytest.raises(ValueError, match=r"night|finite|above|bounds"):
            night_evidence(rows, tolerance, bounds)
    with pytest.raises(ValueError, match="evidence"):
        combine_evidence([])


def test_decoding_noise_is_that_of_the_same_items_asked_again() -> None:
    rng = np.random.default_rng(3)
    chance = rng.beta(0.5, 0.5, 400)  # most items are nearly sure either way
    repeats = (rng.random((400, 5)) < chance[:, None]).astype(float)
    estimate = decoding_stderr(repeats)
    again = (rng.random((4000, 400)) < chance).mean(axis=1)
    assert estimate.stderr == pytest.approx(again.std(), rel=0.1)
    assert estimate.value == pytest.approx(repeats.mean())
    averaged = decoding_stderr(repeats, averaged=5)
    assert averaged.stderr == pytest.approx((estimate.stderr or 0) / math.sqrt(5))
    between = repeats.mean(axis=1).std(ddof=1) / math.sqrt(400)  # new items: another population
    assert (averaged.stderr or 0) < between / 2


def test_decoding_noise_by_hand_and_where_it_cannot_be_told() -> None:
    # Variances within items 1/2 and 0: sqrt(1/2) / 2.
    assert decoding_stderr([[0, 1], [1, 1]]).stderr == pytest.approx(math.sqrt(0.5) / 2)
    assert decoding_stderr([[1, 1], [0, 0]]).status == "degenerate"
    assert decoding_stderr([[1], [0]]).stderr is None
    assert decoding_stderr(np.zeros((0, 3))).status == "empty"
    with pytest.raises(ValueError, match="repeats"):
        decoding_stderr([1.0, 0.0])
