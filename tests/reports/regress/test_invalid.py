"""Every reason not to judge, each by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmeval.core import Metric, Score, UsageError
from llmeval.reports.regress.baseline import Baseline, Pin, digest_scores, open_baseline
from llmeval.reports.regress.faults import Fault
from llmeval.reports.regress.night import Side, judge_night
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.verdicts import Judged, Outcome
from llmeval.runs import Run, load_run
from llmeval.runs.files import write_json
from tests.reports.regress.support import night_of, records, wrong
from tests.support.records import Item, items_of, mean, write_record

ERRORED = Score("acc", status="errored", reason="no answer")
UNSCORED = Score("acc", status="unscored", reason="no letter")


def only_unit(
    runs: tuple[Run, Run], settings: GateSettings | None = None, **side: object
) -> Judged:
    night, _ = night_of(runs, settings, **side)
    (unit,) = night.units
    return unit


def kind_of(unit: Judged) -> str | None:
    assert (unit.outcome is Outcome.INVALID) == (unit.fault is not None)
    return unit.fault.kind if unit.fault else None


def test_changed_data(tmp_path: Path) -> None:
    changed = [*items_of([1.0] * 199), Item("q199", {"acc": 1.0}, question="another")]
    unit = only_unit(records(tmp_path, {"task": items_of([1.0] * 200)}, {"task": changed}))
    assert kind_of(unit) == "data changed"
    assert unit.fault is not None and "q199" in unit.fault.what


def test_rows_that_came_and_went(tmp_path: Path) -> None:
    runs = records(tmp_path, {"task": items_of([1.0] * 200)}, {"task": items_of([1.0] * 202)[2:]})
    assert kind_of(only_unit(runs)) == "data changed"


def test_fewer_items_of_the_same_data_are_judged_and_said(tmp_path: Path) -> None:
    runs = records(tmp_path, {"task": items_of([1.0] * 300)}, {"task": items_of([1.0] * 200)})
    unit = only_unit(runs)
    assert unit.outcome is Outcome.PASS
    assert unit.pairs.notes == ("200 items are in both: the baseline has 100 more, this run 0",)


def test_a_changed_prompt(tmp_path: Path) -> None:
    asked = items_of([1.0] * 200)
    otherwise = [replace(asked[0], prompt="Please: q0?"), *asked[1:]]
    unit = only_unit(records(tmp_path, {"task": asked}, {"task": otherwise}))
    assert kind_of(unit) == "prompt changed"


@pytest.mark.parametrize(
    "form",
    [
        {"num_fewshot": 5},
        {"version": "2"},
        {"form": "letters by generation"},
        {"options": {"apply_chat_template": True}},
        {"options": {"gen_kwargs": {"temperature": 1.0}}},
    ],
)
def test_another_form(tmp_path: Path, form: dict[str, object]) -> None:
    tasks = {"task": items_of([1.0] * 200)}
    before = write_record(tmp_path / "a", tasks, options={"gen_kwargs": {}})
    after = write_record(tmp_path / "b", tasks, **form)
    assert kind_of(only_unit((before, after))) == "form changed"


def test_settings_of_generation_are_no_form_of_a_task_that_generates_nothing(
    tmp_path: Path,
) -> None:
    tasks = {"task": items_of([1.0] * 200)}
    runs = [
        write_record(tmp_path / "a", tasks, options={"gen_kwargs": {}}),
        write_record(tmp_path / "b", tasks, options={"gen_kwargs": {"temperature": 1.0}}),
    ]
    for run in runs:
        config = {"task": {"config": {"output_type": "multiple_choice"}}}
        write_json(run.path / "manifest.json", {**run.manifest, "tasks": config})
    before, after = (load_run(run.path) for run in runs)
    assert kind_of(only_unit((before, after))) is None


def test_too_many_errors(tmp_path: Path) -> None:
    after = [replace(item, scores={"acc": ERRORED}) for item in items_of([1.0] * 11)]
    after += items_of([1.0] * 200)[11:]
    runs = records(tmp_path, {"task": items_of([1.0] * 200)}, {"task": after})
    assert kind_of(only_unit(runs)) == "too many errors"
    few = only_unit(runs, GateSettings(max_errors=0.06))
    assert (few.outcome, few.pairs.counts.errored) == (Outcome.PASS, 11)


def test_dropped_coverage_and_answers_that_count_as_wrong(tmp_path: Path) -> None:
    after = [replace(item, scores={"acc": UNSCORED}) for item in items_of([1.0] * 40)]
    after += items_of([1.0] * 200)[40:]
    runs = records(tmp_path, {"task": items_of([1.0] * 200)}, {"task": after})
    assert kind_of(only_unit(runs)) == "coverage dropped"
    as_wrong = only_unit(runs, GateSettings(unscored="wrong"))
    assert as_wrong.outcome is Outcome.REGRESSED
    assert as_wrong.difference is not None
    assert as_wrong.difference.value == pytest.approx(-0.2)


def test_nothing_measured(tmp_path: Path) -> None:
    unread = [replace(item, scores={"acc": UNSCORED}) for item in items_of([1.0] * 20)]
    runs = records(tmp_path, {"task": unread}, {"task": unread}, status="invalid")
    assert kind_of(only_unit(runs)) == "nothing measured"


def test_a_run_without_one_readable_answer_is_told_with_its_cause(tmp_path: Path) -> None:
    before, answer = items_of([1.0] * 100), "I'm sorry, but I can't help with that."
    after = [replace(item, scores={"acc": UNSCORED}, answer=answer) for item in before]
    runs = records(tmp_path, {"task": before}, {"task": after}, status="invalid")
    night, _ = night_of(runs)
    (unit,) = night.units
    assert kind_of(unit) == "coverage dropped"
    assert unit.fault is not None and "most often: no letter" in unit.fault.what
    (found,) = night.models[0].triage.values()
    assert found.says.startswith("mostly refusal (100% of the net drop)")
    assert only_unit(runs, GateSettings(unscored="wrong")).outcome is Outcome.REGRESSED


def test_of_an_invalid_run_only_what_got_all_answers_is_judged(tmp_path: Path) -> None:
    before = {"a": items_of([1.0] * 200), "b": items_of([1.0] * 200)}
    failed = [replace(item, scores={"acc": ERRORED}) for item in before["b"][:8]]
    after = {"a": before["a"], "b": [*failed, *before["b"][8:]]}
    runs = records(tmp_path / "1", before, after, status="invalid")
    assert [kind_of(u) for u in night_of(runs)[0].units] == [None, "run invalid"]
    after = {"a": before["a"], "b": before["b"][8:]}
    runs = records(tmp_path / "2", before, after, status="invalid")
    assert [kind_of(u) for u in night_of(runs)[0].units] == [None, "run invalid"]


def test_a_baseline_with_errors(tmp_path: Path) -> None:
    before = [replace(item, scores={"acc": ERRORED}) for item in items_of([1.0] * 100)]
    before += items_of([1.0] * 200)[100:]
    unit = only_unit(records(tmp_path, {"task": before}, {"task": items_of([1.0] * 200)}))
    assert kind_of(unit) == "too many errors"
    assert unit.fault is not None and "in the baseline, 100 of 200" in unit.fault.what


def test_a_tolerance_that_tolerates_everything(tmp_path: Path) -> None:
    tasks = {"task": items_of([1.0] * 200)}
    runs = records(tmp_path, tasks, tasks)
    assert kind_of(only_unit(runs, GateSettings(tolerance=1.0))) == "not comparable"
    assert only_unit(runs, GateSettings(tolerance=0.99)).outcome is Outcome.PASS


def test_a_task_that_one_of_the_records_lacks(tmp_path: Path) -> None:
    both = {"a": items_of([1.0] * 200), "b": items_of([1.0] * 200)}
    runs = records(tmp_path / "1", {"a": both["a"]}, both)
    assert [kind_of(u) for u in night_of(runs)[0].units] == [None, "baseline missing"]
    runs = records(tmp_path / "2", both, {"a": both["a"]})
    assert [kind_of(u) for u in night_of(runs, whole=True)[0].units] == [None, "nothing measured"]
    assert [kind_of(u) for u in night_of(runs)[0].units] == [None]


def test_a_metric_of_the_whole_corpus(tmp_path: Path) -> None:
    metrics = {"bleu": Metric("bleu", mean, aggregation="corpus")}
    tasks = {"task": items_of([1.0] * 20, "bleu")}
    runs = (
        write_record(tmp_path / "a", tasks, metrics=metrics),
        write_record(tmp_path / "b", tasks, metrics=metrics),
    )
    assert kind_of(only_unit(runs)) == "not comparable"


def test_a_metric_whose_range_is_not_known(tmp_path: Path) -> None:
    tasks = {"task": items_of([3.0] * 200, "length")}
    runs = records(tmp_path, tasks, tasks)
    assert kind_of(only_unit(runs)) == "not comparable"
    known = GateSettings(ranges={"length": (0, 10)}, tolerance=0.5)
    assert only_unit(runs, known).outcome is Outcome.PASS
    assert kind_of(only_unit(runs, GateSettings(ranges={"length": (0, 2)}))) == "not comparable"


def test_a_fault_of_the_whole_run_is_that_of_every_unit(tmp_path: Path) -> None:
    tasks = {"a": items_of([1.0] * 200), "b": items_of([1.0] * 200)}
    fault = Fault("interrupted", "50 of 50 requests", "a higher limit")
    night, _ = night_of(records(tmp_path, tasks, tasks), fault=fault)
    assert [kind_of(unit) for unit in night.units] == ["interrupted"] * 2


def test_a_run_that_left_nothing_is_judged_by_what_was_asked() -> None:
    missing = Fault("baseline missing", "none is pinned", "pin one")
    side = Side("model", missing, None, asked=("gsm8k", "mmlu"))
    night, _ = judge_night([side], GateSettings(), name="n", night="x")
    assert [(u.pairs.name.task, kind_of(u)) for u in night.units] == [
        ("gsm8k", "baseline missing"),
        ("mmlu", "baseline missing"),
    ]


def test_an_invalid_task_still_counts_among_the_tests(tmp_path: Path) -> None:
    """Two units, one of them invalid: the other needs as many items as among two."""
    before = {"a": items_of(wrong(9, of=149)), "b": items_of([1.0] * 20)}
    after = {"a": items_of(wrong(9, of=149)), "b": items_of([1.0] * 21)[1:]}
    night, _ = night_of(records(tmp_path, before, after))
    assert [unit.outcome for unit in night.units] == [Outcome.INCONCLUSIVE, Outcome.INVALID]


def test_a_misspelt_tolerance_is_refused(tmp_path: Path) -> None:
    tasks = {"gsm8k": items_of([1.0] * 20)}
    with pytest.raises(UsageError, match="did you mean gsm8k"):
        night_of(records(tmp_path, tasks, tasks), GateSettings(tolerances={"gsm8": 0.1}))


# -- the pin ---------------------------------------------------------------------------------------


def test_no_pin_and_no_record(tmp_path: Path) -> None:
    for pin in (None, Pin(str(tmp_path / "nowhere"))):
        found = open_baseline(pin, tmp_path)
        assert isinstance(found, Fault) and found.kind == "baseline missing"


def test_a_swapped_baseline(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"task": items_of([1.0, 0.0])})
    pin = Pin(str(run.path), digest_scores(run))
    assert isinstance(open_baseline(pin), Baseline)
    write_record(tmp_path / "run", {"task": items_of([0.0, 0.0])})
    found = open_baseline(pin)
    assert isinstance(found, Fault) and found.kind == "baseline changed"


def test_a_baseline_that_is_not_complete(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", {"task": items_of([1.0])}, status="interrupted")
    found = open_baseline(Pin(str(run.path)))
    assert isinstance(found, Fault) and "interrupted" in found.what


def test_items_in_both_are_counted_though_none_can_be_judged(tmp_path: Path) -> None:
    nothing = [replace(item, scores={"acc": UNSCORED}) for item in items_of([1.0] * 60)]
    unit = only_unit(records(tmp_path, {"task": items_of([1.0] * 100)}, {"task": nothing}))
    assert kind_of(unit) == "coverage dropped"
    assert unit.pairs.notes[0] == (
        "60 items are in both (0 with a number in both): the baseline has 40 more, this run 0"
    )
