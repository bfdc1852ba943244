"""What a tracker is told is what the record says, under names that trackers take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmeval.core import UsageError
from llmeval.runs import load_run
from llmeval.tracking.entries import collect_entries
from tests.support.manifests import IMPORTED, MANIFEST, metric, summary, write_manifest


def test_numbers_come_with_their_uncertainty(tmp_path: Path) -> None:
    entries = collect_entries(load_run(write_manifest(tmp_path, "one")))
    told = {name: value for name, value in entries.metrics.items() if name.startswith("colours")}
    assert told == {
        "colours/acc": 0.5,
        "colours/acc_stderr": 0.05,
        "colours/acc_ci_low": 0.4,
        "colours/acc_ci_high": 0.6,
        "colours/acc_n": 8.0,
        "colours/acc_coverage": 1.0,
    }
    assert (entries.run_id, entries.status) == ("one", "complete")
    assert entries.written - entries.started == 60_000


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    unknown = summary({"colours": {"acc": metric(None, n=0, stderr=None)}})
    entries = collect_entries(load_run(write_manifest(tmp_path, "one", unknown)))
    told = {name for name in entries.metrics if name.startswith("colours")}
    assert told == {"colours/acc_n", "colours/acc_coverage"}
    assert "run/usd" not in entries.metrics


def test_names_are_such_as_trackers_take_and_no_two_are_one(tmp_path: Path) -> None:
    names = ("exact_match,strict", "exact_match;strict", "pass@1", "é")
    told = summary({"a:b": {name: metric(0.1 * i) for i, name in enumerate(names)}})
    metrics = collect_entries(load_run(write_manifest(tmp_path, "one", told))).metrics
    kept = ("exact_match_strict", "exact_match_strict_", "pass_1", "é")
    assert [metrics[f"a_b/{name}"] for name in kept] == [0.0, 0.1, 0.2, pytest.approx(0.3)]
    assert sum(name.startswith("a_b/") for name in metrics) == 6 * len(names)
    assert all(re.fullmatch(r"[\w.\- /]+", name) for name in metrics)


def test_parameters_are_what_was_set_and_not_too_long(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path,
        "one",
        tasks={f"task_{i}": {"data": []} for i in range(500)},
        options={"limit": 5, "seed": 1, "gen_kwargs": {"top_p": 0.9}, "num_fewshot": None},
    )
    entries = collect_entries(load_run(path))
    assert entries.params["limit"] == "5"
    assert entries.params["gen_kwargs"] == '{"top_p": 0.9}'
    assert "num_fewshot" not in entries.params
    assert len(entries.params["tasks"]) == 500


def test_tags_say_what_the_run_is(tmp_path: Path) -> None:
    one = collect_entries(load_run(write_manifest(tmp_path, "one"))).tags
    assert one["llmeval.run_id"] == "one"
    assert one["llmeval.code_revision"] == "a" * 40
    changed = {"colours": {**MANIFEST["tasks"]["colours"], "data": [{"id": "x", "rows": 9}]}}
    two = collect_entries(load_run(write_manifest(tmp_path, "two", tasks=changed))).tags
    assert one["llmeval.model_fingerprint"] == two["llmeval.model_fingerprint"]
    assert one["llmeval.data_fingerprint"] != two["llmeval.data_fingerprint"]


def test_an_imported_run_can_be_logged(tmp_path: Path) -> None:
    entries = collect_entries(load_run(write_manifest(tmp_path, "one", **IMPORTED)))
    assert entries.params == {"model": "gpt2", "tasks": "colours"}
    assert "llmeval.code_revision" not in entries.tags


def test_prompts_and_answers_go_only_where_they_are_wanted(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "one")
    (path / "samples.parquet").write_bytes(b"")
    names = [file.name for file in collect_entries(load_run(path)).files]
    assert names == ["manifest.json", "summary.json"]
    names = [file.name for file in collect_entries(load_run(path), tables=True).files]
    assert names == ["manifest.json", "summary.json", "samples.parquet"]


def test_a_run_without_results_and_a_strange_record_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no summary\.json"):
        collect_entries(load_run(write_manifest(tmp_path, "killed", None)))
    with pytest.raises(UsageError, match="not as llmeval writes it"):
        collect_entries(load_run(write_manifest(tmp_path, "strange", options=[1])))
