"""Rows from a hub id in a mirror, a folder or a file; named in the record without a local path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmeval.core import UsageError
from llmeval.tasks.options import TaskOptions, Workbench
from tests.tasks.native.support import load

TASK = """\
task: t
type: generate
data: {id: org/sums, fewshot_split: train}
prompt: "{{ q }}"
answer: a
scorers: [exact]
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror" / "org" / "sums"
    folder.mkdir(parents=True)
    for split, count in (("test", 3), ("train", 2)):
        rows = [{"q": f"{split} {i}", "a": str(i)} for i in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path / "mirror"


def test_a_hub_id_is_read_from_the_mirror(tmp_path: Path, mirror: Path) -> None:
    task = load(tmp_path, TASK, None, TaskOptions(num_fewshot=1), Workbench(mirror=mirror))
    assert [sample.fields["q"] for sample in task.samples()] == ["test 0", "test 1", "test 2"]
    assert next(task.samples()).payload.request.prompt.startswith("train ")
    data = [(d["id"], d["split"], d["rows"]) for d in task.data()]
    assert data == [("org/sums", "test", 3), ("org/sums", "train", 2)]


def test_a_folder_is_read_like_a_mirrored_data_set(tmp_path: Path, mirror: Path) -> None:
    text = TASK.replace("id: org/sums", "path: mirror/org/sums, split: train")
    task = load(tmp_path, text)
    assert len(task) == 2
    assert str(tmp_path) not in json.dumps([*task.data(), task.describe()])


def test_a_split_that_is_missing_is_named(tmp_path: Path, mirror: Path) -> None:
    text = TASK.replace("org/sums,", "org/sums, split: validation,")
    with pytest.raises(UsageError, match="validation"):
        load(tmp_path, text, workbench=Workbench(mirror=mirror))


def test_no_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    text = TASK.replace("id: org/sums, fewshot_split: train", "path: rows.jsonl")
    with pytest.raises(UsageError, match="no rows"):
        load(tmp_path, text)


def test_the_limit_cuts_samples_but_not_the_fingerprint(tmp_path: Path, mirror: Path) -> None:
    whole = load(tmp_path, TASK, workbench=Workbench(mirror=mirror))
    part = load(tmp_path, TASK, None, TaskOptions(limit=2), Workbench(mirror=mirror))
    assert (len(whole), len(part), len(list(part.samples()))) == (3, 2, 2)
    assert part.data() == whole.data()
