"""Which rows of a native task a baseline may learn, and what it reads of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Gold, LearnableTask, TrainingRows, UsageError
from llmeval.tasks.options import TaskOptions
from tests.tasks.native.support import load

CHOICE = """\
task: t
type: choice
data: {path: rows.jsonl%s}
prompt: "Review: {{ text }}\\nIt is"
choices: [bad, good]
answer: label
fewshot: {sampler: first}
"""
TEST = [{"text": f"test {i}", "label": i % 2} for i in range(4)]
TRAIN = [{"text": f"train {i}", "label": i % 2} for i in range(3)]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def questions(task: Any, rows: TrainingRows) -> list[str]:
    return [task.question(sample) for sample in rows.read(range(rows.size))]


@pytest.mark.parametrize(
    "data",
    [
        ", train_path: train.jsonl",
        ", fewshot_path: train.jsonl",
        ", fewshot_path: shots.jsonl, train_path: train.jsonl",
    ],
)
def test_training_rows_are_those_named_so_else_the_examples(tmp_path: Path, data: str) -> None:
    write(tmp_path / "train.jsonl", TRAIN)
    write(tmp_path / "shots.jsonl", TEST[:1])
    task = load(tmp_path, CHOICE % data, TEST)
    assert isinstance(task, LearnableTask)
    rows = task.training_rows()
    assert (rows.size, rows.data["id"], rows.data["split"]) == (3, "train.jsonl", "train")
    assert questions(task, rows) == [f"Review: train {i}\nIt is" for i in range(3)]
    golds = [sample.gold for sample in rows.read([2, 1])]
    assert golds == [Gold(("bad", "good"), (0,)), Gold(("bad", "good"), (1,))]


def test_training_rows_of_a_split(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    write(folder / "test.jsonl", TEST)
    write(folder / "train.jsonl", TRAIN)
    text = CHOICE.replace("rows.jsonl%s", "reviews, split: test, train_split: %s")
    assert load(tmp_path, text % "train").training_rows().size == 3
    with pytest.raises(UsageError, match="no split 'dev'; it has test, train"):
        load(tmp_path, text % "dev").training_rows()
    with pytest.raises(UsageError, match=r"\(reviews, test\) are those that are evaluated"):
        load(tmp_path, text % "test").training_rows()


def test_no_rows_beside_the_evaluated_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no rows to learn from beside .*train_split"):
        load(tmp_path, CHOICE % "", TEST).training_rows()
    write(tmp_path / "copy.jsonl", TEST)
    with pytest.raises(UsageError, match=r"copy.jsonl, copy\) are those that are evaluated"):
        load(tmp_path, CHOICE % ", train_path: copy.jsonl", TEST).training_rows()


def test_a_limit_bounds_what_is_evaluated_and_not_what_is_learned(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", TRAIN)
    task = load(tmp_path, CHOICE % ", train_path: train.jsonl", TEST, TaskOptions(limit=1))
    assert (len(task), task.training_rows().size) == (1, 3)


def test_the_question_has_no_examples_and_no_template(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", TRAIN)
    options = TaskOptions(num_fewshot=2, system_instruction="Be brief.")
    task = load(tmp_path, CHOICE % ", train_path: train.jsonl", TEST, options)
    sample = next(task.samples())
    assert task.question(sample) == "Review: test 0\nIt is"
    assert "train 0" not in task.question(sample) and "Be brief." in sample.payload.context


def test_a_row_that_does_not_fit_has_no_gold(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [*TRAIN, {"text": "x", "label": 7}, {"label": 0}])
    task = load(tmp_path, CHOICE % ", train_path: train.jsonl", TEST)
    rows = task.training_rows()
    golds = [sample.gold for sample in rows.read(range(rows.size))]
    assert [gold is None for gold in golds] == [False, False, False, True, False]


def test_an_answer_of_a_generation_task_is_what_examples_show(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", TRAIN)
    text = """\
        task: t
        type: generate
        data: {path: rows.jsonl, train_path: train.jsonl}
        prompt: "{{ text }}"
        answer: "{{ ['no', 'yes'][label] }}"
        scorers: [exact]
        """
    rows = load(tmp_path, text, TEST).training_rows()
    assert [sample.gold for sample in rows.read([0, 1])] == [Gold(text="no"), Gold(text="yes")]
