"""Building lm-eval's tasks: what is refused, said, replaced and left alone."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import json
import logging
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmeval.core import Generation, Metric, Request, Response, TaskGroup, Unscorable, UsageError
from llmeval.data.fingerprint import fingerprint
from llmeval.tasks.lmeval.adapter import LmEvalTask, build_index, build_tasks
from llmeval.tasks.lmeval.index import IndexEntry, tasks_root
from llmeval.tasks.lmeval.task import SUPPORTED
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.lmeval.bench import TASKS, rows, write_bench, write_yaml

Built = tuple[list[LmEvalTask], list[TaskGroup]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def index(folder: Path) -> Mapping[str, IndexEntry]:
    return {entry.name: entry for entry in build_index(folder)}


def build(name: str, index: Mapping[str, IndexEntry], folder: Path, **options: Any) -> Built:
    return build_tasks(name, index, folder, TaskOptions(**options), Workbench())


def build_one(config: Mapping[str, Any], folder: Path, **options: Any) -> LmEvalTask:
    """Build a task from a file in a folder of its own, with the data of the bench."""
    own = folder / "own"
    own.mkdir(exist_ok=True)
    (own / "utils.py").write_text((folder / "utils.py").read_text(encoding="utf-8"))
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "test", "binary")}
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    path = write_yaml(own, {"task": "own", **data, **config})
    (task,), _ = build(str(path), {}, folder, **options)
    return task


# -- the version -----------------------------------------------------------------------------------


def test_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, index: Mapping[str, IndexEntry], folder: Path
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.5.0")
    with pytest.raises(UsageError, match=r"lm-eval 0\.5\.0 is installed.*0\.4\.13"):
        build("choice", index, folder)


def test_what_is_used_of_lm_eval_is_there() -> None:
    """Private names among them: when lm-eval moves, this says what to look at."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.samplers import ContextSampler
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.filters import build_filter_ensemble
    from lm_eval.tasks._factory import TaskFactory
    from lm_eval.tasks._index import Entry, TaskIndex

    assert importlib.metadata.version("lm_eval") == SUPPORTED
    assert list(inspect.signature(TaskFactory.build).parameters) == [
        "self",
        "entry",
        "overrides",
        "registry",
    ]
    assert [f.name for f in fields(Entry)] == ["name", "kind", "yaml_path", "cfg", "tags"]
    assert {"build", "process_cfg"} <= set(dir(TaskIndex))
    wanted = {"resps", "filtered_resps", "request_type", "repeats", "metadata"}
    assert wanted <= {f.name for f in fields(Instance)}
    assert {"df", "rnd"} <= set(vars(ContextSampler([])))
    assert "download" in vars(ConfigurableTask) and "fewshot_docs" in vars(ConfigurableTask)
    parameters = set(inspect.signature(ConfigurableTask.fewshot_context).parameters)
    assert {"system_instruction", "fewshot_as_multiturn", "gen_prefix"} <= parameters
    (make,) = build_filter_ensemble("f", [("take_first_k", {"k": 3})]).filters
    assert make.keywords == {"k": 3}


# -- options that do not suit ----------------------------------------------------------------------


def test_more_examples_than_there_are(index: Mapping[str, IndexEntry], folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^choice: 13 few-shot examples cannot .* from 12 rows"):
        build("choice", index, folder, num_fewshot=13)
    build("choice", index, folder, num_fewshot=12)
    with pytest.raises(UsageError, match="from 10 rows"):  # one of them is the question
        build("own_split", index, folder, num_fewshot=10)
    build("own_split", index, folder, num_fewshot=9)


def test_fewer_draws_than_a_filter_reads(index: Mapping[str, IndexEntry], folder: Path) -> None:
    with pytest.raises(UsageError, match=r"maj@2 reads 2 draws of a question, not 1"):
        build("answers", index, folder, repeats=1)


def test_a_generation_setting_that_nothing_here_honours(folder: Path) -> None:
    config = {**TASKS["answers"], "generation_kwargs": {"until": ["."], "num_beams": 4}}
    with pytest.raises(UsageError, match=r"^own: generation_kwargs num_beams: 4 is not supported"):
        build_one(config, folder)


def test_a_task_that_fixes_zero_shots_keeps_them(folder: Path) -> None:
    task = build_one({**TASKS["own_split"], "num_fewshot": 0}, folder, num_fewshot=3)
    assert task.num_fewshot == 0


# -- data ------------------------------------------------------------------------------------------


def test_an_absent_train_split_is_told_where_it_matters(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {**TASKS["own_split"], "training_split": "training", "fewshot_split": None}
    with caplog.at_level(logging.WARNING, logger="llmeval"):
        task = build_one(config, folder)
        assert caplog.messages == []
        assert "note" not in task.describe()
        task = build_one(config, folder, num_fewshot=2)
    (line,) = caplog.messages
    assert line.startswith("own: the data have no split 'training', so few-shot examples come")
    assert "from 'test', which is also evaluated" in line
    assert task.describe()["note"] in line


def test_an_absent_split_that_shows_no_examples_is_not_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {**TASKS["own_split"], "fewshot_split": "train"}
    config |= {"training_split": "training", "validation_split": "validation"}
    listed = {
        **config,
        "fewshot_split": None,
        "fewshot_config": {"samples": list(rows(4, 3, "listed"))},
    }
    ordered = {**config, "fewshot_split": None, "training_split": "train"}
    with caplog.at_level(logging.WARNING, logger="llmeval"):
        tasks = [build_one(c, folder, num_fewshot=2) for c in (config, listed, ordered)]
    assert caplog.messages == []
    assert ["note" in task.describe() for task in tasks] == [False] * 3
    assert [[d["split"] for d in task.data()] for task in tasks] == [
        ["test", "train"],
        ["test"],
        ["test", "train"],
    ]


def test_an_absent_evaluated_split_ends_it(folder: Path) -> None:
    config = {**TASKS["own_split"], "test_split": "testing", "fewshot_split": None}
    with pytest.raises(UsageError, match=r"has no split 'testing', it has binary, test, train"):
        build_one(config, folder)


def test_no_row_is_left(folder: Path) -> None:
    utils = "def process_docs(dataset):\n    return dataset.filter(lambda doc: False)\n"
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "empty.py").write_text(utils)
    config = {**TASKS["own_split"], "process_docs": "!function empty.process_docs"}
    with pytest.raises(UsageError, match=r"own\.yaml: no row of its data suits the task"):
        build_one(config, folder)


def test_a_broken_template_is_one_line(folder: Path) -> None:
    config = {**TASKS["own_split"], "doc_to_text": "{{question | nosuch}}"}
    with pytest.raises(UsageError, match=r"lm-eval cannot build the task: TemplateAssertionError"):
        build_one(config, folder)


BREAKING = "{% if 'number 3?' in question %}{{ 1 // 0 }}{% endif %}"
"""Fails for the row 3, before examples are drawn or after, by the field it stands in."""


@pytest.mark.parametrize("field", ["gen_prefix", "description", "doc_to_text"])
@pytest.mark.parametrize("split", ["test", "train"])
def test_a_row_that_cannot_be_rendered_is_one_unscored_sample(
    folder: Path, field: str, split: str
) -> None:
    config = {**TASKS["own_split"], "fewshot_split": split}
    # What examples are made of stays whole.
    config["fewshot_config"] = {"doc_to_text": config["doc_to_text"], "gen_prefix": ""}
    whole = list(build_one(config, folder, num_fewshot=2).samples())
    task = build_one(config | {field: BREAKING + config.get(field, "")}, folder, num_fewshot=2)
    samples = list(task.samples())
    assert [sample.id for sample in samples] == [sample.id for sample in whole]
    for i, (sample, other) in enumerate(zip(samples, whole, strict=True)):
        if i != 3:
            assert [x.args for x in sample.payload] == [x.args for x in other.payload]
    with pytest.raises(Unscorable, match=r"^the row cannot be rendered: ZeroDivisionError: "):
        asyncio.run(task.evaluate(samples[3], never_asked))


async def never_asked(requests: Sequence[Request]) -> list[Response]:
    raise AssertionError(f"{len(requests)} questions about a row that could not be rendered")


def test_where_the_first_row_cannot_be_rendered_the_task_is_wrong(folder: Path) -> None:
    task = build_one({**TASKS["own_split"], "description": "{{ 1 // 0 }}"}, folder)
    with pytest.raises(UsageError, match=r"^own: .*render the first row of .*ZeroDivisionError"):
        next(task.samples())


def test_a_file_that_defines_nothing(folder: Path) -> None:
    path = folder / "own" / "nothing.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("dataset_path: json\n")
    with pytest.raises(UsageError, match=r"nothing\.yaml: lm-eval cannot build the task: .*shape"):
        build(str(path), {}, folder)


def test_a_missing_package_is_named(folder: Path) -> None:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "imports.py").write_text("import no_such_package\n")
    config = {**TASKS["own_split"], "process_results": "!function imports.process_results"}
    with pytest.raises(UsageError, match=r"needs a package .* 'no_such_package' \(install it"):
        build_one(config, folder)


def test_metrics_are_declared_on_the_thread_that_reads_them(folder: Path) -> None:
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "late.py").write_text(
        "import threading\n\n"
        "def process_results(doc, results):\n"
        "    return {'acc': 1.0, 'apart': threading.current_thread() != threading.main_thread()}\n"
    )
    config = {**TASKS["answers"], "unsafe_code": True, "repeats": 1, "filter_list": None}
    config["process_results"] = "!function late.process_results"
    config["metric_list"] = TASKS["truth"]["metric_list"]
    task = build_one(config, folder)
    declared_in: list[threading.Thread] = []

    class Noted(dict[str, Metric]):
        def __setitem__(self, key: str, metric: Metric) -> None:
            declared_in.append(threading.current_thread())
            super().__setitem__(key, metric)

    task.metrics = Noted(task.metrics)

    async def ask(requests: Sequence[Request]) -> list[Response]:
        return [Generation("an answer") for _ in requests]

    scores = asyncio.run(task.evaluate(next(task.samples()), ask))
    assert {score.metric: score.value for score in scores} == {"acc": 1.0, "apart": 1.0}
    assert declared_in == [threading.main_thread()]


# -- groups ----------------------------------------------------------------------------------------


def test_groups_carry_their_metrics(index: Mapping[str, IndexEntry], folder: Path) -> None:
    tasks, groups = build("nested", index, folder)
    assert [task.name for task in tasks] == ["own_split", "first", "truth", "answers", "blanks"]
    nested, unweighted = groups
    assert [(m.name, m.weight_by_size) for m in nested.metrics] == [
        ("acc,flexible", True),
        ("acc,maj@2", True),
        ("acc", True),
        ("acc,strict", True),
        ("exact_match,strict", False),
        ("exact_match,maj@2", False),
    ]
    assert [(m.name, m.weight_by_size) for m in unweighted.metrics] == [("acc", False)]
    assert nested.leaves == tuple(task.name for task in tasks)
    assert unweighted.leaves == ("own_split", "first", "truth")


def test_a_tag_is_its_tasks(index: Mapping[str, IndexEntry], folder: Path) -> None:
    tasks, groups = build("bench_tag", index, folder)
    assert [task.name for task in tasks] == ["choice", "first"]
    assert groups == []


# -- what is left alone ----------------------------------------------------------------------------


def test_building_leaves_the_global_generators_and_modules_alone(
    index: Mapping[str, IndexEntry], folder: Path
) -> None:
    had_evaluate = sys.modules.get("evaluate")
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).random_sample()
    build("weighted", index, folder)
    assert (random.random(), np.random.random_sample()) == expected
    assert sys.modules.get("evaluate") is had_evaluate


def test_shuffled_rows_are_the_same_every_time(folder: Path) -> None:
    utils = """
import random

def process_docs(dataset):
    def _shuffle(doc):
        random.shuffle(doc["choices"])
        return doc

    return dataset.map(_shuffle)
"""
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "shuffled.py").write_text(utils)
    config = {**TASKS["own_split"], "process_docs": "!function shuffled.process_docs"}
    first = [dict(s.fields) for s in build_one(config, folder).samples()]
    random.random()
    assert [dict(s.fields) for s in build_one(config, folder).samples()] == first
    limited = build_one(config, folder, limit=4)
    assert [dict(s.fields) for s in limited.samples()] == first[:4]


def test_data_of_examples_are_fingerprinted_where_they_are_shown(
    index: Mapping[str, IndexEntry], folder: Path
) -> None:
    (without,), _ = build("choice", index, folder)
    (shown,), _ = build("choice", index, folder, num_fewshot=1)
    assert [d["split"] for d in without.data()] == ["test"]
    assert [d["split"] for d in shown.data()] == ["test", "train"]


def test_tasks_of_one_group_with_different_files_have_their_own_fingerprints(
    tmp_path: Path, folder: Path
) -> None:
    for name in ("test", "binary"):
        files = {"test": str(folder / f"{name}.jsonl")}
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
        config = {**TASKS["own_split"], **data, "task": f"own_{name}"}
        write_yaml(tmp_path, config)
    write_yaml(tmp_path, {"group": "both", "task": ["own_test", "own_binary"]})
    index = {entry.name: entry for entry in build_index(tmp_path)}
    tasks, _ = build_tasks("both", index, tmp_path, TaskOptions(), Workbench())
    for task, name in zip(tasks, ("test", "binary"), strict=True):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        (found,) = task.data()
        expected = fingerprint([json.loads(line) for line in lines])
        assert (found["rows"], found["digest"]) == (expected.rows, expected.digest)


def test_every_task_file_of_lm_eval_lies_below_its_root() -> None:
    assert (tasks_root() / "hellaswag" / "hellaswag.yaml").is_file()
