"""Loading: from a mirror, files and the hub's cache, and one line at once where there is none."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llmeval.core.errors import UsageError
from llmeval.data import MissingSplit, hub, load_dataset, load_split
from tests.data.conftest import Write
from tests.support.shared import shared_dir

ROWS = [{"q": "one", "answer": 0}, {"q": "two", "answer": 1}]


def test_a_mirror_gives_real_data_sets(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    splits = load_dataset("org/set", "main", mirror=mirror)
    assert isinstance(splits["test"], datasets.Dataset)
    assert list(splits["test"]) == ROWS
    assert (list(splits.keys()), splits.config, splits.source) == (["test"], "main", "mirror")
    assert splits["test"].map(lambda row: {"n": len(row["q"])})[0]["n"] == 3
    assert list(load_split("org/set", "test", mirror=mirror)) == ROWS


def test_features_recorded_in_a_file_are_honoured(mirror: Path) -> None:
    features = datasets.Features(
        {"q": datasets.Value("string"), "answer": datasets.ClassLabel(names=["A", "B"])}
    )
    path = mirror / "org/set/main/test.parquet"
    path.parent.mkdir(parents=True)
    datasets.Dataset.from_list(ROWS, features=features).to_parquet(path)
    loaded = load_split("org/set", "test", mirror=mirror)
    assert loaded.features == features
    assert loaded.features["answer"].int2str(1) == "B"


def test_features_that_do_not_fit_are_one_line(mirror: Path) -> None:
    path = mirror / "org/set/main/test.parquet"
    path.parent.mkdir(parents=True)
    recorded = {"info": {"features": {"q": {"_type": "FromTheFuture"}}}}
    table = pa.table({"q": ["a"]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(recorded)}), path)
    with pytest.raises(UsageError, match="features do not fit") as caught:
        load_split("org/set", "test", mirror=mirror)
    assert "\n" not in str(caught.value)


def test_splits_are_opened_when_asked_for(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    (mirror / "org/set/main/train.parquet").write_bytes(b"not parquet")
    splits = load_dataset("org/set", mirror=mirror)
    assert "train" in splits and len(splits) == 2
    assert len(splits["test"]) == 2
    assert splits["test"] is splits["test"]
    with pytest.raises(UsageError, match=r"train\.parquet: the parquet file is corrupt"):
        splits["train"]


def test_a_missing_split_is_a_key_error_in_words(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    splits = load_dataset("org/set", mirror=mirror)
    with pytest.raises(MissingSplit) as caught:
        splits["train"]
    assert str(caught.value) == "org/set (main) has no split 'train'; it has test"
    assert isinstance(caught.value, KeyError) and isinstance(caught.value, UsageError)
    assert splits.get("train") is None


def test_a_changed_file_is_a_changed_data_set(mirror: Path, write: Write) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    before = load_dataset("org/set", mirror=mirror).fingerprint("test")
    write("mirror/org/set/main/test.parquet", [*ROWS, {"q": "three", "answer": 1}])
    after = load_dataset("org/set", mirror=mirror).fingerprint("test")
    assert (before.rows, after.rows) == (2, 3)
    assert before.digest != after.digest
    assert (after.id, after.config, after.split) == ("org/set", "main", "test")


def test_paths_are_read_as_they_are(write: Write, tmp_path: Path) -> None:
    file = write("my_test.jsonl", ROWS)
    assert list(load_dataset(str(file))["test"]) == ROWS
    write("folder/main/dev.jsonl", ROWS)
    assert list(load_dataset(str(tmp_path / "folder"))["dev"]) == ROWS
    with pytest.raises(UsageError, match="no such file or folder"):
        load_dataset(str(tmp_path / "absent.jsonl"))


def test_a_folder_named_like_an_id_is_found_from_where_one_stands(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("org/set/main/test.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    assert load_dataset("org/set", "main").source == "files"


def test_generic_builders_read_local_files_directly(write: Write, tmp_path: Path) -> None:
    file = write("rows.jsonl", ROWS)
    files: list[tuple[Any, str]] = [
        (str(file), "train"),
        ([str(file)], "train"),
        ({"test": str(tmp_path / "*.jsonl")}, "test"),
    ]
    for data_files, split in files:
        assert list(load_dataset("json", data_files=data_files)[split]) == ROWS
    with pytest.raises(UsageError, match="no file fits"):
        load_dataset("json", data_files=str(tmp_path / "*.none"))


def test_data_files_name_files_of_the_mirrors_folder(mirror: Path, write: Write) -> None:
    write("mirror/org/set/raw/rows.jsonl", ROWS)
    splits = load_dataset("org/set", mirror=mirror, data_files={"test": "raw/*.jsonl"})
    assert list(splits["test"]) == ROWS


def test_the_mirror_comes_before_the_environments(
    mirror: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    write("second/org/set/main/test.parquet", ROWS[:1])
    monkeypatch.setenv("LLMEVAL_DATA", str(tmp_path / "second"))
    assert len(load_split("org/set", "test")) == 1
    assert len(load_split("org/set", "test", mirror=mirror)) == 2


def test_without_network_and_mirror_the_error_comes_at_once(mirror: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError) as caught:
        load_dataset("org/unknown", "main")
    assert time.monotonic() - start < 5
    line = str(caught.value)
    assert "org/unknown (config main) is not on this machine" in line
    assert "http://127.0.0.1:9 cannot be reached" in line
    assert "llmeval data add org/unknown --config main --data DIR" in line
    assert "LLMEVAL_DATA" in line and "\n" not in line
    (mirror / "org/unknowns").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"nor is it in the mirror .*nearest: org/unknowns"):
        load_dataset("org/unknown", mirror=mirror)


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_an_offline_switch_is_obeyed_without_a_probe(
    switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(switch, "1")
    probes: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kw: probes.append(args))
    with pytest.raises(UsageError, match=f"{switch} is set"):
        load_dataset("org/unknown")
    assert not probes


def test_a_name_server_that_never_answers_does_not_hold_us_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(*args: object, **kwargs: object) -> None:
        time.sleep(1)
        raise OSError

    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.monotonic()
    assert hub.why_offline() is not None
    assert time.monotonic() - start < 0.8


def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.why_offline() is None


@pytest.fixture
def cached(write: Write, tmp_path: Path) -> str:
    """Put a data set into the cache as `datasets` leaves one that it has downloaded."""
    commit = "a" * 40
    source = write("source.jsonl", ROWS)
    made = datasets.load_dataset("json", data_files={"test": str(source)}, cache_dir=str(tmp_path))
    built = Path(made["test"].cache_files[0]["filename"]).parent
    target = tmp_path / "hf/datasets/org___set/main/0.0.0" / commit
    shutil.copytree(built, target)
    (target / "json-test.arrow").rename(target / "set-test.arrow")
    info = json.loads((target / "dataset_info.json").read_text())
    url = f"hf://datasets/org/set@{commit}/test.jsonl"
    info |= {"dataset_name": "set", "config_name": "main"}
    info["download_checksums"] = {url: {"num_bytes": 1, "checksum": None}}
    (target / "dataset_info.json").write_text(json.dumps(info))
    return commit


def test_a_cached_data_set_loads_without_network(cached: str) -> None:
    splits = load_dataset("org/set", "main")
    assert list(splits["test"]) == ROWS
    assert splits.source == "hub"
    assert hub.commit_of(splits["test"]) == cached
    assert list(load_dataset("org/set", "main", revision=cached)["test"]) == ROWS


def test_another_revision_than_the_cached_one_is_refused(cached: str) -> None:
    with pytest.raises(UsageError, match=f"holds org/set at {cached}, not at b+"):
        load_dataset("org/set", "main", revision="b" * 40)


def test_offline_mode_ends_with_the_call(cached: str) -> None:
    from huggingface_hub import constants

    load_dataset("org/set", "main")
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE


def test_real_benchmarks_load_with_their_features() -> None:
    mirror = shared_dir("data", "hub")
    test = load_split("cais/mmlu", "test", "all", mirror=mirror)
    assert len(test) == 14042
    assert test.features["answer"].names == ["A", "B", "C", "D"]
    winogrande = load_dataset("allenai/winogrande", "winogrande_xl", mirror=mirror)
    assert list(winogrande) == ["validation"]
