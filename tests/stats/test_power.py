"""Planning: published values, statsmodels, and the test's own power by simulation."""

from __future__ import annotations

import pytest

from llmeval.stats import mcnemar_mde, mcnemar_n, minimum_detectable_effect, planned_n


def test_published_values() -> None:
    # Miller 2024, arXiv 2411.00640, section 5: a variance of 1/9, an effect of 3 points.
    assert planned_n(1 / 3, 0.03) == 969
    assert mcnemar_mde(1319, 0.1, sided=1) == pytest.approx(0.0216, abs=5e-5)
    assert mcnemar_mde(1319, 0.1) == pytest.approx(0.0244, abs=5e-5)
    assert minimum_detectable_effect(1.0) == pytest.approx(2.8016, abs=1e-4)
    assert mcnemar_n(0.0244, 0.1) == pytest.approx(1319, abs=6)
