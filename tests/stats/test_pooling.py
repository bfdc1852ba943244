"""Group aggregates: equality with lm-eval's own functions, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics

from llmeval.stats.intervals import Estimate, estimate_mean
from llmeval.stats.pooling import pool, pooled_stderr, unweighted_stderr

subtasks = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.001, 0.5), st.integers(2, 500)), min_size=1, max_size=9
)


@given(subtasks, st.booleans())
def test_value_and_standard_error_are_lm_evals(
    tasks: list[tuple[float, float, int]], weighted: bool
) -> None:
    values, stderrs, sizes = (list(column) for column in zip(*tasks, strict=True))
    parts = [Estimate(v, se, (0.0, 1.0), n, "student-t") for v, se, n in tasks]
    group = pool(parts, weight_by_size=weighted)
    expected = metrics.aggregate_subtask_metrics(values, sizes, weighted)
    assert group.value == pytest.approx(expected, rel=1e-12)
    if weighted:
        assert group.stderr == pytest.approx(metrics.pooled_sample_stderr(stderrs, sizes))
        assert pooled_stderr(stderrs, sizes) == group.stderr
    else:
        assert group.stderr == pytest.approx(metrics.unweighted_mean_stderr(stderrs))
        assert unweighted_stderr(stderrs) == group.stderr
    assert group.n == sum(sizes)


def test_one_subtask_is_its_own_group() -> None:
    part = estimate_mean(np.random.default_rng(0).normal(size=30))
    assert pool([part]).ci95 == pytest.approx(part.ci95)
    share = estimate_mean([0, 1, 1, 1, 0, 1])
    wide, own = pool([share]).ci95, share.ci95
    assert wide is not None and own is not None
    assert wide == pytest.approx(own, abs=0.05)  # by the ddof=1 error, so n-1 effective rows


def test_subtasks_without_rows_or_spread() -> None:
    full, empty = estimate_mean([0, 1, 1, 0]), estimate_mean([])
    assert pool([]).status == "empty"
    assert pool([full, empty]).value == 0.5
    assert pool([full, empty], weight_by_size=False).status == "incomplete"
    one = estimate_mean([1.0])
    assert pool([full, one]).value == pytest.approx(0.6)
    assert pool([full, one]).stderr is not None
    assert pool([full, one], weight_by_size=False).stderr is None
    single_cluster = estimate_mean([0, 1, 1], ["a"] * 3)
    assert pool([full, single_cluster]).stderr is None


def test_one_row_a_subtask_still_has_an_interval() -> None:
    group = pool([estimate_mean([v]) for v in (1, 0, 1, 1)])
    assert group.value == 0.75 and group.stderr is None
    assert group.ci95 is not None and group.ci95[0] < 0.35
    perfect = pool([estimate_mean(np.ones(10))] * 3)
    assert perfect.ci95 is not None and perfect.ci95[0] == pytest.approx(1 - 0.1135, abs=1e-3)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_pooled_interval_covers_the_truth(weighted: bool, binary: bool) -> None:
    rng = np.random.default_rng(3)
    sizes, truth = np.array([15, 40, 90]), np.array([0.4, 0.6, 0.8])
    target = float(np.average(truth, weights=sizes if weighted else None))
    hits = 0
    for _ in range(800):
        parts = [
            estimate_mean(rng.random(n) < p if binary else rng.normal(p, 0.5, n))
            for n, p in zip(sizes, truth, strict=True)
        ]
        interval = pool(parts, weight_by_size=weighted).ci95
        assert interval is not None
        hits += interval[0] <= target <= interval[1]
    assert 0.925 <= hits / 800 <= 0.98
