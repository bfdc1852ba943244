"""Only a record's own files are ever removed, and never of a run that is named or at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmeval.core import UsageError
from llmeval.runs import RunLock, load_run
from llmeval.runs.removal import plan_removal, remove
from llmeval.runs.tags import read_tags, set_tag
from llmeval.runs.unfinished import list_unfinished, note_run, rerun_folder
from tests.support.manifests import write_manifest


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = write_manifest(tmp_path / "results", "one")
    for name in ("results.json", "scores.parquet", "samples.parquet.partial"):
        (path / name).write_text("x")
    return path


def test_a_record_goes_with_its_folder_and_nothing_beside_it(record: Path, tmp_path: Path) -> None:
    other = write_manifest(tmp_path / "results", "two")
    note_run(tmp_path, "one", record)
    plan = plan_removal(load_run(record), tmp_path)
    assert plan.size == sum(file.stat().st_size for file in record.iterdir())
    assert record.exists()  # a plan does nothing
    remove(plan, tmp_path)
    assert not record.exists()
    assert other.exists()
    assert list_unfinished(tmp_path) == []


def test_what_is_no_file_of_a_record_stays(record: Path, tmp_path: Path) -> None:
    (record / "notes.md").write_text("mine")
    (record / "plots").mkdir()
    plan = plan_removal(load_run(record), tmp_path)
    assert plan.foreign == ("notes.md", "plots")
    remove(plan, tmp_path)
    assert sorted(path.name for path in record.iterdir()) == ["notes.md", "plots"]


def test_a_tagged_record_goes_only_by_force_and_its_tag_with_it(
    record: Path, tmp_path: Path
) -> None:
    set_tag(record.parent, "baseline", "one")
    set_tag(record.parent, "other", "two")
    with pytest.raises(UsageError, match="one: it has a tag: baseline"):
        plan_removal(load_run(record), tmp_path)
    remove(plan_removal(load_run(record), tmp_path, force=True), tmp_path)
    assert read_tags(record.parent) == {"other": "two"}


def test_where_tags_cannot_be_read_nothing_is_removed(record: Path, tmp_path: Path) -> None:
    (record.parent / "tags.json").write_text("broken")
    with pytest.raises(UsageError, match="the tags cannot be read"):
        plan_removal(load_run(record), tmp_path, force=True)


def test_a_run_at_work_is_not_removed(record: Path, tmp_path: Path) -> None:
    lock = RunLock(tmp_path, "one")
    assert lock.acquire()
    with pytest.raises(UsageError, match="one: a process works on it"):
        plan_removal(load_run(record), tmp_path, force=True)
    lock.release()
    plan_removal(load_run(record), tmp_path)


@pytest.mark.parametrize("begun", ["one", "rerun-one"])
def test_a_run_that_went_on_since_it_was_planned_is_not_removed(
    record: Path, tmp_path: Path, begun: str
) -> None:
    """Who is asked may answer much later."""
    plan = plan_removal(load_run(record), tmp_path)
    lock = RunLock(tmp_path, begun)
    assert lock.acquire()
    with pytest.raises(UsageError, match="one: a process works on it"):
        remove(plan, tmp_path)
    assert all(file.exists() for file in plan.files)
    lock.release()
    remove(plan, tmp_path)
    assert not record.exists()


def test_a_rerun_that_was_broken_off_goes_with_its_run(record: Path, tmp_path: Path) -> None:
    folder = rerun_folder(tmp_path, "one")
    folder.mkdir(parents=True)
    (folder / "journal.sqlite").write_text("x")
    remove(plan_removal(load_run(record), tmp_path), tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("content", ['{"manifest_version": 3, "name": "an extension"}', "{", "[]"])
def test_another_folder_with_a_manifest_is_no_record(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "manifest.json").write_text(content)
    (folder / "background.js").write_text("x")
    with pytest.raises(UsageError, match="this is no run record"):
        plan_removal(load_run(folder), tmp_path, force=True)


def test_a_lone_file_that_cannot_be_read_is_not_taken_for_a_record(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="this is no run record"):
        plan_removal(load_run(tmp_path), tmp_path)


def test_a_broken_record_can_be_removed(record: Path, tmp_path: Path) -> None:
    (record / "manifest.json").write_text("{")
    remove(plan_removal(load_run(record), tmp_path), tmp_path)
    assert not record.exists()


def test_a_link_to_a_record_is_not_followed(record: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(record)
    with pytest.raises(UsageError, match="it is a link"):
        plan_removal(load_run(link), tmp_path)


def test_a_link_in_a_record_goes_and_what_it_names_stays(record: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("x")
    (record / "scores.parquet").unlink()
    (record / "scores.parquet").symlink_to(target)
    remove(plan_removal(load_run(record), tmp_path), tmp_path)
    assert target.read_text() == "x"
    assert not record.exists()
