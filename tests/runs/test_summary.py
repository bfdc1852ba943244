"""Numbers with their n, coverage and uncertainty; checked against lm-eval and NumPy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import Gold, GroupMetric, Metric, Sample, Score, Status, TaskGroup
from llmeval.runs import Tally, summarize_groups, summarize_tasks
from llmeval.stats import Estimate, estimate_mean
from tests.support.fakes import FakeTask
from tests.support.shared import shared_dir


def summarize(
    rows: Sequence[tuple[Sample, Sequence[Score]]], *metrics: Metric
) -> Mapping[str, Any]:
    """Return the summary of one task with these samples."""
    kinds = {m.name: m for m in metrics or [Metric("acc", estimate_mean, chance="choices")]}
    task, tally = FakeTask("t", len(rows), metrics=kinds), Tally()
    for sample, scores in rows:
        tally.add(sample, scores)
    summary, _ = summarize_tasks([task], {"t": tally}, {"t": task.data()})
    row: Mapping[str, Any] = summary["t"]
    return row


def plain(values: Sequence[float]) -> list[tuple[Sample, list[Score]]]:
    return [(Sample(str(i), {}), [Score("acc", v)]) for i, v in enumerate(values)]


def not_scored(n: int, status: Status, reason: str) -> list[tuple[Sample, list[Score]]]:
    return [(Sample(f"{status} {i}", {}), [Score("acc", None, status, reason)]) for i in range(n)]


def test_the_mean_and_its_standard_error() -> None:
    """Standard error s/sqrt(n) with ddof=1; Wilson's interval of 7 in 10 from its formula."""
    row = summarize(plain([1.0] * 7 + [0.0] * 3))
    acc = row["metrics"]["acc"]
    assert (row["n"], row["coverage"], acc["n"], acc["coverage"]) == (10, 1.0, 10, 1.0)
    assert acc["value"] == pytest.approx(0.7)
    assert acc["stderr"] == pytest.approx(np.std([1] * 7 + [0] * 3, ddof=1) / math.sqrt(10))
    z2 = 1.959964**2
    middle = (0.7 + z2 / 20) / (1 + z2 / 10)
    half = math.sqrt(z2) * math.sqrt(0.21 / 10 + z2 / 400) / (1 + z2 / 10)
    assert acc["ci95"] == pytest.approx([middle - half, middle + half], abs=1e-6)


def test_what_is_not_scored_lowers_coverage_and_not_the_score() -> None:
    rows = plain([1.0, 1.0, 0.0, 1.0])
    rows += not_scored(3, "unscored", "no number") + not_scored(1, "errored", "too long")
    row = summarize(rows)
    acc = row["metrics"]["acc"]
    assert (row["n"], row["coverage"]) == (8, 0.5)
    assert (acc["value"], acc["n"], acc["coverage"]) == (0.75, 4, 0.5)
    assert acc["not_scored"] == {"unscored: no number": 3, "errored: too long": 1}
    without = summarize(plain([1.0, 1.0, 0.0, 1.0]))["metrics"]["acc"]
    assert {k: acc[k] for k in ("value", "stderr", "ci95")} == {
        k: without[k] for k in ("value", "stderr", "ci95")
    }


def test_each_metric_has_its_own_coverage() -> None:
    rows = [
        (Sample("0", {}), [Score("acc", 1.0), Score("f1", None, "unscored", "no answer")]),
        (Sample("1", {}), [Score("acc", 0.0), Score("f1", 0.5)]),
    ]
    row = summarize(rows, Metric("acc", estimate_mean), Metric("f1", estimate_mean))
    assert row["coverage"] == 0.5
    assert [row["metrics"][m]["coverage"] for m in ("acc", "f1")] == [1.0, 0.5]


@pytest.mark.parametrize("rows", [[], not_scored(3, "errored", "broken")])
def test_nothing_scored_has_no_number(rows: list[tuple[Sample, list[Score]]]) -> None:
    row = summarize(rows)
    acc = row["metrics"]["acc"]
    assert (row["n"], row["coverage"], acc["coverage"], acc["n"]) == (len(rows), 0.0, 0.0, 0)
    assert acc["value"] is acc["stderr"] is acc["ci95"] is None


def test_one_sample_has_no_standard_error() -> None:
    acc = summarize(plain([1.0]))["metrics"]["acc"]
    assert (acc["value"], acc["n"], acc["stderr"]) == (1.0, 1, None)


def test_clusters_widen_the_standard_error() -> None:
    """Two passages of ten alike answers are two observations: 0 and 1, each from ten.

    So the mean's standard error is that of two numbers, sd/sqrt(2) = sqrt(0.5)/sqrt(2) = 0.5.
    """
    values = [1.0] * 10 + [0.0] * 10
    rows = [
        (Sample(str(i), {}, cluster=f"passage {i // 10}"), [Score("acc", v)])
        for i, v in enumerate(values)
    ]
    clustered = summarize(rows)["metrics"]["acc"]
    assert clustered["stderr"] == pytest.approx(0.5)
    assert "clustered" in clustered["method"]
    independent = summarize(plain(values))["metrics"]["acc"]
    assert independent["stderr"] == pytest.approx(math.sqrt(0.25 / 19))


def test_chance_is_the_mean_share_of_right_choices() -> None:
    golds = [Gold(("a", "b"), (0,)), Gold(("a", "b", "c", "d"), (0, 3)), Gold(("a",) * 5, (1,))]
    rows = [(Sample(str(i), {}, gold=g), [Score("acc", 1.0)]) for i, g in enumerate(golds)]
    assert summarize(rows)["metrics"]["acc"]["chance"] == pytest.approx((0.5 + 0.5 + 0.2) / 3)
    assert summarize(plain([1.0]))["metrics"]["acc"]["chance"] is None
    fixed = summarize(rows, Metric("acc", estimate_mean, chance=0.1))
    assert fixed["metrics"]["acc"]["chance"] == 0.1


def test_a_corpus_metric_gets_the_items() -> None:
    seen: list[Sequence[Any]] = []

    def estimate(items: Sequence[Any], clusters: Sequence[str] | None) -> Estimate:
        seen.append(items)
        return Estimate(0.5, None, None, len(items), "corpus")

    rows = [(Sample(str(i), {}), [Score("f1", item=[i, 1])]) for i in range(3)]
    row = summarize(rows, Metric("f1", estimate, aggregation="f1"))
    assert seen == [[[0, 1], [1, 1], [2, 1]]]
    assert (row["metrics"]["f1"]["value"], row["metrics"]["f1"]["aggregation"]) == (0.5, "f1")


# -- groups --------------------------------------------------------------------------------------


def pooled(
    parts: Mapping[str, Estimate], *, weight_by_size: bool = True, chance: float | None = 0.25
) -> Mapping[str, Any]:
    group = TaskGroup("g", tuple(parts), tuple(parts), (GroupMetric("acc", weight_by_size),), "2")
    metric = {"higher_is_better": True, "chance": chance}
    tasks = {
        name: {"n": part.n, "metrics": {"acc": {"n": part.n, **metric}}}
        for name, part in parts.items()
    }
    estimates = {name: {"acc": part} for name, part in parts.items()}
    return summarize_groups([group], tasks, estimates)["g"]  # type: ignore[no-any-return]


samples_of_tasks = st.lists(
    st.lists(st.booleans(), min_size=2, max_size=40), min_size=1, max_size=8
)


@pytest.mark.parametrize("weight_by_size", [True, False])
@given(samples=samples_of_tasks)
def test_groups_are_pooled_as_lm_eval_does(weight_by_size: bool, samples: list[list[bool]]) -> None:
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr

    parts = {str(i): estimate_mean(np.array(s, float)) for i, s in enumerate(samples)}
    values = [float(np.mean(s)) for s in samples]
    sizes = [len(s) for s in samples]
    acc = pooled(parts, weight_by_size=weight_by_size)["metrics"]["acc"]
    assert acc["value"] == pytest.approx(aggregate_subtask_metrics(values, sizes, weight_by_size))
    assert (acc["n"], acc["coverage"]) == (sum(sizes), 1.0)
    if weight_by_size:
        stderrs = [float(np.std(s, ddof=1)) / math.sqrt(len(s)) for s in samples]
        assert acc["stderr"] == pytest.approx(pooled_sample_stderr(stderrs, sizes))


def test_a_real_group_of_lm_eval_is_reproduced() -> None:
    """MMLU on a real model: 57 subjects, their four areas, and all."""
    folder = shared_dir("reference", "lm_eval_0.4.13", "tinystories656K", "mmlu_0shot")
    real = json.loads((folder / "results.json").read_text())
    subjects = {
        name: Estimate(row["acc,none"], row["acc_stderr,none"], None, row["sample_len"], "wilson")
        for name, row in real["results"].items()
        if name not in real["groups"] and "acc,none" in row
    }
    for name, group in real["groups"].items():
        members = real["group_subtasks"][name]
        leaves = [x for m in members for x in real["group_subtasks"].get(m) or [m]]
        acc = pooled({leaf: subjects[leaf] for leaf in leaves})["metrics"]["acc"]
        assert acc["n"] == group["sample_len"]
        assert acc["value"] == pytest.approx(group["acc,none"])
        assert acc["stderr"] == pytest.approx(group["acc_stderr,none"])


def test_a_groups_coverage_and_chance_are_those_of_its_members() -> None:
    parts = {"a": estimate_mean([1.0, 0.0, 1.0]), "b": estimate_mean([0.0])}
    row = pooled(parts)
    assert (row["version"], row["tasks"]) == ("2", ("a", "b"))
    assert row["metrics"]["acc"]["chance"] == pytest.approx(0.25)
    assert pooled(parts, chance=None)["metrics"]["acc"]["chance"] is None


def test_a_group_without_a_measured_metric_says_nothing() -> None:
    group = TaskGroup("g", ("a",), ("a",), (GroupMetric("acc"),))
    tasks = {"a": {"n": 1, "metrics": {}}}
    assert summarize_groups([group], tasks, {"a": {}})["g"]["metrics"] == {}
