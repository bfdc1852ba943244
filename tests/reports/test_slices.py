"""A metric on parts of a task's samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core import Metric, Score, UsageError
from llmeval.reports.items import read_items
from llmeval.reports.slices import NONE, Slice, read_labels, slice_scores
from llmeval.runs import Run
from llmeval.stats import bootstrap_bleu, estimate_mean
from tests.support.records import Item, mean, write_record


def cut(run: Run, task: str, metric: str, key: str) -> list[Slice]:
    return slice_scores(read_labels(run, task), read_items(run, task, metric), key)


def test_slices_add_up_to_the_task_and_stand_in_natural_order(tmp_path: Path) -> None:
    values = [1, 0, 1, 1, 0, 1, 0, 0]
    levels = [10, 2, 10, 2, 10, 2, None, 10]
    items = [
        Item(f"q{i}", {"acc": v}, metadata={} if level is None else {"level": level, "row": i})
        for i, (v, level) in enumerate(zip(values, levels, strict=True))
    ]
    run = write_record(tmp_path / "a", {"t": items})
    found = cut(run, "t", "acc", "level")
    assert [(s.value, s.samples, s.estimate.value) for s in found] == [
        ("2", 3, pytest.approx(2 / 3)),
        ("10", 4, 0.5),
        (NONE, 1, 0.0),
    ]
    assert found[1].estimate == estimate_mean([1, 1, 0, 0])


def test_a_key_that_names_single_samples_or_all_of_them_makes_no_slices(tmp_path: Path) -> None:
    items = [
        Item(f"q{i}", {"acc": 1}, metadata={"id": i, "same": "x", "half": i % 2, "list": [1]})
        for i in range(8)
    ]
    run = write_record(tmp_path / "a", {"t": items})
    assert read_labels(run, "t").find_keys() == ["half"]


def test_what_is_not_scored_lowers_the_n_of_its_slice_only(tmp_path: Path) -> None:
    lost = Score("acc", status="unscored", reason="empty")
    items = [
        Item("a", {"acc": lost}, metadata={"kind": "x"}),
        Item("b", {"acc": 1.0}, metadata={"kind": "x"}),
        Item("c", {"acc": lost}, metadata={"kind": "y"}),
    ]
    run = write_record(tmp_path / "a", {"t": items})
    x, y = cut(run, "t", "acc", "kind")
    assert (x.samples, x.estimate.n, x.estimate.value) == (2, 1, 1.0)
    assert (y.samples, y.estimate.n, y.estimate.value) == (1, 0, None)


def test_clusters_count_within_a_slice(tmp_path: Path) -> None:
    values, passages = [1, 1, 0, 0, 1, 0], ["p", "p", "q", "q", None, None]
    items = [
        Item(f"q{i}", {"acc": v}, cluster=c, metadata={"k": "all" if i < 5 else "rest"})
        for i, (v, c) in enumerate(zip(values, passages, strict=True))
    ]
    run = write_record(tmp_path / "a", {"t": items})
    first, _ = cut(run, "t", "acc", "k")
    assert first.estimate == estimate_mean([1, 1, 0, 0, 1], [0, 0, 1, 1, 2])


def test_a_corpus_metric_is_aggregated_in_each_slice(tmp_path: Path) -> None:
    said = ["the cat sat on the mat", "a dog ran under the tree", "no", "the cat sat on a mat"]
    meant = ["the cat sat on the mat", "the dog ran under a tree", "yes", "the cat sat on the mat"]
    items = [
        Item(f"q{i}", {"bleu": Score("bleu", item=[[m], s])}, metadata={"half": i // 2})
        for i, (s, m) in enumerate(zip(said, meant, strict=True))
    ]
    for aggregation, expected in (
        ("bleu", bootstrap_bleu(said[:2], [[m] for m in meant[:2]]).value),
        ("something of the task's own", None),
    ):
        metric = Metric("bleu", lambda items, _: mean([0], None), aggregation=aggregation)
        run = write_record(tmp_path / aggregation[:4], {"t": items}, metrics={"bleu": metric})
        assert cut(run, "t", "bleu", "half")[0].estimate.value == expected


def test_wrong_names_are_told(tmp_path: Path) -> None:
    run = write_record(tmp_path / "a", {"t": [Item("q", {"acc": 1}, metadata={"k": 1})]})
    for arguments, message in (
        (("u", "acc", "k"), "no samples of task 'u'"),
        (("t", "f1", "k"), "no metric 'f1'.*acc"),
        (("t", "acc", "z"), "no sample has 'z'.*has k"),
    ):
        with pytest.raises(UsageError, match=message):
            cut(run, *arguments)
