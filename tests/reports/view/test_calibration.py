"""Confidence is what the record says that the model gave to the choice that it picked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from llmeval.core import GenerateRequest, Generation, Score
from llmeval.reports.view import calibration
from llmeval.reports.view.calibration import Calibration, calibrate
from llmeval.runs import Run
from tests.reports.view.samples import choice, completion
from tests.support.records import Item, write_record


def draw(count: int, seed: int = 0) -> list[tuple[list[float], int]]:
    rng = random.Random(seed)
    return [([rng.uniform(-4, 0) for _ in range(4)], rng.randrange(4)) for _ in range(count)]


def calibrate_items(tmp_path: Path, items: list[Item], **about: Any) -> list[Calibration]:
    run = write_record(tmp_path / "run", {"t": items})
    if about:
        manifest = run.manifest | {"tasks": {"t": about}}
        (run.path / "manifest.json").write_text(json.dumps(manifest))
    return calibrate(Run(run.path))


def test_bins_are_those_of_scikit_learn(tmp_path: Path) -> None:
    drawn = draw(400)
    items = [choice(str(i), lps, right) for i, (lps, right) in enumerate(drawn)]
    (found,) = calibrate_items(tmp_path, items)
    shares = [softmax(lps) for lps, _ in drawn]
    right = [int(s.argmax() == r) for s, (_, r) in zip(shares, drawn, strict=True)]
    accuracy, sure = calibration_curve(right, [s.max() for s in shares], n_bins=10)
    filled = [b for b in found.bins if b.n]
    assert [b.accuracy.value for b in filled] == pytest.approx(list(accuracy))
    assert [b.confidence for b in filled] == pytest.approx(list(sure))
    gaps = [b.n * abs((b.accuracy.value or 0) - (b.confidence or 0)) for b in filled]
    assert found.error.value == pytest.approx(sum(gaps) / 400)
    assert (found.n, found.samples) == (400, 400)


def test_what_has_no_confidence_is_counted_and_left_out(tmp_path: Path) -> None:
    items = [choice(str(i), lps, right) for i, (lps, right) in enumerate(draw(60))]
    unscored = {"acc": Score("acc", status="unscored", reason="a tie")}
    items += [Item(f"u{i}", unscored, exchanges=items[0].exchanges) for i in range(5)]
    (found,) = calibrate_items(tmp_path, items)
    assert (found.n, found.samples) == (60, 65)


def test_of_a_large_run_some_samples_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {
        f"t{t}": [choice(f"{t}-{i}", lps, right) for i, (lps, right) in enumerate(draw(150, t))]
        for t in range(2)
    }
    run = write_record(tmp_path / "run", tasks)
    whole = calibrate(run)
    monkeypatch.setattr(calibration, "_BATCH", 7)
    assert calibrate(run) == whole
    monkeypatch.setattr(calibration, "_MOST", 200)
    part = calibrate(run)
    assert part == calibrate(run)  # the same every time
    assert sum(one.n for one in part) == 200
    assert [one.samples for one in part] == [150, 150]
    for some, every in zip(part, whole, strict=True):
        counts = [(a.n, b.n) for a, b in zip(some.bins, every.bins, strict=True)]
        assert all(few <= many for few, many in counts)


def test_few_answers_and_free_answers_have_no_diagram(tmp_path: Path) -> None:
    few = [choice(str(i), lps, right) for i, (lps, right) in enumerate(draw(49))]
    assert calibrate_items(tmp_path, few) == []
    free = [completion(str(i), "text", 1.0) for i in range(80)]
    assert calibrate_items(tmp_path / "free", free) == []


def test_many_tasks_are_told_together_first(tmp_path: Path) -> None:
    tasks = {
        f"t{t}": [choice(f"{t}-{i}", lps, right) for i, (lps, right) in enumerate(draw(60, t))]
        for t in range(4)
    }
    together, *each = calibrate(write_record(tmp_path / "run", tasks))
    assert [one.task for one in each] == list(tasks)
    assert (together.task, together.n) == ("all 4 tasks", 240)
    assert [b.n for b in together.bins] == [
        sum(bins) for bins in zip(*([b.n for b in one.bins] for one in each), strict=True)
    ]


def test_letters_have_the_confidence_that_their_score_holds(tmp_path: Path) -> None:
    shares = {"A": 0.7, "B": 0.3}
    items = [
        Item(
            str(i),
            {"acc": Score("acc", float(i % 2), extracted="A", item=shares)},
            exchanges=[(GenerateRequest(f"q{i}"), Generation("A"))],
        )
        for i in range(60)
    ]
    (found,) = calibrate_items(tmp_path, items)
    assert "first token" in found.confidence
    (filled,) = [b for b in found.bins if b.n]
    assert (filled.confidence, filled.accuracy.value) == (pytest.approx(0.7), 0.5)
    assert found.error.value == pytest.approx(0.2)


def test_recorded_probabilities_come_before_everything_else(tmp_path: Path) -> None:
    item = {"probabilities": [0.1, 0.9], "right": [1]}
    items = [
        Item(str(i), {"brier_score": Score("brier_score", 0.02, item=item)}) for i in range(60)
    ]
    (found,) = calibrate_items(tmp_path, items)
    (filled,) = [b for b in found.bins if b.n]
    assert (filled.confidence, filled.accuracy.value) == (pytest.approx(0.9), 1.0)


def mixed_config(choices: str) -> dict[str, Any]:
    metrics = [{"type": "acc", "name": "acc"}, {"type": "mc2", "choices": "more"}]
    return {"source": "native", "config": {"choices": choices, "metrics": metrics}}


def test_choices_of_another_metric_do_not_compete(tmp_path: Path) -> None:
    """The record asks for four texts, of which the data row's first two are the main choices."""
    items = [choice(str(i), lps, right) for i, (lps, right) in enumerate(draw(60))]
    assert calibrate_items(tmp_path, items, **mixed_config("nowhere.to.find")) == []
    (found,) = calibrate_items(tmp_path / "own", items, **mixed_config("choices") | {"source": "x"})
    assert found.n == 60
