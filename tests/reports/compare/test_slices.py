"""Two runs on the parts of their common items."""

from __future__ import annotations

from pathlib import Path

import pytest
from statsmodels.stats.multitest import multipletests

from llmeval.core import UsageError
from llmeval.reports.compare import Options, Wanted, compare_runs
from llmeval.reports.compare.slices import compare_slices
from llmeval.runs import Run
from tests.support.records import Item, write_record

A = [1] * 20 + [1] * 9 + [0] * 1 + [0] * 10 + [1, 0] * 20
B = [1] * 20 + [0] * 9 + [1] * 1 + [0] * 10 + [1, 0] * 20
KINDS = ["hard"] * 40 + ["easy"] * 40


def record(folder: Path, values: list[int], kinds: list[str] = KINDS) -> Run:
    items = [
        Item(f"q{i}", {"acc": v}, metadata={"kind": kind, "one": 1})
        for i, (v, kind) in enumerate(zip(values, kinds, strict=True))
    ]
    return write_record(folder, {"t": items}, model=folder.name)


def test_each_slice_is_compared_as_a_task_of_its_items_would_be(tmp_path: Path) -> None:
    runs = record(tmp_path / "a", A), record(tmp_path / "b", B)
    (cut,) = compare_slices(runs, Options()).cuts
    assert (cut.task, cut.metric, cut.key) == ("t", "acc", "kind")
    easy, hard = cut.rows
    alone = [record(tmp_path / f"{name}40", values[:40], KINDS[:40]) for name, values in
             (("a", A), ("b", B))]  # fmt: skip
    expected = compare_runs(alone).pairs[0].rows[0]
    assert (hard.name, hard.n, hard.difference) == ("hard", 40, expected.difference)
    assert hard.test.p == expected.test.p
    assert (easy.verdict, easy.difference.value) == ("no difference seen", 0)


def test_p_values_of_a_cut_are_adjusted_together(tmp_path: Path) -> None:
    runs = record(tmp_path / "a", A), record(tmp_path / "b", B)
    (cut,) = compare_slices(runs, Options()).cuts
    _, known, _, _ = multipletests([row.test.p for row in cut.rows], method="holm")
    assert [row.test.p_holm for row in cut.rows] == pytest.approx(list(known))
    assert cut.rows[1].verdict == "worse"


def test_items_that_are_not_common_are_in_no_slice(tmp_path: Path) -> None:
    runs = record(tmp_path / "a", A), record(tmp_path / "b", B[:60], KINDS[:60])
    (cut,) = compare_slices(runs, Options()).cuts
    assert [row.n for row in cut.rows] == [20, 40]
    assert [(found.reason, found.count) for found in cut.excluded] == [("missing", 20)]


def test_runs_that_are_not_comparable_are_refused_as_elsewhere(tmp_path: Path) -> None:
    run = record(tmp_path / "a", A)
    items = [Item("q0", {"acc": 1}, metadata={"kind": "x"})]
    other = write_record(tmp_path / "b", {"t": items}, num_fewshot=5)
    with pytest.raises(UsageError, match="different forms: 0-shot against 5-shot"):
        compare_slices((run, other), Options())
    with pytest.raises(UsageError, match="named twice"):
        compare_slices((run, run), Options())
    with pytest.raises(UsageError, match="no task has metadata named 'language'"):
        compare_slices((run, record(tmp_path / "c", B)), Options(Wanted()), ["language"])
