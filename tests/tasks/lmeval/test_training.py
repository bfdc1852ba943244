"""Which rows of lm-eval's tasks a baseline may learn, and what it reads of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import Gold, LearnableTask, UsageError
from llmeval.tasks.lmeval.adapter import LmEvalTask, build_index, build_tasks
from llmeval.tasks.options import TaskOptions, Workbench
from llmeval.tasks.registry import load_tasks
from tests.support.shared import shared_dir
from tests.tasks.lmeval.bench import rows, write_bench


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench(tmp_path_factory.mktemp("bench"))


def build(name: str, folder: Path, **options: Any) -> LmEvalTask:
    index = {entry.name: entry for entry in build_index(folder)}
    (task,), _ = build_tasks(name, index, folder, TaskOptions(**options), Workbench())
    return task


def read(task: LmEvalTask) -> list[tuple[str, Gold | None]]:
    found = task.training_rows()
    return [(task.question(sample), sample.gold) for sample in found.read(range(found.size))]


def test_choices_of_the_training_split(folder: Path) -> None:
    task = build("prefixed", folder)
    assert isinstance(task, LearnableTask)
    expected = [
        (f"Q: {row['question']}\nA:", Gold(tuple(row["choices"]), (row["label"],)))
        for row in rows(12, 3, "train")
    ]
    assert read(task) == expected
    assert task.training_rows().data["split"] == "train"


def test_rows_as_the_task_processes_them(folder: Path) -> None:
    even = [row for row in rows(12, 3, "train") if row["label"] % 2 == 0]
    assert len(read(build("first", folder))) == len(even) < 12
    question, _ = read(build("choice", folder, limit=1))[11]
    last = list(rows(12, 3, "train"))[11]
    assert question == f"Q: {last['question'].strip().capitalize()}\nA:"


def test_where_choices_stand_before_what_they_share_that_is_the_question(folder: Path) -> None:
    row = next(rows(12, 3, "train"))
    before, after = row["question"].split("_")
    question, gold = read(build("blanks", folder))[0]
    assert question == after
    assert gold == Gold(tuple(before + choice for choice in row["choices"]), (row["label"],))


def test_answers_of_a_generation_task(folder: Path) -> None:
    row = next(rows(12, 3, "train"))
    assert read(build("answers", folder))[0][1] == Gold(text=row["choices"][row["label"]])


@pytest.mark.parametrize("name", ["own_split", "cloze", "texts"])
def test_a_task_that_has_only_its_evaluated_rows_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: .* only 'test', which is evaluated"):
        build(name, folder).training_rows()


def test_a_split_that_the_data_lack_is_named(tmp_path: Path) -> None:
    write_bench(tmp_path)
    text = (tmp_path / "prefixed.yaml").read_text(encoding="utf-8")
    (tmp_path / "prefixed.yaml").write_text(text.replace("split: train", "split: gone"))
    with pytest.raises(UsageError, match="no split 'gone' to learn from, only 'test'"):
        build("prefixed", tmp_path).training_rows()


def test_the_split_of_examples_where_there_is_none_for_training(tmp_path: Path) -> None:
    write_bench(tmp_path)
    path = tmp_path / "own_split.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("fewshot_split: test", "fewshot_split: binary")
    )
    found = build("own_split", tmp_path).training_rows()
    assert (found.data["split"], found.size) == ("binary", 16)


def test_the_question_has_no_description_and_no_examples(folder: Path) -> None:
    task = build("choice", folder, num_fewshot=2, apply_chat_template=True)
    sample = next(task.samples())
    asked = task.question(sample)
    assert asked.startswith("Q: ") and asked.endswith("\nA:") and asked.count("Q:") == 1
    assert sample.payload[0].args[0].count("Q: ") == 3


def test_a_row_that_does_not_fit_has_no_gold(tmp_path: Path) -> None:
    write_bench(tmp_path)
    with (tmp_path / "train.jsonl").open("a", encoding="utf-8") as file:
        row = next(rows(1, 3, "more"))
        file.write(json.dumps({**row, "label": 9}) + "\n")
    golds = [gold for _, gold in read(build("prefixed", tmp_path))]
    assert len(golds) == 13
    assert golds[12] is not None and golds[12].right == ()


def test_reading_leaves_the_global_generators_alone(folder: Path) -> None:
    task = build("first", folder)
    before = random.getstate()
    task.training_rows()
    assert random.getstate() == before


def test_real_tasks_of_the_mirror() -> None:
    mirror = shared_dir("data", "hub")
    selection = load_tasks(
        ["sst2", "openbookqa", "mmlu_anatomy"], TaskOptions(), Workbench(mirror=mirror), mirror
    )
    sst2, openbook, anatomy = selection.tasks
    with pytest.raises(UsageError, match="no split 'train' to learn from, only 'validation'"):
        sst2.training_rows()
    found = openbook.training_rows()
    assert (found.data["split"], found.size) == ("validation", 500)  # the mirror has no train
    assert all(len(sample.gold.right) == 1 for sample in found.read(range(500)))
    found = anatomy.training_rows()
    assert (found.data["split"], found.size) == ("dev", 5)
    assert {sample.gold.choices for sample in found.read(range(5))} == {("A", "B", "C", "D")}
