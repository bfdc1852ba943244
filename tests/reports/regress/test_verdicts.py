"""The verdict of every unit, and that of the night."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core import Metric, TaskGroup
from llmeval.core.metrics import GroupMetric
from llmeval.reports.regress.night import Night
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.verdicts import Outcome, exit_code, worst
from llmeval.reports.regress.words import explain
from tests.reports.regress.support import judge_values, night_of, records, wrong
from tests.support.records import items_of, mean

PASS, REGRESSED = Outcome.PASS, Outcome.REGRESSED
INCONCLUSIVE, INVALID = Outcome.INCONCLUSIVE, Outcome.INVALID
NIGHT = Night("nightly", "2026-01-01", GateSettings(), ())


def test_an_unchanged_model_passes_from_as_many_items_as_the_exact_test_needs(
    tmp_path: Path,
) -> None:
    """(1 - tolerance)^n <= alpha: .98^148 = .0503, .98^149 = .0493."""
    few = judge_values(tmp_path / "few", wrong(9, of=148), wrong(9, of=148))
    enough = judge_values(tmp_path / "enough", wrong(9, of=149), wrong(9, of=149))
    assert (few.outcome, enough.outcome) == (INCONCLUSIVE, PASS)
    assert few.needed_n is not None
    assert 148 < few.needed_n < 160
    assert not enough.improved


def test_a_worse_model_regresses(tmp_path: Path) -> None:
    unit = judge_values(tmp_path, wrong(20, of=200), wrong(60, of=200), tolerance=0.05)
    assert unit.outcome is REGRESSED
    assert unit.difference is not None
    assert unit.difference.value == pytest.approx(-0.2)
    assert unit.p_regressed is not None and unit.p_regressed < 1e-4


def test_a_small_drop_on_few_items_is_inconclusive_with_the_n_that_would_decide(
    tmp_path: Path,
) -> None:
    unit = judge_values(tmp_path, wrong(4, of=40), wrong(7, of=40), tolerance=0.05)
    assert unit.outcome is INCONCLUSIVE
    assert unit.needed_n is not None and unit.needed_n > 40
    assert f"about {unit.needed_n:,} would" in explain(NIGHT, unit)


def test_a_better_model_passes_and_is_said_to_be_better(tmp_path: Path) -> None:
    unit = judge_values(tmp_path, wrong(60, of=200), wrong(20, of=200))
    assert (unit.outcome, unit.improved) == (PASS, True)
    assert "better" in explain(NIGHT, unit)


def test_where_lower_is_better_a_rise_is_a_regression(tmp_path: Path) -> None:
    metrics = {"brier_score": Metric("brier_score", mean, higher_is_better=False)}
    before = {"task": items_of([0.2] * 100, "brier_score")}
    after = {"task": items_of([1.2] * 100, "brier_score")}
    runs = records(tmp_path, before, after, metrics=metrics)
    (unit,) = night_of(runs)[0].units
    assert unit.outcome is REGRESSED
    assert unit.difference is not None and unit.difference.value == pytest.approx(-1.0)
    assert unit.pairs.bounds == (-2.0, 2.0)


def test_holm_over_tasks_asks_more_of_each(tmp_path: Path) -> None:
    """A loss that one task alone shows at 5% is not enough among five: 9 of 60, p of some 2%."""
    before, after = wrong(0, of=60), wrong(9, of=60)
    alone = judge_values(tmp_path / "one", before, after, tolerance=0.05)
    runs = records(
        tmp_path,
        {f"task{i}": items_of(before) for i in range(5)},
        {"task0": items_of(after), **{f"task{i}": items_of(before) for i in range(1, 5)}},
    )
    among = night_of(runs, GateSettings(tolerance=0.05))[0].units[0]
    assert alone.p_regressed is not None and among.p_regressed is not None
    assert alone.outcome is REGRESSED
    assert among.p_regressed == pytest.approx(5 * alone.p_regressed)
    assert among.outcome is INCONCLUSIVE


def test_clusters_count_as_one(tmp_path: Path) -> None:
    """Ten lost items of one passage are one loss."""
    before = items_of([1.0] * 100)
    after = items_of(wrong(10, of=100))
    passages = [f"p{i // 10}" for i in range(100)]

    def clustered(items: list, on: bool) -> list:  # type: ignore[type-arg]
        from dataclasses import replace

        return [replace(x, cluster=c) if on else x for x, c in zip(items, passages, strict=True)]

    outcomes = []
    for on in (False, True):
        runs = records(
            tmp_path / str(on), {"task": clustered(before, on)}, {"task": clustered(after, on)}
        )
        outcomes.append(night_of(runs, GateSettings(tolerance=0.03))[0].outcome)
    assert outcomes == [REGRESSED, INCONCLUSIVE]


def test_a_group_with_a_number_is_judged_as_one(tmp_path: Path) -> None:
    """Three subtasks that are too small alone decide together."""
    names = ("a", "b", "c")
    group = TaskGroup("suite", names, names, (GroupMetric("acc"),))
    tasks = {name: items_of([1.0] * 60) for name in names}
    lone, _ = night_of(records(tmp_path / "lone", tasks, tasks))
    assert [unit.outcome for unit in lone.units] == [INCONCLUSIVE] * 3
    runs = records(tmp_path / "grouped", tasks, tasks, groups=[group])
    grouped, _ = night_of(runs)
    (unit,) = grouped.units
    assert (str(unit.pairs.name), len(unit.pairs.baseline)) == ("suite acc", 180)
    assert unit.outcome is PASS


def test_a_tolerance_of_a_task_says_which_metrics_are_judged(tmp_path: Path) -> None:
    from tests.support.records import Item

    items = [Item(f"q{i}", {"acc": 1.0, "f1": 0.5}) for i in range(200)]
    settings = GateSettings(tolerances={"task": {"f1": 0.1, "acc": 0.04}})
    night, _ = night_of(records(tmp_path, {"task": items}, {"task": items}), settings)
    assert [str(unit.pairs.name) for unit in night.units] == ["task f1", "task acc"]
    assert [unit.pairs.tolerance for unit in night.units] == [0.1, 0.04]


def test_the_worse_outcome_is_that_of_the_whole() -> None:
    assert worst([PASS, INCONCLUSIVE, REGRESSED, INVALID]) is INVALID
    assert worst([PASS, INCONCLUSIVE, REGRESSED]) is REGRESSED
    assert worst([PASS, INCONCLUSIVE]) is INCONCLUSIVE
    assert worst([PASS, PASS]) is PASS
    assert worst([]) is INVALID


def test_exit_codes() -> None:
    strict, lenient = GateSettings(), GateSettings(inconclusive="pass")
    codes = {one: (exit_code(one, strict), exit_code(one, lenient)) for one in Outcome}
    assert codes == {PASS: (0, 0), REGRESSED: (3, 3), INCONCLUSIVE: (3, 0), INVALID: (4, 4)}


def test_a_night_without_any_unit_is_invalid() -> None:
    assert Night(None, "x", GateSettings(), ()).outcome is INVALID
