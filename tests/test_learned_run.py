"""Whole runs of baselines that learn: record, table, and what is said where they cannot."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import llmeval
from llmeval.core import UsageError

TASK = """\
task: {name}
type: choice
data: {{path: test.jsonl, {data}}}
prompt: "Review: {{{{ text }}}}\\nVerdict:"
choices: [bad, good]
answer: label
metrics: [acc, acc_norm, brier_score]
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("LLMEVAL_HOME", "LLMEVAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "tasks"
    folder.mkdir()
    rnd = random.Random(0)
    for split, count in (("train", 120), ("test", 40)):
        rows = [{"text": "known before", "label": 1}]
        for i in range(1, count):
            words = 3 * [("awful", "lovely")[i % 2]]
            text = " ".join([rnd.choice("abcdefgh"), *words, f"{split}{i}"])
            rows.append({"text": text, "label": i % 2})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for name, data in (("reviews", "train_path: train.jsonl"), ("bare", "")):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=data))
    return tmp_path


@pytest.mark.parametrize("name", ["tfidf-logreg", "knn", "gbdt"])
@pytest.mark.usefixtures("workspace")
def test_a_run_learns_first_and_its_record_says_from_what(name: str) -> None:
    run = llmeval.run(f"baseline:{name}", "reviews")
    metrics = run.summary["tasks"]["reviews"]["metrics"]
    assert metrics["acc"]["value"] == metrics["acc_norm"]["value"] == 1.0
    assert 0 < metrics["brier_score"]["value"] < 0.5
    figures = run.manifest["performance"]["training"]["reviews"]
    assert (figures["rows"], figures["of"], figures["form"]) == (120, 120, "labels")
    assert (figures["evaluated"], figures["evaluated_in_training"]) == (40, 1)
    trained_on = run.manifest["model"]["training"]["reviews"]
    assert (trained_on["id"], trained_on["rows"]) == ("train.jsonl", 120)


@pytest.mark.usefixtures("workspace")
def test_examples_in_the_prompt_change_no_answer() -> None:
    plain, shown = (llmeval.run("baseline:tfidf-logreg", "reviews", num_fewshot=n) for n in (0, 3))
    values = [
        [row["value"] for row in run.scores.to_pylist() if row["metric"] == "brier_score"]
        for run in (plain, shown)
    ]
    assert values[0] == values[1]
    assert plain.manifest["model"]["fingerprint"] == shown.manifest["model"]["fingerprint"]


def test_other_training_rows_are_another_model(workspace: Path) -> None:
    before = llmeval.run("baseline:knn", "reviews").manifest["model"]["fingerprint"]
    path = workspace / "tasks" / "train.jsonl"
    path.write_text(path.read_text() + json.dumps({"text": "more", "label": 0}) + "\n")
    assert llmeval.run("baseline:knn", "reviews").manifest["model"]["fingerprint"] != before


@pytest.mark.usefixtures("workspace")
def test_a_task_without_training_rows_is_unscored_and_the_run_complete() -> None:
    run = llmeval.run("baseline:knn", ["reviews", "bare"])
    assert run.status == "complete"
    acc = run.summary["tasks"]["bare"]["metrics"]["acc"]
    assert (acc["value"], acc["n"], acc["coverage"]) == (None, 0, 0.0)
    [(reason, count)] = acc["not_scored"].items()
    assert count == 40
    assert reason.startswith("unscored: not learned: the data name no rows to learn from")
    assert "not_learned" in run.manifest["performance"]["training"]["bare"]


def test_a_run_with_nothing_to_learn_is_refused_before_it_begins(workspace: Path) -> None:
    with pytest.raises(UsageError, match="bare: baseline:knn cannot learn it: the data name no"):
        llmeval.run("baseline:knn", "bare")
    assert not (workspace / "results").exists()


@pytest.mark.usefixtures("workspace")
def test_how_many_rows_are_learned_is_a_setting() -> None:
    run = llmeval.run("baseline:knn", "reviews", model_settings={"max_training_rows": "30"})
    assert run.manifest["performance"]["training"]["reviews"]["rows"] == 30
    with pytest.raises(UsageError, match="max_training_rows: 0 is not a positive number"):
        llmeval.run("baseline:knn", "reviews", model_settings={"max_training_rows": 0})


@pytest.mark.usefixtures("workspace")
def test_a_baseline_that_learns_nothing_reports_nothing() -> None:
    assert llmeval.run("baseline:majority", "reviews").manifest["performance"] is None
