"""Tiers and ranks: from paired comparisons of the same items, and of nothing else."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from llmeval.core import GroupMetric, Metric, TaskGroup
from llmeval.reports.leaderboard.board import Board, Standing
from tests.reports.leaderboard.support import board_of, record, right, row_of
from tests.support.records import Item, items_of, mean

HALF = [1.0, 0.0] * 50


def standing(board: Board, name: str, key: str = "t acc") -> Standing:
    found = row_of(board, name).cells[key].standing
    assert found is not None
    return found


def average_standing(board: Board, name: str) -> Standing:
    average = row_of(board, name).average
    assert average is not None and average.standing is not None
    return average.standing


def test_equal_models_share_a_tier_and_a_clearly_worse_one_does_not(tmp_path: Path) -> None:
    record(tmp_path, "one", {"t": right(0.8, seed=1)})
    record(tmp_path, "other", {"t": right(0.8, seed=2)})
    record(tmp_path, "worse", {"t": right(0.5, seed=3)})
    board = board_of(tmp_path)
    assert standing(board, "one").tier == standing(board, "other").tier == 1
    assert standing(board, "worse") == Standing(2, 3, 3)
    assert standing(board, "one").ranks == "1-2"


def test_ranks_are_bounded_by_every_pair_tested_by_itself(tmp_path: Path) -> None:
    values = {f"m{k}": right(0.5 + k / 20, 150, seed=k) for k in range(7)}
    for name, scores in values.items():
        record(tmp_path, name, {"t": scores})
    pairs = list(itertools.combinations(values, 2))
    moves = [np.subtract(values[a], values[b]) for a, b in pairs]
    tests = [scipy_stats.binomtest(int((d > 0).sum()), int((d != 0).sum())) for d in moves]
    significant = multipletests([t.pvalue for t in tests], 0.05, method="holm")[0]
    better: dict[str, set[str]] = {name: set() for name in values}
    for (a, b), moved, certain in zip(pairs, moves, significant, strict=True):
        if certain:
            better[a if moved.sum() > 0 else b].add(b if moved.sum() > 0 else a)
    board = board_of(tmp_path)
    assert significant.any() and not significant.all()
    for name in values:
        found = standing(board, name)
        assert found.best == 1 + sum(name in worse for worse in better.values())
        assert found.worst == len(values) - len(better[name])


def test_where_lower_is_better_the_lowest_is_first(tmp_path: Path) -> None:
    lower = {"loss": Metric("loss", mean, higher_is_better=False)}
    noise = np.random.default_rng(0).normal(size=(2, 100))
    record(tmp_path, "low", {"t": items_of(1 + 0.1 * noise[0], "loss")}, metrics=lower)
    record(tmp_path, "high", {"t": items_of(2 + 0.1 * noise[1], "loss")}, metrics=lower)
    board = board_of(tmp_path)
    assert [row.name for row in board.models] == ["low", "high"]
    assert standing(board, "low", "t loss").tier == 1
    assert standing(board, "high", "t loss").tier == 2


def test_items_are_compared_by_what_they_are_not_by_their_order(tmp_path: Path) -> None:
    items = items_of(HALF)
    record(tmp_path, "a", {"t": items})
    record(tmp_path, "b", {"t": items[::-1]})
    # The same answers on the same items: no difference, whatever the order.
    assert standing(board_of(tmp_path), "b").ranks == "1-2"


def test_what_was_asked_in_other_words_is_outside_of_the_tiers(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        record(tmp_path, name, {"t": items_of(right(0.7, seed=seed))})
    record(tmp_path, "odd", {"t": items_of(right(0.1, seed=5), prompt="in other words")})
    board = board_of(tmp_path)
    cell = row_of(board, "odd").cells["t acc"]
    assert (cell.standing, cell.unplaced) == (None, "asked in other words")
    assert standing(board, "a").worst == 2
    assert any("odd: asked in other words (t acc)" in note for note in board.notes)


def test_how_most_rows_asked_is_how_it_must_be_asked(tmp_path: Path) -> None:
    # The newest run, which comes first, is the odd one.
    record(tmp_path, "a", {"t": items_of(right(0.7, seed=1))}, day=1)
    record(tmp_path, "b", {"t": items_of(right(0.7, seed=2))}, day=1)
    record(tmp_path, "odd", {"t": items_of(right(0.7), prompt="in other words")}, day=9)
    board = board_of(tmp_path)
    assert row_of(board, "odd").cells["t acc"].unplaced == "asked in other words"
    assert standing(board, "a").ranks == standing(board, "b").ranks == "1-2"


def test_what_most_rows_asked_counts_though_they_have_other_items(tmp_path: Path) -> None:
    record(tmp_path, "all", {"t": items_of(right(0.7, 300, seed=1))}, day=1)
    record(tmp_path, "some", {"t": items_of(right(0.7, 300, seed=2)[:200])}, day=1)
    odd = items_of(right(0.7, 250), prompt="in other words")
    record(tmp_path, "odd", {"t": odd}, day=9)
    board = board_of(tmp_path)
    assert row_of(board, "odd").cells["t acc"].unplaced == "asked in other words"
    assert standing(board, "all").ranks == standing(board, "some").ranks == "1-2"


def test_with_chat_templates_every_model_is_asked_in_its_own_words(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        items = items_of(right(0.9 - seed / 2), prompt=f"<{name}>")
        record(tmp_path, name, {"t": items}, options={"apply_chat_template": True})
    board = board_of(tmp_path)
    assert standing(board, "b").tier == 2
    assert any("rendered by its own" in note for note in board.notes)


def test_other_items_cannot_be_compared(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": [Item(f"a{i}", {"acc": v}) for i, v in enumerate(HALF)]})
    record(tmp_path, "b", {"t": [Item(f"b{i}", {"acc": v}) for i, v in enumerate(HALF)]})
    reasons = [row.cells["t acc"].unplaced for row in board_of(tmp_path).models]
    assert reasons.count("other items") == 1


def test_a_record_without_samples_has_numbers_and_no_tier(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        record(tmp_path, name, {"t": right(0.7, seed=seed)})
    (record(tmp_path, "bare", {"t": right(0.7)}) / "scores.parquet").unlink()
    board = board_of(tmp_path)
    cell = row_of(board, "bare").cells["t acc"]
    assert cell.measured.value is not None
    assert (cell.standing, cell.unplaced) == (None, "no samples")


def test_a_corpus_metric_has_no_tiers(tmp_path: Path) -> None:
    corpus = {"f1": Metric("f1", mean, aggregation="f1_score")}
    for name in ("a", "b"):
        record(tmp_path, name, {"t": items_of(HALF, "f1")}, metrics=corpus)
    board = board_of(tmp_path)
    assert board.columns[0].no_tiers == "no mean over samples (f1_score)"
    assert row_of(board, "a").cells["t f1"].standing is None


def test_dependent_items_make_differences_less_certain(tmp_path: Path) -> None:
    # Ten texts of twenty questions, each text answered alike: ten observations, not two hundred.
    # Three of the ten differ: t = 1.96 with 9 degrees of freedom, p = .08.
    a, b = [1.0] * 120 + [0.0] * 80, [1.0] * 60 + [0.0] * 140
    for folder, cluster in ((tmp_path / "alone", 1), (tmp_path / "texts", 20)):
        folder.mkdir()
        for name, values in (("a", a), ("b", b)):
            items = [
                Item(f"q{i}", {"acc": v}, cluster=f"text {i // cluster}")
                for i, v in enumerate(values)
            ]
            record(folder, name, {"t": items})
    assert standing(board_of(tmp_path / "alone"), "b").tier == 2
    assert standing(board_of(tmp_path / "texts"), "b").tier == 1


def test_always_right_is_better_than_never_right(tmp_path: Path) -> None:
    record(tmp_path, "always", {"t": [1.0] * 10})
    record(tmp_path, "never", {"t": [0.0] * 10})
    # Ten signs alike: 2 / 2^10 by flipping them.
    assert standing(board_of(tmp_path), "never").tier == 2


def test_tiers_agree_with_the_exact_test_of_a_comparison(tmp_path: Path) -> None:
    """7 lost and 1 gained of 30: p = .07 by McNemar's exact test, .03 by Student's t."""
    record(tmp_path, "a", {"t": [1.0] * 7 + [0.0] + [1.0] * 22})
    record(tmp_path, "b", {"t": [0.0] * 7 + [1.0] + [1.0] * 22})
    assert standing(board_of(tmp_path), "b").tier == 1


def test_a_few_items_that_differ_do_not_part_averages(tmp_path: Path) -> None:
    """Four items that differ, all alike, in two columns: flipping signs gives 1/8 at the least."""
    for name, values in (("a", [1.0] * 2 + [0.0] * 398), ("b", [0.0] * 400)):
        record(tmp_path, name, {"s": values, "t": values})
    board = board_of(tmp_path)
    assert average_standing(board, "b") == Standing(1, 1, 2)


def test_one_model_stands_nowhere(tmp_path: Path) -> None:
    record(tmp_path, "a", {"t": HALF})
    assert row_of(board_of(tmp_path), "a").cells["t acc"].standing is None


# -- groups and averages ---------------------------------------------------------------------------


def test_averages_are_compared_by_the_sum_of_their_columns(tmp_path: Path) -> None:
    a, b = (
        {"s": right(0.72, 300, 1), "t": right(0.7, 300, 2)},
        {
            "s": right(0.62, 300, 3),
            "t": right(0.6, 300, 4),
        },
    )
    record(tmp_path, "a", a)
    record(tmp_path, "b", b)
    board = board_of(tmp_path)
    differences = [np.subtract(a[task], b[task]) for task in ("s", "t")]
    value = sum(d.mean() for d in differences) / 2
    variances = [d.var(ddof=1) / 300 / 4 for d in differences]
    df = sum(variances) ** 2 / sum(v**2 / 299 for v in variances)
    p = 2 * scipy_stats.t.sf(value / math.sqrt(sum(variances)), df)
    assert p < 0.05
    assert average_standing(board, "b").tier == 2
    single = [
        scipy_stats.binomtest(int((d > 0).sum()), int((d != 0).sum())).pvalue for d in differences
    ]
    assert [standing(board, "b", f"{task} acc").tier for task in ("s", "t")] == [
        2 if p < 0.05 else 1 for p in single
    ]


def test_a_row_out_of_one_column_is_out_of_the_averages_tiers(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        record(tmp_path, name, {"s": right(0.7, seed=seed), "t": right(0.7, seed=9 + seed)})
    odd = {"s": items_of(right(0.7, seed=3)), "t": items_of(right(0.7), prompt="otherwise")}
    record(tmp_path, "odd", odd)
    average = row_of(board_of(tmp_path), "odd").average
    assert average is not None
    assert average.standing is None
    assert average.unplaced == "t acc: asked in other words"


def group(by_size: bool) -> list[TaskGroup]:
    return [TaskGroup("g", ("s", "t"), ("s", "t"), (GroupMetric("acc", by_size),))]


@pytest.mark.parametrize("by_size", [True, False])
def test_a_groups_rows_are_compared_as_the_group_weights_its_tasks(
    tmp_path: Path, by_size: bool
) -> None:
    # Better in 40 items, worse in 400: which counts more is the group's choice.
    a = {"s": [1.0] * 36 + [0.0] * 4, "t": right(0.55, 400, 1)}
    b = {"s": [0.0] * 36 + [1.0] * 4, "t": right(0.65, 400, 2)}
    for name, tasks in (("a", a), ("b", b)):
        record(tmp_path, name, tasks, groups=group(by_size))
    board = board_of(tmp_path)
    assert [(c.key, c.parent) for c in board.columns] == [
        ("g acc", None),
        ("s acc", "g"),
        ("t acc", "g"),
    ]
    differences = [np.subtract(a[task], b[task]) for task in ("s", "t")]
    weights = [40 / 440, 400 / 440] if by_size else [0.5, 0.5]
    value = sum(w * d.mean() for w, d in zip(weights, differences, strict=True))
    variances = [
        (w * d.std(ddof=1)) ** 2 / len(d) for w, d in zip(weights, differences, strict=True)
    ]
    df = sum(variances) ** 2 / sum(
        v**2 / (len(d) - 1) for v, d in zip(variances, differences, strict=True)
    )
    p = 2 * scipy_stats.t.sf(abs(value) / math.sqrt(sum(variances)), df)
    worse = "b" if value > 0 else "a"
    assert standing(board, worse, "g acc").tier == (2 if p < 0.05 else 1)
    assert by_size or (p < 0.05 and worse == "b")


def test_tasks_of_another_run_are_not_a_groups(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        tasks = {"s": right(0.7, seed=seed), "t": right(0.7, seed=5 + seed)}
        record(tmp_path, name, tasks, groups=group(True), day=1)
    again = {"s": right(0.7, seed=8), "u": HALF}
    other = [TaskGroup("g2", ("s", "u"), ("s", "u"), (GroupMetric("acc"),))]
    record(tmp_path, "a", again, groups=other, day=2)
    cell = row_of(board_of(tmp_path), "a").cells["g acc"]
    assert (cell.standing, cell.unplaced) == (None, "its tasks come from another run")
