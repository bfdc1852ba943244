"""`llmeval data`: what is added is recorded, and every later change is told."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from llmeval.core.errors import StorageError, UsageError
from llmeval.data import catalog, hub, load_dataset
from llmeval.data.fingerprint import fingerprint
from tests.data.conftest import Write

ROWS = [{"id": i, "q": f"question {i}"} for i in range(4)]


def states(mirror: Path) -> dict[tuple[str, str, str], str]:
    return {(v.id, v.config, v.split): v.state for v in catalog.verify(mirror)}


def test_a_local_file_is_added_offline(write: Write, tmp_path: Path) -> None:
    mirror = tmp_path / "new" / "mirror"
    file = write("my_test.jsonl", ROWS)
    added = catalog.add(str(file), mirror)
    assert [(a.id, a.config, a.split, a.rows) for a in added] == [
        ("local/my_test", "default", "test", 4)
    ]
    assert list(load_dataset("local/my_test", mirror=mirror)["test"]) == ROWS
    assert states(mirror) == {("local/my_test", "default", "test"): "ok"}
    record = json.loads((mirror / "local/my_test/fingerprints.json").read_text())
    entry = record["splits"]["default"]["test"]
    assert entry["digest"] == fingerprint(ROWS).digest
    assert (entry["rows"], entry["source"]) == (4, "files:my_test.jsonl")
    assert not [p for p in mirror.rglob("*") if p.name.startswith(".")]


def test_a_folder_is_added_with_all_its_configs(mirror: Path, write: Write, tmp_path: Path) -> None:
    write("folder/a/test.jsonl", ROWS)
    write("folder/b/test.jsonl", ROWS[:1])
    added = catalog.add(str(tmp_path / "folder"), mirror, as_id="org/set")
    assert {(a.id, a.config, a.rows) for a in added} == {("org/set", "a", 4), ("org/set", "b", 1)}
    listed = catalog.ls(mirror)
    assert [(x.config, x.rows, x.source) for x in listed] == [
        ("a", 4, "files:folder"),
        ("b", 1, "files:folder"),
    ]
    assert all(x.digest and x.bytes for x in listed)


def test_the_hubs_features_and_commit_are_kept(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"])})
    split = datasets.Dataset.from_dict({"label": [1, 0, 1]}, features).select([1, 2])
    url = f"hf://datasets/org/set@{'c' * 40}/main/test.parquet"
    split.info.download_checksums = {url: {"num_bytes": 1, "checksum": None}}
    monkeypatch.setattr(catalog, "config_names", lambda *a: ["main"])
    monkeypatch.setattr(
        catalog, "load_from_hub", lambda *a, **k: datasets.DatasetDict({"test": split})
    )
    catalog.add("org/set", mirror)
    kept = load_dataset("org/set", "main", mirror=mirror)["test"]
    assert kept.features == features and kept["label"][:] == [0, 1]
    record = catalog.read_record(mirror / "org/set")["main", "test"]
    assert (record.revision, record.source) == ("c" * 40, "hub:org/set")


def test_adding_from_the_hub_without_network_is_one_line(mirror: Path) -> None:
    with pytest.raises(UsageError, match=r"not on this machine, and .* cannot be reached"):
        catalog.add("org/set", mirror)
    assert list(mirror.iterdir()) == []


def test_configs_need_the_hub() -> None:
    with pytest.raises(UsageError, match="cannot be reached"):
        hub.config_names("org/set")


def test_verify_tells_what_happened_to_each_split(mirror: Path, write: Write) -> None:
    for split in ("same", "edited", "broken", "lost"):
        file = write(f"{split}.jsonl", ROWS)
        folder = file.parent / f"only_{split}" / "main"
        folder.mkdir(parents=True)
        file.rename(folder / f"{split}.jsonl")
        catalog.add(str(folder.parent), mirror, as_id="org/set")
    write("mirror/org/set/main/edited.parquet", [*ROWS[:3], {"id": 3, "q": "another"}])
    write("mirror/org/set/main/extra.parquet", ROWS)
    (mirror / "org/set/main/broken.parquet").write_bytes(b"PAR1")
    (mirror / "org/set/main/lost.parquet").unlink()
    assert states(mirror) == {
        ("org/set", "main", "same"): "ok",
        ("org/set", "main", "edited"): "changed",
        ("org/set", "main", "broken"): "corrupt",
        ("org/set", "main", "lost"): "missing",
        ("org/set", "main", "extra"): "unrecorded",
    }
    problems = {v.split: v.problem for v in catalog.verify(mirror, "org/set")}
    assert problems["edited"] == "4 rows recorded, 4 found"
    assert "broken.parquet" in str(problems["broken"])
    with pytest.raises(UsageError, match="no data set"):
        catalog.verify(mirror, "org/other")


def test_another_file_format_is_not_a_change(mirror: Path, write: Write) -> None:
    catalog.add(str(write("test.jsonl", ROWS)), mirror, as_id="org/set")
    (mirror / "org/set/default/test.parquet").unlink()
    write("mirror/org/set/default/test.jsonl", ROWS)
    assert set(states(mirror).values()) == {"ok"}


def test_a_second_form_of_a_split_is_not_put_beside_the_first(mirror: Path, write: Write) -> None:
    write("mirror/org/set/default/test.jsonl", ROWS)
    with pytest.raises(UsageError, match=r"there already, as test\.jsonl"):
        catalog.add(str(write("test.jsonl", ROWS[:1])), mirror, as_id="org/set")


def test_adding_again_replaces(mirror: Path, write: Write) -> None:
    for rows in (ROWS, ROWS[:2]):
        catalog.add(str(write("test.jsonl", rows)), mirror, as_id="org/set")
    assert [x.rows for x in catalog.ls(mirror)] == [2]
    assert set(states(mirror).values()) == {"ok"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_leaves_what_was_there(
    mirror: Path, write: Write, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    file = write("test.jsonl", ROWS)
    catalog.add(str(file), mirror, as_id="org/set")
    before = (mirror / "org/set/default/test.parquet").read_bytes()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr("pyarrow.parquet.write_table", refuse)
    write("test.jsonl", ROWS[:1])
    with pytest.raises(StorageError, match=r"test\.parquet: cannot be written"):
        catalog.add(str(file), mirror, as_id="org/set")
    assert (mirror / "org/set/default/test.parquet").read_bytes() == before
    assert set(states(mirror).values()) == {"ok"}
    assert not list(mirror.rglob(".*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "malformed"), ('{"version": 2, "splits": {}}', "newer"), ("[]", "malformed")],
)
def test_a_bad_record_is_named(mirror: Path, write: Write, content: str, message: str) -> None:
    write("mirror/org/set/main/test.parquet", ROWS)
    (mirror / "org/set/fingerprints.json").write_text(content)
    with pytest.raises(UsageError, match=rf"fingerprints\.json: .*{message}"):
        catalog.ls(mirror)
    assert [v.state for v in catalog.verify(mirror)] == ["corrupt"]


def test_ids_cannot_leave_the_mirror(mirror: Path, write: Write) -> None:
    with pytest.raises(UsageError, match="not a data set id"):
        catalog.add(str(write("test.jsonl", ROWS)), mirror, as_id="../out")


def test_two_versions_are_compared_split_by_split(write: Write, tmp_path: Path) -> None:
    write("old/a/test.jsonl", ROWS)
    write("old/a/dev.jsonl", ROWS)
    write("old/b/test.jsonl", ROWS)
    write("new/a/test.parquet", ROWS)
    write("new/a/dev.jsonl", [*ROWS[:3], {"id": 3, "q": "another"}])
    write("new/c/test.jsonl", ROWS)
    found = catalog.diff(str(tmp_path / "old"), str(tmp_path / "new"))
    assert [(f.config, f.split, f.state) for f in found] == [
        ("a", "dev", "changed"),
        ("a", "test", "same"),
        ("b", "test", "only before"),
        ("c", "test", "only after"),
    ]
    assert found[0].rows is not None and found[0].rows.changed[0].key == 3
    only = catalog.diff(str(tmp_path / "old"), str(tmp_path / "new"), config="a")
    assert {f.config for f in only} == {"a"}


def test_two_files_are_compared_whatever_their_names(write: Write) -> None:
    old, new = write("old_test.jsonl", ROWS), write("new.parquet", ROWS[1:])
    found = catalog.diff(str(old), str(new))
    assert [f.state for f in found] == ["changed"]
    assert found[0].rows is not None and len(found[0].rows.removed) == 1
