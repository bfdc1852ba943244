"""Evidence over nights: valid for ever, and quick to see a drop that begins late."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from llmeval.stats import combine_evidence, combine_nights, night_evidence


def test_no_night_is_no_evidence() -> None:
    assert combine_nights(np.empty((0, 12))) == 1.0


def test_weights_by_hand() -> None:
    """Two nights, one bet: 1/2 e1 e2 (begun first) + 1/6 e2 (begun second) + 1/3 (not begun)."""
    e1, e2 = 3.0, 5.0
    assert combine_nights([[math.log(e1)], [math.log(e2)]]) == pytest.approx(
        e1 * e2 / 2 + e2 / 6 + 1 / 3
    )


def test_its_mean_is_one_at_the_edge_of_the_null() -> None:
    """Differences of -1 and +1 whose mean is just -tolerance: every bet is fair, on average."""
    tolerance, nights = 0.2, 4
    worse = (1 + tolerance) / 2  # -worse + (1 - worse) = -tolerance
    mean = 0.0
    for outcomes in itertools.product([-1.0, 1.0], repeat=nights):
        chance = math.prod(worse if d < 0 else 1 - worse for d in outcomes)
        mean += chance * combine_nights([night_evidence([d], tolerance) for d in outcomes])
    assert mean == pytest.approx(1.0)


def test_false_alarms_over_many_nights_are_rarer_than_alpha() -> None:
    rng, alpha, alarms = np.random.default_rng(7), 0.05, 0
    for _ in range(60):
        nights = [
            night_evidence(rng.choice([-1.0, 0.0, 1.0], 80, p=[0.12, 0.81, 0.07]), 0.05)
            for _ in range(25)
        ]
        alarms += any(combine_nights(nights[: t + 1]) >= 1 / alpha for t in range(len(nights)))
    assert alarms <= 6  # 60 * .05 = 3 expected at most; 7 or more has a chance of 3% at that


def test_a_drop_after_a_hundred_good_nights_is_seen_within_days() -> None:
    rng = np.random.default_rng(1)
    good = [night_evidence(np.zeros(300), 0.02) for _ in range(100)]
    bad = [night_evidence(rng.choice([-1.0, 0.0], 300, p=[0.08, 0.92]), 0.02) for _ in range(10)]
    seen = next(t for t in range(10) if combine_nights([*good, *bad[: t + 1]]) >= 20)
    assert seen <= 5
    forgetful = combine_evidence(np.sum([*good, *bad], axis=0))
    assert forgetful < 20  # the plain product has not seen it after ten


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        combine_nights([0.0, 0.0])
    with pytest.raises(ValueError, match="finite"):
        combine_nights([[math.nan]])
