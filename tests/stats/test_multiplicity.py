"""Adjusted p-values: against statsmodels, and families with members that could not be tested."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from llmeval.stats import benjamini_hochberg, holm

pvalues = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@settings(max_examples=8)  # statsmodels takes 45 ms a call
@given(pvalues)
def test_adjusted_values_are_statsmodels(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert benjamini_hochberg(values) == pytest.approx(multipletests(values, method="fdr_bh")[1])


@given(pvalues, st.integers(1, 4))
def test_what_could_not_be_tested_counts_as_if_it_had_failed(
    values: list[float], untested: int
) -> None:
    for adjust in (holm, benjamini_hochberg):
        with_gaps = adjust([*values, *[None] * untested])
        with_ones = adjust([*values, *[1.0] * untested])
        assert with_gaps[len(values) :] == [None] * untested
        assert with_gaps[: len(values)] == pytest.approx(with_ones[: len(values)])


@given(pvalues)
def test_adjusting_never_lowers_and_holm_is_the_stricter(values: list[float]) -> None:
    for p, rate, family in zip(values, benjamini_hochberg(values), holm(values), strict=True):
        assert rate is not None and family is not None
        assert p <= rate * (1 + 1e-12) and rate <= family * (1 + 1e-12) and family <= 1


def test_an_empty_family_and_nonsense() -> None:
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([None]) == [None]
    for bad in (1.2, -0.1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm([0.2, bad])
