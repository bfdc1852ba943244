"""A mirror's layout: which files are which split, and what is said where one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core.errors import UsageError
from llmeval.data.mirror import list_ids, mirror_dir, open_folder, resolve, split_of
from tests.data.conftest import Write

ROW = [{"q": "?"}]


def test_one_folder_a_config_one_file_a_split(mirror: Path, write: Write) -> None:
    test = write("mirror/org/set/main/test.parquet", ROW)
    train = write("mirror/org/set/main/train.jsonl", ROW)
    assert resolve("org/set", mirror=mirror) == ("main", {"test": (test,), "train": (train,)})
    assert resolve("org/set", "main", mirror=mirror)[0] == "main"


def test_shards_are_one_split_in_order(mirror: Path, write: Write) -> None:
    shards = [write(f"mirror/org/set/main/test-0000{i}-of-00002.parquet", ROW) for i in (1, 0)]
    assert resolve("org/set", mirror=mirror)[1] == {"test": tuple(reversed(shards))}


def test_a_missing_shard_is_noticed(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test-00000-of-00002.parquet", ROW)
    with pytest.raises(UsageError, match="1 of its 2 shards"):
        resolve("org/set", mirror=mirror)


def test_two_files_for_a_split_are_ambiguous(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROW)
    write("mirror/org/set/main/test.jsonl", ROW)
    with pytest.raises(UsageError, match="several files hold the split 'test'"):
        resolve("org/set", mirror=mirror)


def test_the_hubs_parquet_export_is_read(mirror: Path, write: Write) -> None:
    path = write("mirror/org/set/main/test/0000.parquet", ROW)
    assert resolve("org/set", mirror=mirror) == ("main", {"test": (path,)})


def test_files_without_a_config_folder_are_the_default(mirror: Path, write: Write) -> None:
    path = write("mirror/org/set/test.jsonl", ROW)
    assert resolve("org/set", mirror=mirror) == ("default", {"test": (path,)})
    assert resolve("org/set", "default", mirror=mirror)[1] == {"test": (path,)}


def test_a_plain_copy_of_a_hub_repository_is_the_default(mirror: Path, write: Write) -> None:
    path = write("mirror/org/set/data/test-00000-of-00001.parquet", ROW)
    (mirror / "org/set/README.md").write_text("---\nlicense: mit\n---\n")
    assert resolve("org/set", mirror=mirror) == ("default", {"test": (path,)})


README = """---
license: mit
configs:
- config_name: main
  data_files:
  - split: test
    path: data/test-*.parquet
  - split: train
    path: [data/one.jsonl, data/two.jsonl]
- config_name: plain
  default: true
  data_files: other/my_dev_set.jsonl
- config_name: mapped
  data_dir: other
  data_files: {test: my_dev_set.jsonl}
---
# A card
"""


def test_a_readme_says_where_the_files_are(mirror: Path, write: Write) -> None:
    test = write("mirror/org/set/data/test-00000-of-00001.parquet", ROW)
    one, two = (write(f"mirror/org/set/data/{n}.jsonl", ROW) for n in ("one", "two"))
    dev = write("mirror/org/set/other/my_dev_set.jsonl", ROW)
    extra = write("mirror/org/set/extra/test.parquet", ROW)
    (mirror / "org/set/README.md").write_text(README)
    assert resolve("org/set", "main", mirror=mirror)[1] == {"test": (test,), "train": (one, two)}
    assert resolve("org/set", mirror=mirror) == ("plain", {"validation": (dev,)})
    assert resolve("org/set", "mapped", mirror=mirror)[1] == {"test": (dev,)}
    assert resolve("org/set", "extra", mirror=mirror)[1] == {"test": (extra,)}


def test_a_changed_readme_is_read_again(mirror: Path, write: Write) -> None:
    write("mirror/org/set/d/test.jsonl", ROW)
    readme = mirror / "org/set/README.md"
    for name in ("first", "second_"):
        entry = f"{{config_name: {name}, data_files: d/test.jsonl}}"
        readme.write_text(f"---\nconfigs:\n- {entry}\n---\n")
        assert resolve("org/set", name, mirror=mirror)[0] == name


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("configs: [a: b: c]", r"README\.md:2: the YAML head is malformed"),
        ("configs:\n- {config_name: x, data_files: no.parquet}", "not there: no.parquet"),
        ("configs:\n- {config_name: x, data_files: ../up.parquet}", "must lie in this folder"),
        ("configs:\n- {config_name: x, data_files: 'https://h/x.csv'}", "must lie in this folder"),
    ],
)
def test_a_readme_that_misleads_is_named(mirror: Path, head: str, message: str) -> None:
    (mirror / "org/set").mkdir(parents=True)
    (mirror / "org/set/README.md").write_text(f"---\n{head}\n---\n")
    with pytest.raises(UsageError, match=message):
        resolve("org/set", "x", mirror=mirror)


def test_an_unknown_id_brings_the_nearest_names(mirror: Path, write: Write) -> None:
    write("mirror/Rowan/hellaswag/default/test.parquet", ROW)
    write("mirror/cais/mmlu/all/test.parquet", ROW)
    for wrong in ("Rowan/helaswag", "hellaswag", "rowan/HellaSwag"):
        with pytest.raises(UsageError, match="nearest: Rowan/hellaswag"):
            resolve(wrong, mirror=mirror)
    with pytest.raises(UsageError) as caught:
        resolve("something/else", mirror=mirror)
    assert "nearest" not in str(caught.value)


def test_a_missing_config_says_which_exist(mirror: Path, write: Write) -> None:
    write("mirror/cais/mmlu/anatomy/test.parquet", ROW)
    write("mirror/cais/mmlu/astronomy/test.parquet", ROW)
    with pytest.raises(UsageError, match="nearest: anatomy; it has anatomy, astronomy"):
        resolve("cais/mmlu", "anatomi", mirror=mirror)
    with pytest.raises(UsageError, match="several configs: anatomy, astronomy"):
        resolve("cais/mmlu", mirror=mirror)


def test_an_empty_folder_says_what_was_expected(mirror: Path) -> None:
    (mirror / "org/set").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no data files"):
        resolve("org/set", mirror=mirror)


@pytest.mark.parametrize("bad", ["../etc", "a/b/c", "/abs", "", "org/..", "a b/c"])
def test_an_id_cannot_leave_the_mirror(mirror: Path, bad: str) -> None:
    with pytest.raises(UsageError, match="not a data set id"):
        resolve(bad, mirror=mirror)


def test_ids_are_listed_with_and_without_an_organisation(mirror: Path, write: Write) -> None:
    write("mirror/org/a/main/test.parquet", ROW)
    write("mirror/org/b/test.parquet", ROW)
    write("mirror/old/test.parquet", ROW)
    assert list_ids(mirror) == ["old", "org/a", "org/b"]


def test_the_mirror_is_the_one_given_or_the_environments(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mirror_dir() is None
    monkeypatch.setenv("LLMEVAL_DATA", str(mirror))
    assert mirror_dir() == mirror
    assert mirror_dir(tmp_path) == tmp_path
    with pytest.raises(UsageError, match=r"--data: the data folder .* does not exist"):
        mirror_dir(tmp_path / "absent")
    monkeypatch.setenv("LLMEVAL_DATA", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="LLMEVAL_DATA: "):
        mirror_dir()


@pytest.mark.parametrize(
    ("stem", "split"),
    [("gsm8k_test", "test"), ("dev-00000-of-00001", "validation"), ("rows", "train")],
)
def test_a_file_name_tells_its_split(stem: str, split: str) -> None:
    assert split_of(stem) == split


def test_unfinished_files_are_not_data(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROW)
    write("mirror/org/set/main/.test.parquet.tmp.parquet", ROW)
    folder = open_folder(mirror / "org/set")
    assert list(folder.splits("main")) == ["test"]
