"""Planning: published values, statsmodels, and the test's own power by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower, normal_power

from llmeval.stats import (
    mcnemar_exact,
    mcnemar_mde,
    mcnemar_n,
    minimum_detectable_effect,
    planned_n,
    planned_n_unpaired,
)


def test_published_values() -> None:
    # Miller 2024, arXiv 2411.00640, section 5: a variance of 1/9, an effect of 3 points.
    assert planned_n(1 / 3, 0.03) == 969
    # GSM8K's 1,319 items with a tenth of them discordant.
    assert mcnemar_mde(1319, 0.1, sided=1) == pytest.approx(0.0216, abs=5e-5)
    assert mcnemar_mde(1319, 0.1) == pytest.approx(0.0244, abs=5e-5)
    assert minimum_detectable_effect(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)
    assert minimum_detectable_effect(1.0, sided=1) == pytest.approx(1.644854 + 0.841621, abs=1e-6)


@given(st.floats(0.05, 2), st.floats(0.01, 0.5), st.sampled_from([0.01, 0.05]))
def test_the_effect_that_a_planned_n_detects_is_the_one_planned_for(
    sd: float, effect: float, alpha: float
) -> None:
    n = planned_n(sd, effect, alpha=alpha, power=0.9)
    found = minimum_detectable_effect(sd / math.sqrt(n), alpha=alpha, power=0.9)
    assert found <= effect * (1 + 1e-9)
    if n > 2:
        fewer = minimum_detectable_effect(sd / math.sqrt(n - 1), alpha=alpha, power=0.9)
        assert fewer > effect * (1 - 1e-9)
    assert planned_n(sd, -effect, alpha=alpha, power=0.9) == n


@pytest.mark.parametrize("units", [6, 10, 30])
def test_few_units_detect_what_the_t_test_of_statsmodels_detects(units: int) -> None:
    expected = TTestPower().solve_power(nobs=units, alpha=0.05, power=0.8)  # noncentral t
    found = minimum_detectable_effect(1 / math.sqrt(units), df=units - 1)
    assert found == pytest.approx(expected, rel=0.03)
    assert minimum_detectable_effect(1 / math.sqrt(units)) < 0.98 * expected


def test_unpaired_n_reaches_the_power_that_statsmodels_tells() -> None:
    n = planned_n_unpaired(0.5, 0.4, 0.05)
    sd = math.sqrt((0.5**2 + 0.4**2) / 2)
    assert normal_power(0.05 / sd, n / 2, 0.05) == pytest.approx(0.8, abs=1e-3)
    assert planned_n_unpaired(0.5, 0.5, 0.05) == pytest.approx(2 * planned_n(0.5, 0.05), abs=1)


@given(st.floats(0.02, 0.5), st.floats(0.1, 0.95), st.sampled_from([1, 2]))
def test_mcnemar_n_and_effect_are_each_others_inverse(
    discordance: float, share: float, sided: int
) -> None:
    effect = share * discordance
    n = mcnemar_n(effect, discordance, sided=sided)
    found = mcnemar_mde(n, discordance, sided=sided)
    assert found is not None and found <= effect * (1 + 1e-6)
    larger = mcnemar_mde(max(1, n - 1), discordance, sided=sided)
    assert n == 1 or larger is None or larger >= effect * (1 - 1e-6)


def test_mcnemar_reaches_its_power() -> None:
    discordance, effect = 0.15, 0.05
    n = mcnemar_n(effect, discordance)
    shares = [(discordance - effect) / 2, (discordance + effect) / 2, 1 - discordance]
    drawn = np.random.default_rng(0).multinomial(n, shares, size=3000)
    found = [(mcnemar_exact(int(a), int(b)) or 1.0) <= 0.05 for a, b, _ in drawn]
    assert 0.74 <= np.mean(found) <= 0.82  # the exact test is a little below its approximation


def test_few_pairs_find_no_effect_at_all() -> None:
    assert mcnemar_mde(10, 0.1) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: minimum_detectable_effect(0.0),
        lambda: minimum_detectable_effect(1.0, alpha=0.0),
        lambda: minimum_detectable_effect(1.0, power=1.0),
        lambda: minimum_detectable_effect(1.0, sided=3),
        lambda: planned_n(1.0, 0.0),
        lambda: planned_n(math.nan, 0.1),
        lambda: planned_n_unpaired(1.0, -1.0, 0.1),
        lambda: mcnemar_n(0.2, 0.1),
        lambda: mcnemar_mde(0, 0.1),
        lambda: mcnemar_mde(10, 1.5),
    ],
)
def test_arguments_out_of_range_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"got|above|between"):
        call()
