"""What may be compared: the same data, asked in the same form, of whole runs; the rest is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmeval.core import GroupMetric, Metric, Score, TaskGroup, UsageError
from llmeval.reports.compare import Options, Pair, Wanted, compare_runs
from llmeval.runs import Run
from tests.support.records import Item, items_of, mean, write_record


def pair_of(a: Run, b: Run, **options: Any) -> Pair:
    return compare_runs([a, b], Options(**options)).pairs[0]


def test_neither_order_nor_names_of_items_matter(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1, 0, 1])})
    again = [Item(f"row {i}", {"acc": v}, question=f"q{i}") for i, v in ((2, 0), (0, 1), (1, 0))]
    b = write_record(tmp_path / "b", {"t": again})
    row = pair_of(a, b).rows[0]
    assert row.n == 3
    assert row.flips is not None
    assert (row.flips.lost_ids, row.flips.gained) == (("q2",), 0)
    assert row.excluded == ()


def test_changed_missing_and_unscored_items_are_excluded_by_name(tmp_path: Path) -> None:
    names = ["same", "data", "prompt", "gone", "silent", "also"]
    a = write_record(tmp_path / "a", {"t": [Item(name, {"acc": 1}) for name in names]})
    silent = Score("acc", status="unscored", reason="the answer is empty")
    b = write_record(
        tmp_path / "b",
        {
            "t": [
                Item("same", {"acc": 0}),
                Item("data", {"acc": 0}, question="another question"),
                Item("prompt", {"acc": 0}, prompt="Please: prompt?"),
                Item("silent", {"acc": silent}),
                Item("also", {"acc": 1}),
                Item("new", {"acc": 1}),
            ]
        },
    )
    row = pair_of(a, b).rows[0]
    assert row.n == 2
    assert {(e.side, e.reason, e.sample_ids) for e in row.excluded} == {
        ("baseline", "changed data", ("data",)),
        ("challenger", "changed data", ("data",)),
        ("challenger", "changed prompt", ("prompt",)),
        ("challenger", "missing", ("gone",)),
        ("challenger", "not scored", ("silent",)),
        ("baseline", "missing", ("new",)),
    }


def test_items_of_a_group_are_named_with_their_task(tmp_path: Path) -> None:
    group = TaskGroup("g", ("s", "t"), ("s", "t"), (GroupMetric("acc"),))
    tasks = {"s": items_of([1, 1]), "t": items_of([0, 1, 0])}
    a = write_record(tmp_path / "a", tasks, groups=[group])
    b = write_record(tmp_path / "b", tasks | {"t": items_of([1, 1])}, groups=[group])
    row = pair_of(a, b).rows[0]
    assert [(e.reason, e.sample_ids) for e in row.excluded] == [("missing", ("t/q2",))]
    assert row.flips is not None and row.flips.gained_ids == ("t/q0",)


FORMS: list[tuple[dict[str, Any], str]] = [
    ({"num_fewshot": 5}, "0-shot against 5-shot (t)"),
    ({"version": "2"}, "version 1 against version 2 (t)"),
    ({"form": "letters by generation"}, "own form against letters by generation (t)"),
    (
        {"options": {"apply_chat_template": True}},
        "no chat template against chat template (t)",
    ),
    (
        {"options": {"system_instruction": "Be brief."}},
        "no system instruction against system instruction 'Be brief.' (t)",
    ),
]


@pytest.mark.parametrize(("form", "told"), FORMS)
def test_another_prompt_form_is_refused_and_named(
    tmp_path: Path, form: dict[str, Any], told: str
) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1, 0, 0])}, model="first")
    b = write_record(tmp_path / "b", {"t": items_of([1, 1, 0])}, model="second", **form)
    with pytest.raises(UsageError) as refused:
        pair_of(a, b)
    line = str(refused.value)
    assert line.startswith("first and second: they were asked in different forms: ")
    assert told in line and "--across-forms" in line
    pair = pair_of(a, b, across_forms=True)
    assert [row.across for row in pair.rows] == [True]
    assert pair.forms[0].tasks == ("t",)


def test_of_many_tasks_only_those_asked_otherwise_are_marked(tmp_path: Path) -> None:
    items = {"t": items_of([1, 0]), "u": items_of([1, 0])}
    otherwise = items | {"u": [Item("q0", {"acc": 1}, prompt="other?"), items["u"][1]]}
    a, b = write_record(tmp_path / "a", items), write_record(tmp_path / "b", otherwise)
    marks = {row.name: row.across for row in pair_of(a, b, across_forms=True).rows}
    assert marks == {"t": False, "u": True}
    assert {row.name: row.n for row in pair_of(a, b).rows} == {"t": 2, "u": 1}


def test_a_form_of_tasks_that_are_not_compared_does_not_matter(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1]), "u": items_of([1, 0])})
    b = write_record(tmp_path / "b", {"t": items_of([1]), "u": items_of([1, 0])})
    b.summary["tasks"]["t"]["num_fewshot"] = 3
    with pytest.raises(UsageError, match="3-shot"):
        pair_of(a, b)
    assert pair_of(a, b, wanted=Wanted(tasks=("u",))).rows[0].across is False


def test_settings_that_are_in_no_prompt_are_told(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1])}, options={"gen_kwargs": {}})
    warm = {"gen_kwargs": {"temperature": 0.7}}
    b = write_record(tmp_path / "b", {"t": items_of([1])}, options=warm)
    assert 'Sampling differs: own sampling against {"temperature":0.7} (t).' in pair_of(a, b).notes


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1, 0])})
    cases = {
        "prompts": ({"t": [Item("q0", {"acc": 1}, prompt="Now, q0?")]}, "changed prompt.*--across"),
        "data": (
            {"t": [Item("q0", {"acc": 1}, question="else")]},
            "changed data.*llmeval data diff",
        ),
        "tasks": ({"u": items_of([1])}, "they share no task|the runs share no task: t against u"),
        "scores": (
            {"t": [Item(f"q{i}", {"acc": Score("acc", status="errored")}) for i in (0, 1)]},
            "no item in common: not scored",
        ),
    }
    for name, (tasks, message) in cases.items():
        b = write_record(tmp_path / name, tasks, model="other")
        with pytest.raises(UsageError, match=message):
            pair_of(a, b)


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1])})
    with pytest.raises(UsageError, match="the same run is named twice"):
        compare_runs([a, Run(tmp_path / "a" / ".." / "a")])
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_runs([a])


def test_runs_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1, 0])})
    broken = write_record(tmp_path / "b", {"t": items_of([1])}, status="interrupted")
    wrong = write_record(tmp_path / "c", {"t": items_of([1])}, status="invalid")
    with pytest.raises(UsageError, match=r"b: the run was interrupted .*--partial"):
        pair_of(a, broken)
    with pytest.raises(UsageError, match="the run is invalid"):
        pair_of(a, wrong, partial=True)
    pair = pair_of(a, broken, partial=True)
    assert pair.rows[0].n == 1
    assert any("was interrupted" in note for note in pair.notes)


def test_runs_of_one_model_differ_by_noise_and_by_their_ids(tmp_path: Path) -> None:
    a = write_record(tmp_path / "one", {"t": items_of([1, 0])}, model="m")
    b = write_record(tmp_path / "two", {"t": items_of([1, 1])}, model="m")
    comparison = compare_runs([a, b])
    assert [c.label for c in comparison.contestants] == ["m (one)", "m (two)"]
    assert any("decoding noise" in note for note in comparison.pairs[0].notes)


# -- selection -------------------------------------------------------------------------------------


def two_metrics(folder: Path, **settings: Any) -> Run:
    items = [Item("q0", {"acc": 1, "em,strict": 0}), Item("q1", {"acc": 0, "em,strict": 1})]
    return write_record(folder, {"t": items, "u": items_of([1, 0])}, model=folder.name, **settings)


def test_the_main_metric_is_each_tasks_first(tmp_path: Path) -> None:
    a, b = two_metrics(tmp_path / "a"), two_metrics(tmp_path / "b")

    def rows(wanted: Wanted) -> list[tuple[str, str]]:
        return [(row.name, row.metric) for row in pair_of(a, b, wanted=wanted).rows]

    assert rows(Wanted()) == [("t", "acc"), ("u", "acc")]
    assert rows(Wanted(all_metrics=True)) == [("t", "acc"), ("t", "em,strict"), ("u", "acc")]
    assert rows(Wanted(metrics=("em",))) == rows(Wanted(metrics=("em,strict",)))
    assert rows(Wanted(metrics=("em",))) == [("t", "em,strict")]
    assert rows(Wanted(tasks=("u",))) == [("u", "acc")]


def test_unknown_names_are_told_with_near_ones(tmp_path: Path) -> None:
    a, b = two_metrics(tmp_path / "a"), two_metrics(tmp_path / "b")
    with pytest.raises(UsageError, match=r"no such metric in the runs: 'ac' \(did you mean acc"):
        pair_of(a, b, wanted=Wanted(metrics=("ac",)))
    with pytest.raises(UsageError, match=r"no such task in the runs: 'zzz' \(known: t, u\)"):
        pair_of(a, b, wanted=Wanted(tasks=("zzz",)))


def test_tasks_of_one_run_only_are_named(tmp_path: Path) -> None:
    a = write_record(tmp_path / "a", {"t": items_of([1, 0]), "mine": items_of([1])})
    b = write_record(tmp_path / "b", {"t": items_of([1, 0]), "yours": items_of([1])})
    pair = pair_of(a, b)
    assert (pair.only_baseline, pair.only_challenger) == (("mine",), ("yours",))
    with pytest.raises(UsageError, match="only one of the runs has mine"):
        pair_of(a, b, wanted=Wanted(tasks=("mine",)))


def test_groups_stand_above_what_is_in_them_and_a_named_subtask_is_a_headline(
    tmp_path: Path,
) -> None:
    outer = TaskGroup("all", ("part", "u"), ("s", "t", "u"), (GroupMetric("acc"),))
    inner = TaskGroup("part", ("s", "t"), ("s", "t"), (GroupMetric("acc"),))
    suite = TaskGroup("suite", ("all", "v"), ("s", "t", "u", "v"))  # no number of its own
    tasks = {name: items_of([1, 0]) for name in "stuv"}
    settings: dict[str, Any] = {"groups": [suite, outer, inner]}
    a = write_record(tmp_path / "a", tasks, **settings)
    b = write_record(tmp_path / "b", tasks, **settings)
    rows = pair_of(a, b).rows
    assert [(row.name, row.depth, row.parent) for row in rows] == [
        ("all", 0, None),
        ("part", 1, "all"),
        ("s", 2, "all"),
        ("t", 2, "all"),
        ("u", 1, "all"),
        ("v", 0, None),
    ]
    chosen = pair_of(a, b, wanted=Wanted(tasks=("t", "suite"))).rows
    assert [row.name for row in chosen if row.is_headline] == ["all", "v"]
    (alone,) = pair_of(a, b, wanted=Wanted(tasks=("t",))).rows
    assert (alone.name, alone.is_headline) == ("t", True)


def test_parts_of_a_group_without_the_metric_are_told(tmp_path: Path) -> None:
    group = TaskGroup("g", ("s", "t"), ("s", "t"), (GroupMetric("acc"),))
    tasks = {"s": items_of([1, 0, 1]), "t": items_of([0, 1])}
    a = write_record(tmp_path / "a", tasks, groups=[group])
    b = write_record(tmp_path / "b", tasks | {"t": items_of([0, 1], "f1")}, groups=[group])
    pair = pair_of(a, b)
    assert pair.rows[0].n == 3
    assert "g acc is compared without t: only one run has it there." in pair.notes


def test_metrics_in_which_the_runs_disagree_are_not_compared(tmp_path: Path) -> None:
    def run(name: str, *, higher: bool) -> Run:
        metrics = {"acc": Metric("acc", mean, higher)}
        return write_record(tmp_path / name, {"t": items_of([1, 0])}, metrics=metrics)

    row = pair_of(run("a", higher=True), run("b", higher=False)).rows[0]
    assert row.verdict == "not estimable"
    assert "disagree on whether higher is better" in row.why
