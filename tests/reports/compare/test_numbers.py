"""The numbers of a comparison, against statsmodels, scipy, scikit-learn and hand computation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from llmeval.core import GroupMetric, Metric, Score, TaskGroup
from llmeval.reports.compare import Options, Pair, Row, Wanted, compare_runs
from llmeval.stats import estimate_mean
from tests.support.records import Item, items_of, mean, write_record

RNG = np.random.default_rng(3)


def compare(
    folder: Path,
    before: Mapping[str, Sequence[Item]],
    after: Mapping[str, Sequence[Item]],
    wanted: Wanted | None = None,
    **settings: Any,
) -> Pair:
    a = write_record(folder / "a", before, model="a", **settings)
    b = write_record(folder / "b", after, model="b", **settings)
    return compare_runs([a, b], Options(wanted or Wanted())).pairs[0]


def only_row(pair: Pair) -> Row:
    (row,) = pair.rows
    return row


def table(both: int, lost: int, gained: int, neither: int) -> tuple[list[int], list[int]]:
    """Scores of a and b with these counts."""
    a = [1] * both + [1] * lost + [0] * gained + [0] * neither
    b = [1] * both + [0] * lost + [1] * gained + [0] * neither
    return a, b


def test_right_and_wrong_are_compared_by_mcnemar(tmp_path: Path) -> None:
    a, b = table(40, 2, 11, 47)
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    known = mcnemar([[40, 2], [11, 47]], exact=True)
    assert row.test.p == pytest.approx(known.pvalue)
    assert row.test.p == pytest.approx(0.0225, abs=5e-5)  # field notes
    assert (row.n, row.flips.lost, row.flips.gained) == (100, 2, 11)  # type: ignore[union-attr]
    assert row.difference.value == pytest.approx(0.09)
    assert row.verdict == "better"
    assert row.baseline == estimate_mean(a)
    assert row.challenger == estimate_mean(b)


def test_graded_scores_are_compared_by_their_differences(tmp_path: Path) -> None:
    a = RNG.random(80)
    b = a + RNG.normal(0.05, 0.1, 80)
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    known = stats.ttest_rel(b, a)
    assert row.difference.ci95 == pytest.approx(tuple(known.confidence_interval()))
    assert row.test.p == pytest.approx(known.pvalue, abs=0.005)
    assert row.flips is not None and row.flips.graded
    assert (row.flips.lost, row.flips.gained) == (int(sum(b < a)), int(sum(b > a)))


def test_clusters_widen_the_interval_as_in_a_clustered_regression(tmp_path: Path) -> None:
    groups = np.repeat(np.arange(20), 5)
    shift = RNG.normal(0.1, 0.3, 20)[groups]
    a = RNG.random(100)
    b = a + shift + RNG.normal(0, 0.05, 100)
    before, after = (
        [Item(f"q{i}", {"acc": v}, cluster=f"c{g}") for i, (v, g) in enumerate(zip(x, groups))]  # noqa: B905
        for x in (a, b)
    )
    row = only_row(compare(tmp_path, {"t": before}, {"t": after}))
    known = sm.OLS(b - a, np.ones(100)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    assert row.difference.stderr == pytest.approx(known.bse[0])
    assert row.difference.ci95 == pytest.approx(tuple(known.conf_int()[0]))
    assert row.difference.clusters == 20
    assert row.test.name.endswith("whole clusters")
    independent = only_row(compare(tmp_path / "i", {"t": items_of(a)}, {"t": items_of(b)}))
    assert row.mde is not None and independent.mde is not None
    assert row.mde > 1.5 * independent.mde


def connor(effect: float, discordance: float) -> float:
    """How many pairs McNemar's test needs (field notes; Connor 1987)."""
    spread = math.sqrt(discordance - effect**2)
    top = stats.norm.ppf(0.975) * math.sqrt(discordance) + stats.norm.ppf(0.8) * spread
    return float((top / effect) ** 2)


def test_what_could_be_seen_of_right_and_wrong(tmp_path: Path) -> None:
    a, b = table(40, 9, 11, 40)
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    assert row.mde is not None
    assert connor(row.mde, 0.2) == pytest.approx(100)
    assert row.needed_n == math.ceil(connor(0.02, 0.2))
    assert row.verdict == "no difference seen"
    assert row.why == f"differences below {row.mde:.3f} cannot be excluded"


@pytest.mark.parametrize("flips", [0, 1])
def test_of_few_flips_one_supposes_that_a_difference_would_be_all_of_them(
    tmp_path: Path, flips: int
) -> None:
    a, b = table(40, 0, flips, 60 - flips)
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    assert row.mde is not None
    assert connor(row.mde, row.mde) == pytest.approx(100, rel=1e-3)


def test_what_could_be_seen_of_graded_scores(tmp_path: Path) -> None:
    a = RNG.random(50)
    b = a + RNG.normal(0.01, 0.1, 50)
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    stderr = (b - a).std(ddof=1) / math.sqrt(50)
    reach = stats.t.ppf(0.975, 49) + stats.t.ppf(0.8, 49)
    assert row.mde == pytest.approx(reach * stderr)
    reach = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)  # whatever the n will be
    needed = (reach * (b - a).std(ddof=1) / (b - a).mean()) ** 2
    assert row.needed_n == math.ceil(needed)


def test_p_values_are_adjusted_by_holm_over_the_tasks(tmp_path: Path) -> None:
    tables = [table(40, 2, 20, 38), table(30, 1, 9, 60), table(50, 8, 9, 33), table(9, 1, 8, 1)]
    before = {f"t{i}": items_of(a) for i, (a, _) in enumerate(tables)}
    after = {f"t{i}": items_of(b) for i, (_, b) in enumerate(tables)}
    pair = compare(tmp_path, before, after)
    raw = [row.test.p for row in pair.rows]
    _, known, _, _ = multipletests(raw, method="holm")
    assert [row.test.p_holm for row in pair.rows] == pytest.approx(list(known))
    assert [row.verdict for row in pair.rows] == [
        "no difference seen" if p > 0.05 else "better" for p in known
    ]
    assert {row.verdict for row in pair.rows} == {"better", "no difference seen"}
    alone = [row for row in pair.rows if row.test.p < 0.05 < row.test.p_holm]  # type: ignore[operator]
    assert alone and all("alone" in row.why for row in alone)


def test_where_lower_is_better_less_is_better(tmp_path: Path) -> None:
    lower = {"loss": Metric("loss", mean, higher_is_better=False)}
    a, b = items_of([3.0] * 30 + [2.0] * 30, "loss"), items_of([2.0] * 30 + [1.9] * 30, "loss")
    row = only_row(compare(tmp_path, {"t": a}, {"t": b}, metrics=lower))
    assert row.difference.value == pytest.approx(-0.55)
    assert row.verdict == "better"
    assert row.flips is not None and (row.flips.lost, row.flips.gained) == (0, 60)


def group_of(names: Sequence[str], *, by_size: bool) -> list[TaskGroup]:
    return [TaskGroup("g", tuple(names), tuple(names), (GroupMetric("acc", by_size),))]


def test_a_group_weighted_by_size_is_one_pool_of_items(tmp_path: Path) -> None:
    small, large = table(3, 1, 4, 2), table(60, 5, 12, 23)
    before = {"s": items_of(small[0]), "l": items_of(large[0])}
    after = {"s": items_of(small[1]), "l": items_of(large[1])}
    pair = compare(tmp_path, before, after, groups=group_of("sl", by_size=True))
    group, *subtasks = pair.rows
    assert (group.name, group.n, group.is_headline) == ("g", 110, True)
    assert group.test.p == pytest.approx(mcnemar([[63, 6], [16, 25]], exact=True).pvalue)
    assert group.difference.value == pytest.approx(10 / 110)
    assert [(row.name, row.parent, row.test.family) for row in subtasks] == [
        ("s", "g", "subtasks"),
        ("l", "g", "subtasks"),
    ]
    assert group.test.p_holm == group.test.p  # subtasks are a family of their own


def test_an_unweighted_group_is_the_mean_of_its_tasks(tmp_path: Path) -> None:
    small, large = table(3, 1, 4, 2), table(60, 5, 12, 23)
    before = {"s": items_of(small[0]), "l": items_of(large[0])}
    after = {"s": items_of(small[1]), "l": items_of(large[1])}
    group = compare(tmp_path, before, after, groups=group_of("sl", by_size=False)).rows[0]
    parts = [np.array(b) - np.array(a) for a, b in (small, large)]
    assert group.difference.value == pytest.approx((0.3 + 0.07) / 2)
    variance = sum(part.var(ddof=1) / len(part) for part in parts) / 4
    assert group.difference.stderr == pytest.approx(math.sqrt(variance))
    assert group.baseline.value == pytest.approx((0.4 + 0.65) / 2)
    normal = 2 * stats.norm.sf(0.185 / math.sqrt(variance))
    assert group.test.p == pytest.approx(normal, abs=0.05)


def f1_items(golds: Sequence[int], preds: Sequence[int]) -> list[Item]:
    return [
        Item(f"q{i}", {"f1": Score("f1", item=[g, p])})
        for i, (g, p) in enumerate(zip(golds, preds, strict=True))
    ]


def f1_metric(golds: Sequence[int], preds: Sequence[int], name: str) -> dict[str, Metric]:
    value = float(f1_score(golds, preds))
    return {"f1": Metric("f1", lambda items, _: estimate_mean([value]), aggregation=name)}


GOLD = RNG.integers(0, 2, 120).tolist()
BEFORE = [g if RNG.random() < 0.6 else 1 - g for g in GOLD]
AFTER = [g if RNG.random() < 0.85 else 1 - g for g in GOLD]


def compare_f1(folder: Path, name: str, *, wrong: float = 0.0) -> Row:
    runs = []
    for run, preds in (("a", BEFORE), ("b", AFTER)):
        metrics = f1_metric(GOLD, preds, name)
        if wrong:
            metrics["f1"] = Metric("f1", lambda *_: estimate_mean([wrong]), aggregation=name)
        items = {"t": f1_items(GOLD, preds)}
        runs.append(write_record(folder / run, items, model=run, metrics=metrics))
    return only_row(compare_runs(runs).pairs[0])


def test_a_corpus_metric_is_resampled_on_the_same_items(tmp_path: Path) -> None:
    row = compare_f1(tmp_path, "f1_score")
    known = f1_score(GOLD, AFTER) - f1_score(GOLD, BEFORE)
    assert row.difference.value == pytest.approx(known)
    assert row.challenger.value == pytest.approx(f1_score(GOLD, AFTER))
    draws = RNG.integers(0, 120, (300, 120))
    gold, a, b = (np.array(x) for x in (GOLD, BEFORE, AFTER))
    spread = np.std([f1_score(gold[i], b[i]) - f1_score(gold[i], a[i]) for i in draws])
    assert row.difference.stderr == pytest.approx(spread, rel=0.15)
    assert (row.test.name, row.verdict) == ("permutation of sides", "better")
    assert row.flips is None


def test_an_aggregation_of_the_tasks_own_has_no_paired_test(tmp_path: Path) -> None:
    row = compare_f1(tmp_path, "agg_own")
    assert (row.verdict, row.common) == ("not estimable", False)
    assert "no paired test for this aggregation (agg_own)" in row.why
    assert row.baseline.value == pytest.approx(f1_score(GOLD, BEFORE))


def test_an_aggregation_that_only_has_a_known_name_is_found_out(tmp_path: Path) -> None:
    row = compare_f1(tmp_path, "f1_score", wrong=0.123)
    assert row.verdict == "not estimable"
    assert row.why == "the items' scores do not lead to the baseline's value"


def test_lm_evals_brier_score_is_a_mean_of_errors(tmp_path: Path) -> None:
    def items(sure: float) -> list[Item]:
        score = Score("brier", item=[0, [sure, 1 - sure]])
        return [Item(f"q{i}", {"brier": score}) for i in range(4)]

    def metric(sure: float) -> dict[str, Metric]:
        value = 2 * (1 - sure) ** 2
        made = Metric("brier", lambda *_: estimate_mean([value]), False, None, "brier_score")
        return {"brier": made}

    a = write_record(tmp_path / "a", {"t": items(0.5)}, metrics=metric(0.5))
    b = write_record(tmp_path / "b", {"t": items(0.9)}, metrics=metric(0.9))
    row = only_row(compare_runs([a, b]).pairs[0])
    assert row.difference.value == pytest.approx(0.02 - 0.5)
    assert row.flips is not None and row.flips.gained == 4


# -- edges -----------------------------------------------------------------------------------------


def test_of_runs_that_scored_alike_nothing_is_said_to_differ(tmp_path: Path) -> None:
    binary, graded = items_of([1, 0] * 20), items_of([0.25, 0.5] * 20)
    pair = compare(tmp_path, {"b": binary, "g": graded}, {"b": binary, "g": graded})
    for row in pair.rows:
        assert (row.verdict, row.test.p, row.needed_n) == ("no difference seen", 1.0, None)
        assert row.difference.value == 0
    assert pair.rows[0].why == "no item differs; 95% interval -0.088 … +0.088"


def test_five_items_can_show_nothing(tmp_path: Path) -> None:
    for n in (1, 5):
        a, b = items_of([1] * n), items_of([0] * n)
        row = only_row(compare(tmp_path / str(n), {"t": a}, {"t": b}))
        assert row.verdict == "not estimable"
        assert row.why == f"{n} item{'s' if n > 1 else ''} in common, and it takes 6"
    row = only_row(compare(tmp_path, {"t": items_of([1] * 6)}, {"t": items_of([0] * 6)}))
    assert (row.verdict, row.test.p) == ("worse", 2 / 2**6)


def test_one_cluster_is_not_enough(tmp_path: Path) -> None:
    a, b = items_of([1, 0, 1, 1] * 9, cluster="c"), items_of([0, 0, 0, 0] * 9, cluster="c")
    row = only_row(compare(tmp_path, {"t": a}, {"t": b}))
    assert (row.verdict, row.why) == ("not estimable", "1 cluster in common, and it takes 6")


def test_a_task_without_a_common_number_does_not_spoil_the_others(tmp_path: Path) -> None:
    lost = Score("acc", status="unscored", reason="empty")
    silent = [Item(f"q{i}", {"acc": lost}) for i in range(3)]
    a, b = table(40, 2, 11, 47)
    pair = compare(
        tmp_path,
        {"t": items_of(a), "u": items_of([1, 1, 0])},
        {"t": items_of(b), "u": silent},
    )
    fine, gone = pair.rows
    assert (gone.verdict, gone.why, gone.n) == ("not estimable", "no item in common", 0)
    assert [(e.side, e.reason, e.count) for e in gone.excluded] == [("challenger", "not scored", 3)]
    assert fine.verdict == "better"
    assert fine.test.p_holm == pytest.approx(2 * fine.test.p)  # the other one counts  # type: ignore[operator]


def test_an_invented_difference_of_rounding_is_none(tmp_path: Path) -> None:
    a = [0.1 + 0.2] * 10
    b = [0.3] * 10
    row = only_row(compare(tmp_path, {"t": items_of(a)}, {"t": items_of(b)}))
    assert row.flips is not None and (row.flips.lost, row.flips.gained) == (0, 0)
    assert (row.verdict, row.test.p) == ("no difference seen", 1.0)
