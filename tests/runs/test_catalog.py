"""A folder of records is listed whole and quickly; what is broken is listed as that."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.runs import RunLock
from llmeval.runs.catalog import CatalogRow, MainMetric, Wanted, list_runs
from tests.support.manifests import MANIFEST, SUMMARY, metric, summary, write_manifest


def listed(folder: Path, **tags: str) -> list[CatalogRow]:
    return list_runs(folder, folder, tags)


# -- rows ------------------------------------------------------------------------------------


def test_a_row_says_what_was_run_and_what_came_out(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "20260102-030405-pocket-aaaa")
    (row,) = listed(tmp_path, good="20260102-030405-pocket-aaaa", other="elsewhere")
    assert (row.id, row.model, row.status, row.n) == (path.name, "pocket", "complete", 8)
    assert row.when.isoformat() == "2026-01-02T03:04:05+00:00"
    assert row.main == MainMetric("colours", "acc", 0.5, (0.4, 0.6))
    assert row.tags == ("good",)
    assert row.size == sum(file.stat().st_size for file in path.iterdir())
    assert row.problem is None


def test_the_newest_comes_first_by_when_it_was_started(tmp_path: Path) -> None:
    for name, started in (("b", "2026-01-01"), ("a", "2026-01-03"), ("c", "2026-01-02")):
        write_manifest(tmp_path, name, started=f"{started}T00:00:00+00:00")
    assert [row.id for row in listed(tmp_path)] == ["a", "c", "b"]


def test_groups_stand_for_their_tasks_and_their_number_is_the_runs(tmp_path: Path) -> None:
    tasks = {name: {"acc": metric(0.2)} for name in ("law", "physics")}
    group = {"tasks": ["law", "physics"], "metrics": {"acc": metric(0.3, n=16)}}
    write_manifest(
        tmp_path,
        "one",
        summary(tasks, groups={"mmlu": group}),
        tasks={name: {} for name in tasks},
        groups={"mmlu": ["law", "physics"]},
    )
    (row,) = listed(tmp_path)
    assert row.shown_tasks == ("mmlu",)
    assert row.tasks == ("law", "physics")
    assert row.main is not None and (row.main.task, row.main.value) == ("mmlu", 0.3)
    assert row.n == 16


def test_a_run_of_several_tasks_has_no_one_number(tmp_path: Path) -> None:
    tasks = {name: {"acc": metric(0.2)} for name in ("a", "b")}
    write_manifest(tmp_path, "one", summary(tasks), tasks={name: {} for name in tasks})
    assert listed(tmp_path)[0].main is None


def test_a_number_that_is_not_known_is_none(tmp_path: Path) -> None:
    write_manifest(tmp_path, "one", summary({"colours": {"acc": metric(None, n=0)}}))
    main = listed(tmp_path)[0].main
    assert main == MainMetric("colours", "acc", None, None)


def test_a_killed_run_is_interrupted_without_numbers_and_a_held_one_is_running(
    tmp_path: Path,
) -> None:
    write_manifest(tmp_path, "killed", None, status="interrupted")
    write_manifest(tmp_path, "held", None, status="interrupted")
    lock = RunLock(tmp_path, "held")
    assert lock.acquire()
    statuses = {row.id: (row.status, row.n) for row in listed(tmp_path)}
    assert statuses == {"killed": ("interrupted", None), "held": ("running", None)}
    lock.release()
    assert {row.status for row in listed(tmp_path)} == {"interrupted"}


def test_what_is_no_record_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / "page.html").write_text("x")
    (tmp_path / "tags.json").write_text("{}")
    write_manifest(tmp_path, ".import-half-done")
    assert listed(tmp_path) == []
    assert listed(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(), {"a", "b", "c"}),
        (Wanted(model="POCK"), {"a", "b"}),
        (Wanted(model="pock"), {"a", "b"}),
        (Wanted(model="ock*"), set()),
        (Wanted(task="colo?rs"), {"a", "b", "c"}),
        (Wanted(task="shape"), set()),
        (Wanted(status="invalid"), {"b"}),
        (Wanted(tag="good"), {"c"}),
        (Wanted(tag="good", model="pocket"), set()),
    ],
)
def test_runs_are_chosen_by_model_task_status_and_tag(
    tmp_path: Path, wanted: Wanted, ids: set[str]
) -> None:
    write_manifest(tmp_path, "a")
    write_manifest(tmp_path, "b", status="invalid")
    write_manifest(tmp_path, "c", model={"name": "hf:gpt2"})
    assert {row.id for row in listed(tmp_path, good="c") if wanted.takes(row)} == ids


# -- broken records --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"", "manifest.json is not JSON"),
        (b"\xff\xfe", "manifest.json is not JSON"),
        (b"[1]", "manifest.json is not a JSON object"),
        (b"{}", "not a record of llmeval's: KeyError"),
        (b'{"status": "running"}', "unknown status 'running'"),
        (b'{"status": ["complete"]}', "unknown status"),
        (b"[" * 100_000, "manifest.json is not JSON"),
    ],
)
def test_a_broken_record_is_listed_with_what_is_wrong(
    tmp_path: Path, manifest: bytes, problem: str
) -> None:
    path = write_manifest(tmp_path, "20260102-030405-pocket-aaaa")
    (path / "manifest.json").write_bytes(manifest)
    write_manifest(tmp_path, "whole", started="2026-01-01T00:00:00+00:00")
    broken, whole = listed(tmp_path)
    assert (broken.status, whole.status) == ("broken", "complete")
    assert broken.problem is not None and broken.problem.startswith(problem)
    assert broken.when.isoformat() == "2026-01-02T03:04:05+00:00"  # its name tells


@pytest.mark.parametrize("started", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999"])
def test_a_time_that_no_calendar_has_is_one_broken_record(tmp_path: Path, started: str) -> None:
    write_manifest(tmp_path, "one", started=started)
    (row,) = listed(tmp_path)
    assert row.status == "broken" and row.problem
    json.dumps(row.to_plain())


def test_a_record_without_its_manifest_or_summary_is_broken(tmp_path: Path) -> None:
    (write_manifest(tmp_path, "a") / "manifest.json").unlink()
    (write_manifest(tmp_path, "b") / "summary.json").unlink()
    problems = {row.id: row.problem for row in listed(tmp_path)}
    assert problems == {"a": "there is no manifest.json", "b": "there is no summary.json"}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def changed(plain: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A record's file in which some values are anything."""
    return st.dictionaries(st.sampled_from(sorted(plain)), JSON).map(lambda new: plain | new)


@settings(max_examples=60)
@given(changed(MANIFEST), changed(dict(SUMMARY)))
def test_whatever_a_record_holds_it_is_a_row(manifest: Any, told: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "one"
        path.mkdir()
        (path / "manifest.json").write_text(json.dumps(manifest))
        (path / "summary.json").write_text(json.dumps(told))
        (row,) = listed(Path(name))
        assert (row.status == "broken") == (row.problem is not None)
        json.dumps(row.to_plain())


# -- many ------------------------------------------------------------------------------------


def test_a_thousand_records_are_listed_in_about_a_second(tmp_path: Path) -> None:
    """CPU seconds of this process, so that a busy machine is no failure. Measured: 0.15."""
    padding = {f"task_{i}": {"config": {"prompt": "x" * 300}} for i in range(30)}
    manifest = json.dumps(MANIFEST | {"tasks": {"colours": {}, **padding}})
    told = json.dumps(SUMMARY)
    for i in range(1000):
        folder = tmp_path / f"20260102-030405-pocket-{i:04x}"
        os.mkdir(folder)  # noqa: PTH102
        (folder / "manifest.json").write_text(manifest)
        (folder / "summary.json").write_text(told)
    started = time.process_time()
    rows = listed(tmp_path)
    seconds = time.process_time() - started
    assert len(rows) == 1000
    assert all(row.problem is None for row in rows)
    assert seconds < 1.0
