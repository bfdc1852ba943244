"""``llmeval runs``: what people see and what scripts get, also where records are strange."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.manifests import IMPORTED, MANIFEST, metric, summary, write_manifest

OLD, NEW = "20260101-000000-pocket-aaaa", "20260102-000000-pocket-bbbb"


@pytest.fixture
def results(workspace: Path) -> Path:
    folder = workspace / "results"
    write_manifest(folder, OLD, started="2026-01-01T00:00:00+00:00")
    write_manifest(
        folder,
        NEW,
        summary({"colours": {"acc": metric(0.75)}}),
        started="2026-01-02T00:00:00+00:00",
        options={"limit": 5, "seed": 1234, "max_errors": 0.05},
    )
    return folder


# -- ls --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(llmeval: Command, results: Path) -> None:
    llmeval("runs", "tag", OLD, "baseline")
    ended = llmeval("runs", "ls")
    head, _, *rows = ended.out.splitlines()
    assert ended.code == 0
    assert head.split() == [
        *("run", "started", "(UTC)", "model", "tasks", "result", "n", "status", "tags", "size"),
    ]
    assert [row.split()[0] for row in rows] == [NEW, OLD]
    assert "acc 0.750 (0.650 … 0.850)" in rows[0]
    assert "complete  baseline" in rows[1]
    assert ended.err.startswith("2 runs, ")


def test_a_listing_can_be_narrowed(llmeval: Command, results: Path) -> None:
    llmeval("runs", "tag", OLD, "baseline")

    def ids(*options: str) -> list[str]:
        return [row["id"] for row in json.loads(llmeval("runs", "ls", "--json", *options).out)]

    assert ids() == [NEW, OLD]
    assert ids("--limit", "1") == [NEW]
    assert ids("--tag", "baseline") == [OLD]
    assert ids("--model", "gpt") == []
    assert ids("--task", "col*", "--status", "complete") == [NEW, OLD]


def test_an_empty_folder_is_no_fault_and_an_absent_one_is(
    llmeval: Command, workspace: Path
) -> None:
    ended = llmeval("runs", "ls")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("0 runs")
    assert llmeval("runs", "ls", "--out", "absent").code == 2


def test_broken_records_and_tags_are_told_and_hostile_names_do_nothing(
    llmeval: Command, results: Path
) -> None:
    (results / OLD / "manifest.json").write_text("{")
    write_manifest(results, "\x1b[31mred", model={"name": "\x1b]0;title\x07\n" + "x" * 9000})
    (results / "tags.json").write_text("[]")
    ended = llmeval("runs", "ls")
    assert ended.code == 0
    assert "manifest.json is not JSON" in ended.out
    assert "\x1b" not in ended.out and "\x07" not in ended.out
    assert max(map(len, ended.out.splitlines())) < 300
    assert "warning: " in ended.err and "tags cannot be read" in ended.err


def test_a_narrow_terminal_keeps_whole_ids(
    llmeval: Command, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmeval.cli.runs.ls.terminal_width", lambda stream: 60)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    lines = llmeval("runs", "ls").out.splitlines()
    assert [line.split()[0] for line in lines[::3]] == [NEW, OLD]
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize("options", [("--limit", "0"), ("--status", "done"), ("--limit", "x")])
def test_wrong_filters_are_one_line(
    llmeval: Command, results: Path, options: tuple[str, ...]
) -> None:
    ended = llmeval("runs", "ls", *options)
    assert (ended.code, ended.out) == (2, "")
    assert options[0] in ended.error


# -- show ------------------------------------------------------------------------------------


def test_a_run_is_told_in_words(llmeval: Command, results: Path) -> None:
    llmeval("runs", "tag", NEW, "good")
    ended = llmeval("runs", "show", "latest")
    assert ended.code == 0
    told = ended.out
    assert "tags          good" in told
    assert "command       llmeval run -m pocket -t colours" in told
    assert "options       limit 5, seed 1234, max errors 0.05, window 4096" in told
    assert f"revision {'a' * 40}" in told
    assert "numpy 2.0.0" in told
    assert "me/colours" in told
    assert "0.650 … 0.850" in told


def test_a_run_is_told_in_json(llmeval: Command, results: Path) -> None:
    told = json.loads(llmeval("runs", "show", OLD, "--json").out)
    assert told["manifest"]["model"]["name"] == "pocket"
    assert told["summary"]["tasks"]["colours"]["metrics"]["acc"]["value"] == 0.5
    assert told["tags"] == []


def test_a_real_record_is_told(llmeval: Command) -> None:
    assert llmeval("run", "-m", "baseline:random", "-t", "colours", "-q").code == 0
    told = llmeval("runs", "show", "latest")
    assert told.code == 0
    assert "colours.jsonl" in told.out and "baseline:random  (complete)" in told.out


def test_an_imported_run_is_told_without_what_nobody_knows(llmeval: Command, results: Path) -> None:
    write_manifest(results, "20270101-imported", **IMPORTED)
    ended = llmeval("runs", "show", "latest")
    assert ended.code == 0
    assert "imported      from lm-eval 0.4.13, results_x.json" in ended.out
    assert "None" not in ended.out
    assert "it was imported" in llmeval("rerun", "latest").error


def test_a_killed_run_is_told_without_numbers(llmeval: Command, results: Path) -> None:
    write_manifest(results, "20260103-killed", None, status="interrupted")
    ended = llmeval("runs", "show", "latest")
    assert ended.code == 0
    assert "no results: the run was killed" in ended.out


def test_an_interrupted_run_tells_how_far_it_came(
    llmeval: Command, workspace: Path, results: Path
) -> None:
    command = ("run", "-m", "baseline:random", "-t", "colours", "--limit", "6", "-q")
    assert llmeval(*command, "-o", "elsewhere").code == 0
    (record,) = (workspace / "elsewhere").iterdir()
    for name in ("manifest.json", "summary.json"):
        told = json.loads((record / name).read_text()) | {"status": "interrupted"}
        if name == "summary.json":
            told["tasks"]["colours"]["n"] = 2
        (record / name).write_text(json.dumps(told))
    ended = llmeval("runs", "show", "latest", "-o", "elsewhere")
    assert "status        interrupted with 2 of 6 samples done; started" in ended.out
    assert "health  nothing found in the 2 samples that are done" in ended.out


def test_a_record_from_before_there_were_limits_is_told(llmeval: Command, results: Path) -> None:
    path = write_manifest(results, "20260103-old") / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in manifest.items() if k != "limits"}))
    ended = llmeval("runs", "show", "latest")
    assert ended.code == 0
    assert "window 4096" in ended.out


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "text"},
        {"environment": None},
        {"tasks": {"colours": 3}},
        {"tasks": {"colours": {"version": "1"}}},
        {"limits": [1]},
        {"command": 5},
    ],
)
def test_a_strange_record_is_one_line(
    llmeval: Command, results: Path, changes: dict[str, object]
) -> None:
    write_manifest(results, "20270101-strange", **changes)
    ended = llmeval("runs", "show", "latest")
    assert ended.code == 2
    assert "the record is not as llmeval writes it" in ended.error
    assert llmeval("runs", "show", "latest", "--json").code == 0


# -- diff ------------------------------------------------------------------------------------


def test_what_differs_stands_side_by_side(llmeval: Command, results: Path) -> None:
    ended = llmeval("runs", "diff", OLD, NEW)
    assert ended.code == 3
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["options.limit", "null", "5"] in lines
    assert ["colours.acc.value", "0.5", "0.75"] in lines
    assert ["results"] in lines
    plain = json.loads(llmeval("runs", "diff", OLD, NEW, "--json").out)
    assert {"group", "name", "before", "after"} == set(plain["differences"][0])


def test_a_run_does_not_differ_from_itself(llmeval: Command, results: Path) -> None:
    ended = llmeval("runs", "diff", OLD, OLD)
    assert (ended.code, ended.out) == (0, f"{OLD} and {OLD} do not differ\n")


def test_long_values_show_where_they_begin_to_differ(llmeval: Command, results: Path) -> None:
    for name, end in (("20270101-a", "one\x1b[2J"), ("20270102-b", "two")):
        write_manifest(results, name, sandbox="x" * 1000 + end)
    ended = llmeval("runs", "diff", "20270101-a", "20270102-b")
    assert "x" * 40 + "one" in ended.out and "x" * 40 + "two" in ended.out
    assert "x" * 100 not in ended.out
    assert "\x1b" not in ended.out


def test_very_many_differences_are_counted(llmeval: Command, results: Path) -> None:
    packages = {**MANIFEST["environment"], "packages": {f"p{i}": "1" for i in range(100)}}
    write_manifest(results, "20270101-a", environment=packages)
    assert "and 62 more (--json has them all)" in llmeval("runs", "diff", OLD, "latest").out


# -- tag -------------------------------------------------------------------------------------


def test_a_tag_names_a_run_wherever_a_run_is_named(llmeval: Command, results: Path) -> None:
    assert llmeval("runs", "tag", OLD, "baseline").out == f"baseline: {OLD}\n"
    assert "run           " + OLD in llmeval("runs", "show", "baseline").out
    assert llmeval("runs", "tag", NEW, "baseline").code == 2
    moved = llmeval("runs", "tag", NEW, "baseline", "--move")
    assert moved.out == f"baseline: {NEW} (before: {OLD})\n"
    assert NEW in llmeval("runs", "tag", "--ls").out
    assert llmeval("runs", "tag", "-d", "baseline").code == 0
    assert llmeval("runs", "show", "baseline").code == 2


def test_tags_belong_to_the_folder_of_their_records(llmeval: Command, results: Path) -> None:
    path = write_manifest(results.parent / "elsewhere", "20270101-a")
    ended = llmeval("runs", "tag", str(path), "good")
    assert ended.code == 2
    assert "elsewhere" in ended.error
    assert llmeval("runs", "tag", str(path), "good", "--out", "elsewhere").code == 0


@pytest.mark.parametrize(
    "words",
    [(), ("latest",), ("--ls", "-d", "x"), ("latest", "good", "--ls"), ("latest", "2026")],
)
def test_an_unclear_tag_command_is_one_line(
    llmeval: Command, results: Path, words: tuple[str, ...]
) -> None:
    ended = llmeval("runs", "tag", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error


@pytest.mark.parametrize("words", [("-d", "x"), ("--ls",), ("latest", "x")])
def test_a_folder_that_is_not_there_is_not_made_for_tags(
    llmeval: Command, results: Path, words: tuple[str, ...]
) -> None:
    ended = llmeval("runs", "tag", *words, "--out", "resluts")
    assert ended.code == 2
    assert "resluts: no such folder" in ended.error
    assert not Path("resluts").exists()


# -- rm --------------------------------------------------------------------------------------


def test_records_are_removed_only_where_it_was_confirmed(llmeval: Command, results: Path) -> None:
    dry = llmeval("runs", "rm", OLD, NEW, "--dry-run")
    assert dry.out == f"{OLD}: would be removed\n{NEW}: would be removed\n"
    refused = llmeval("runs", "rm", OLD)
    assert refused.code == 2 and "--yes" in refused.error
    assert (results / OLD).exists() and (results / NEW).exists()
    removed = llmeval("runs", "rm", OLD, "--yes")
    assert (removed.code, removed.out) == (0, f"{OLD}: removed\n")
    assert "answers stay in the journal" in removed.err
    assert not (results / OLD).exists() and (results / NEW).exists()


@pytest.mark.parametrize(("answer", "stays"), [("y\n", False), ("n\n", True), ("", True)])
def test_on_a_terminal_it_asks(
    llmeval: Command, results: Path, monkeypatch: pytest.MonkeyPatch, answer: str, stays: bool
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    ended = llmeval("runs", "rm", OLD)
    assert ended.code == 0
    assert "remove 1 record, " in ended.err
    assert (results / OLD).exists() == stays


def test_one_that_may_not_go_keeps_all(llmeval: Command, results: Path) -> None:
    llmeval("runs", "tag", NEW, "good")
    ended = llmeval("runs", "rm", OLD, NEW, "--yes")
    assert ended.code == 2 and "it has a tag: good" in ended.error
    assert (results / OLD).exists()
    forced = llmeval("runs", "rm", "good", "--yes", "--force")
    assert forced.out == f"{NEW}: removed, with the tag good\n"
    assert llmeval("runs", "tag", "--ls").out == ""


# -- wrong use -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("list",),
        ("show",),
        ("show", "nothing"),
        ("diff", "latest"),
        ("rm",),
        ("rm", "../.."),
        ("track", "latest"),
        ("track", "latest", "nothing:x"),
    ],
)
def test_wrong_use_is_one_line(llmeval: Command, results: Path, words: tuple[str, ...]) -> None:
    ended = llmeval("runs", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1


# -- track -----------------------------------------------------------------------------------


def test_a_record_is_logged_later(llmeval: Command, results: Path) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    ended = llmeval("runs", "track", OLD, "mlflow:store")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("logged to mlflow:store: run ")


def test_a_run_is_logged_when_its_record_is_written(llmeval: Command, workspace: Path) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    command = ("run", "-m", "baseline:random", "-t", "colours", "--track", "mlflow:store")
    ended = llmeval(*command, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["status"] == "complete"
    assert "llmeval: logged to mlflow:store: run " in ended.err
    assert (workspace / "store").is_dir()


def test_a_tracker_that_fails_costs_a_line_and_not_the_run(
    llmeval: Command, workspace: Path
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    (workspace / "store.db").write_text("no database" * 100)
    command = ("run", "-m", "baseline:random", "-t", "colours", "-q")
    ended = llmeval(*command, "--track", "mlflow:sqlite:///store.db", "--track", "mlflow:store")
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    (record,) = (workspace / "results").iterdir()
    assert line.startswith("llmeval: warning: mlflow:sqlite:///store.db: not logged: ")
    mend = f"(later: llmeval runs track results/{record.name} mlflow:sqlite:///store.db)"
    assert line.endswith(mend)
    assert (workspace / "store").is_dir()  # the other one was told


@pytest.mark.parametrize("target", ["tensorboard:x", "mlflow:http://me:hunter2@host"])
def test_a_target_that_is_none_is_found_before_the_run(
    llmeval: Command, workspace: Path, target: str
) -> None:
    command = ("run", "-m", "baseline:random", "-t", "colours")
    ended = llmeval(*command, "--track", target)
    assert ended.code == 2
    assert "--track" in ended.error and "hunter2" not in ended.err
    (workspace / "run.yaml").write_text(
        f'model: "baseline:random"\ntasks: [colours]\ntrack: ["mlflow:ok", "{target}"]\n'
    )
    ended = llmeval("run", "run.yaml")
    assert ended.code == 2
    assert "run.yaml:3" in ended.error and "hunter2" not in ended.err
    assert not (workspace / "results").exists()


def test_a_run_file_names_trackers(llmeval: Command, workspace: Path) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    (workspace / "run.yaml").write_text(
        'model: "baseline:random"\ntasks: [colours]\ntrack: ["mlflow:store"]\ntrack_tables: true\n'
    )
    assert llmeval("run", "run.yaml").code == 0
    assert list((workspace / "store").rglob("samples.parquet"))
