"""Which parts of a task differ from the rest: exact where items are independent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import fisher_exact

from llmeval.core import Score
from llmeval.reports.items import Items
from llmeval.reports.view.slices import Panel, compare_with_rest, cut_tasks
from tests.support.records import Item, write_record


def items_of(values: Any, clusters: Any = None) -> Items:
    names = [str(i) for i in range(len(values))]
    labels = None if clusters is None else [str(c) for c in clusters]
    return Items("mean", list(values), names, list(range(len(values))), labels)


def test_right_and_wrong_is_fishers_exact_test() -> None:
    values = [1.0] * 8 + [0.0] * 2 + [1.0] * 5 + [0.0] * 15
    inside = np.arange(30) < 10
    expected = fisher_exact([[8, 2], [5, 15]])[1]
    assert compare_with_rest(items_of(values), inside) == pytest.approx(expected)


def test_clustered_values_are_a_clustered_regression() -> None:
    """statsmodels' G/(G-1) correction lacks the (N-1)/(N-k) that its default has."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 5)
    inside = np.repeat(np.arange(40) % 3 == 0, 5)
    values = rng.normal(size=40)[clusters] + rng.normal(size=200) + 0.8 * inside
    fit = sm.OLS(values, sm.add_constant(inside.astype(float))).fit()
    robust = fit.get_robustcov_results(
        "cluster", groups=clusters, use_correction=False, df_correction=True
    )
    stderr = robust.bse[1] * np.sqrt(40 / 39)
    from scipy.stats import t

    expected = 2 * t.sf(abs(fit.params[1]) / stderr, 39)
    assert compare_with_rest(items_of(values, clusters), inside) == pytest.approx(expected)


def test_too_few_clusters_tell_nothing() -> None:
    values = np.arange(40.0)
    clusters = np.repeat(np.arange(8), 5)
    assert compare_with_rest(items_of(values, clusters), clusters < 4) is None
    assert compare_with_rest(items_of(values), np.ones(40, dtype=bool)) is None
    assert compare_with_rest(items_of(np.ones(40) / 2), np.arange(40) < 20) is None


def panels(tmp_path: Path, *items: Item) -> list[Panel]:
    return cut_tasks(write_record(tmp_path / "run", {"t": items}))


def part(name: str, right: int, wrong: int) -> list[Item]:
    return [
        Item(f"{name}{i}", {"acc": float(i < right)}, metadata={"part": name}, cluster=None)
        for i in range(right + wrong)
    ]


def test_parts_stand_the_best_first_and_what_differs_is_marked(tmp_path: Path) -> None:
    (panel,) = panels(tmp_path, *part("low", 2, 28), *part("high", 28, 2), *part("mid", 15, 15))
    assert [p.slice.value for p in panel.parts] == ["high", "mid", "low"]
    assert [p.differs for p in panel.parts] == [True, False, True]
    assert panel.parts[0].slice.estimate.value == pytest.approx(28 / 30)


def test_p_values_are_adjusted_over_the_parts(tmp_path: Path) -> None:
    (panel,) = panels(tmp_path, *part("a", 18, 12), *part("b", 9, 21), *part("c", 15, 15))
    raw = fisher_exact([[9, 21], [33, 27]])[1]
    smallest = min(p.p for p in panel.parts if p.p is not None)
    assert smallest == pytest.approx(3 * raw)


def test_samples_that_are_not_scored_lower_the_coverage_of_their_part(tmp_path: Path) -> None:
    lost = Item("x", {"acc": Score("acc", status="unscored", reason="r")}, metadata={"part": "a"})
    (panel,) = panels(tmp_path, *part("a", 3, 0), lost, *part("b", 3, 3))
    told = {p.slice.value: (p.slice.estimate.n, p.slice.samples) for p in panel.parts}
    assert told == {"a": (3, 4), "b": (6, 6)}


def test_a_cluster_is_no_slice(tmp_path: Path) -> None:
    assert (
        panels(tmp_path, *[Item(str(i), {"acc": 1.0}, cluster=str(i % 2)) for i in range(8)]) == []
    )
