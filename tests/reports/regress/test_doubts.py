"""What makes a verdict worth little stands beside it in every output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Metric
from llmeval.reports.regress.doubts import doubt_baseline
from llmeval.reports.regress.junit import render_junit
from llmeval.reports.regress.markdown import render_markdown
from llmeval.reports.regress.page import render_night
from llmeval.reports.regress.plain import to_plain
from llmeval.reports.regress.settings import GateSettings
from llmeval.reports.regress.units import UnitName
from llmeval.reports.regress.verdicts import Outcome
from llmeval.runs import Run
from llmeval.runs.files import write_json
from tests.reports.regress.support import night_of, records, wrong
from tests.support.records import items_of, mean, write_record

NAME = UnitName("task", "acc", ("task",))
GUESSED = {"acc": Metric("acc", mean, chance=0.25)}


def doubts(folder: Path, wrongs: int, tolerance: float = 0.02, **more: Any) -> tuple[str, ...]:
    run = write_record(folder, {"task": items_of(wrong(wrongs, of=400))}, **more)
    return doubt_baseline(run, NAME, GateSettings(tolerance=tolerance))


def with_error(run: Run, what: str) -> Run:
    finding = {"check": "cut prompts", "severity": "error", "what": what, "mend": "ask for less"}
    warning = {**finding, "severity": "warning", "what": "a trifle"}
    run.summary["tasks"]["task"]["health"] = [finding, warning]
    write_json(run.path / "summary.json", run.summary)
    return Run(run.path)


def test_a_baseline_at_the_floor_passes_with_a_warning_in_every_output(tmp_path: Path) -> None:
    nothing = {"task": items_of([0.0] * 400)}
    runs = records(tmp_path, nothing, nothing)
    night, _ = night_of((runs[0], with_error(runs[1], "all 400 prompts were cut")))
    assert night.outcome is Outcome.PASS
    told = [render_markdown(night), render_night(night), json.dumps(to_plain(night))]
    for text in told:
        assert "can never be REGRESSED" in text
        assert "cut prompts: all 400 prompts were cut" in text
        assert "a trifle" not in text
    assert "can never be REGRESSED" in render_junit(night)


@pytest.mark.parametrize(
    ("wrongs", "tolerance", "says"),
    [
        (392, 0.02, "can never be REGRESSED"),  # .02 is not more than .02
        (391, 0.02, None),
        (300, 0.8, "can never be REGRESSED"),
    ],
)
def test_a_drop_beyond_the_tolerance_must_be_possible(
    tmp_path: Path, wrongs: int, tolerance: float, says: str | None
) -> None:
    found = doubts(tmp_path / "run", wrongs, tolerance)
    assert bool(found) == (says is not None) and all(says in one for one in found if says)


def test_a_baseline_at_chance_is_told(tmp_path: Path) -> None:
    (said,) = doubts(tmp_path / "guess", 295, metrics=GUESSED)  # .2625 of 400
    assert "not shown to be better than chance, 0.250" in said
    assert not doubts(tmp_path / "better", 200, metrics=GUESSED)


def test_most_items_missing_is_a_warning(tmp_path: Path) -> None:
    runs = records(tmp_path, {"task": items_of([1.0] * 320)}, {"task": items_of([1.0] * 3)})
    night, _ = night_of(runs)
    assert night.units[0].pairs.warnings == (
        "only 3 of the baseline's 320 items: the others are not asked",
    )


def test_errors_of_a_run_as_a_whole_are_told_once(tmp_path: Path) -> None:
    good = {"task": items_of([1.0] * 200), "other": items_of([1.0] * 200)}
    before, after = records(tmp_path, good, good)
    finding = {"check": "doubled beginning of text", "severity": "error", "what": "in 9 prompts"}
    write_json(after.path / "summary.json", {**after.summary, "health": [finding]})
    night, _ = night_of((before, Run(after.path)))
    said = "health of tonight's run of model: doubled beginning of text: in 9 prompts"
    assert render_markdown(night).count("doubled beginning of text") == 1
    assert said in json.dumps(to_plain(night))
