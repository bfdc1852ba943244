"""A tag names one run, whoever else writes tags at the same moment; and it is found by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import UsageError
from llmeval.runs.find import find_run
from llmeval.runs.lock import FileLock
from llmeval.runs.tags import read_tags, remove_tags, set_tag, tags_by_run
from tests.support.manifests import write_manifest
from tests.support.shared import ROOT

OLD, NEW = "20260101-000000-pocket-aaaa", "20260102-000000-pocket-bbbb"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run_id in (OLD, NEW):
        write_manifest(tmp_path, run_id)
    return tmp_path


# -- writing ---------------------------------------------------------------------------------


def test_a_folder_without_tags_has_none(tmp_path: Path) -> None:
    assert read_tags(tmp_path) == {}
    assert read_tags(tmp_path / "absent") == {}


def test_a_run_may_have_several_tags_and_a_tag_has_one_run(results: Path) -> None:
    assert set_tag(results, "baseline", OLD) is None
    assert set_tag(results, "good", OLD) is None
    with pytest.raises(UsageError, match=f"baseline: it names {OLD}"):
        set_tag(results, "baseline", NEW)
    assert tags_by_run(read_tags(results)) == {OLD: ["baseline", "good"]}
    assert set_tag(results, "baseline", OLD) == OLD  # the same again is no fault
    assert set_tag(results, "baseline", NEW, move=True) == OLD
    assert read_tags(results) == {"baseline": NEW, "good": OLD}


def test_a_tag_is_removed_and_its_run_stays(results: Path) -> None:
    set_tag(results, "baseline", OLD)
    remove_tags(results, "baseline")
    assert read_tags(results) == {}
    assert (results / OLD / "manifest.json").exists()
    with pytest.raises(UsageError, match="baseline: no such tag"):
        remove_tags(results, "baseline")


def test_a_tag_that_was_moved_meanwhile_is_not_taken_from_its_new_run(results: Path) -> None:
    set_tag(results, "baseline", OLD)
    seen = read_tags(results)
    set_tag(results, "baseline", NEW, move=True)
    remove_tags(results, seen)
    assert read_tags(results) == {"baseline": NEW}


@pytest.mark.parametrize("tag", ["latest", "", "2026", "a/b", "../x", ".", "-x", "a b", "ü", "a\n"])
def test_what_may_mean_something_else_is_no_tag(results: Path, tag: str) -> None:
    with pytest.raises(UsageError):
        set_tag(results, tag, OLD)
    assert read_tags(results) == {}


def test_the_beginning_of_a_runs_id_is_no_tag(results: Path) -> None:
    write_manifest(results, "nightly-7")
    with pytest.raises(UsageError, match="nightly: a run's id begins so"):
        set_tag(results, "nightly", OLD)
    (results / "leaderboards").mkdir()
    set_tag(results, "leaderboards", OLD)  # this is no run


@given(st.text(max_size=80))
def test_every_tag_that_is_taken_is_no_path_and_no_option(tag: str) -> None:
    from llmeval.runs.tags import _check_tag

    try:
        _check_tag(Path("/nonexistent"), tag)
    except UsageError:
        return
    assert Path(tag).name == tag
    assert tag.isascii() and tag[0].isalpha() and tag.isprintable() and len(tag) <= 64


TAGGER = """
import sys
from pathlib import Path
from llmeval.runs.tags import set_tag
for i in range(20):
    set_tag(Path(sys.argv[1]), f"{sys.argv[2]}-{i}", sys.argv[3])
"""


@pytest.mark.slow
def test_of_tags_given_at_once_none_is_lost(results: Path) -> None:
    command = [sys.executable, "-c", TAGGER, str(results)]
    runs = [subprocess.Popen([*command, name, OLD], cwd=ROOT) for name in ("a", "b", "c")]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
    assert len(read_tags(results)) == 60
    assert not list(results.glob(".*")) and not list(results.glob("*.partial"))


def test_one_who_holds_the_tags_for_long_is_named(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmeval.runs.tags._PATIENCE", 0.05)
    holder = FileLock(results / ".tags.json.lock")
    assert holder.acquire()
    with pytest.raises(Exception, match="another process has held the tags"):
        set_tag(results, "baseline", OLD)
    holder.release()


# -- hostile files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "not json",
        '{"a": 1}',
        '{"a": ["x"]}',
        '{"a": ".."}',
        '{"a": "../../etc"}',
        "\udcff",
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_left_as_it_is(
    results: Path, content: str
) -> None:
    path = results / "tags.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    for act in (read_tags, lambda folder: set_tag(folder, "baseline", OLD)):
        with pytest.raises(UsageError, match=r"tags\.json: the tags cannot be read"):
            act(results)
    assert path.read_bytes() == before


# -- finding ---------------------------------------------------------------------------------


def test_half_a_record_is_not_the_latest(results: Path) -> None:
    write_manifest(results, ".import-x")
    assert find_run("latest", results).path.name == NEW


def test_a_run_is_found_by_path_id_beginning_latest_and_tag(results: Path) -> None:
    set_tag(results, "baseline", OLD)
    for name, run_id in (
        (str(results / OLD), OLD),
        (OLD, OLD),
        ("20260102", NEW),
        ("latest", NEW),
        ("baseline", OLD),
    ):
        assert find_run(name, results).path.name == run_id


def test_a_tag_whose_run_is_gone_is_said(results: Path) -> None:
    (results / "tags.json").write_text(json.dumps({"baseline": "20250101-000000-pocket-cccc"}))
    with pytest.raises(UsageError, match="baseline: its run is gone"):
        find_run("baseline", results)


@pytest.mark.parametrize("name", ["", "other", "x" * 5000, "a\0b"])
def test_a_name_that_means_nothing_is_one_line(results: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such run"):
        find_run(name, results)


def test_a_beginning_of_several_ids_is_refused(results: Path) -> None:
    with pytest.raises(UsageError, match=f"202601: 2 runs begin so, e.g. {OLD}, {NEW}"):
        find_run("202601", results)
