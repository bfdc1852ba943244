"""``llmeval leaderboard`` and ``llmeval runs import``: what people see, and wrong use."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.reports.leaderboard.support import record, right
from tests.support.lm_eval_files import sample, scored, write_lm_eval


@pytest.fixture
def results(workspace: Path) -> Path:
    folder = workspace / "results"
    folder.mkdir()
    record(folder, "good", {"s": right(0.9), "t": right(0.8)}, day=1)
    record(folder, "poor", {"s": right(0.3, seed=1), "t": right(0.2, seed=2)}, day=2)
    return folder


def test_all_runs_of_the_folder_are_on_the_board(llmeval: Command, results: Path) -> None:
    ended = llmeval("leaderboard")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0] == "2 models, best first by average"
    assert lines[2].split()[:4] == ["model", "tier", "rank", "average"]
    assert [line.split()[:3] for line in lines[5:7]] == [["good", "1", "1"], ["poor", "2", "2"]]


def test_runs_are_named_by_paths_ids_beginnings_and_folders(
    llmeval: Command, results: Path
) -> None:
    one, other = sorted(path.name for path in results.iterdir())
    for names in ([one, other], ["202601"], ["results"], [f"results/{one}", other[:10]]):
        assert llmeval("leaderboard", *names).out.startswith("2 models"), names
    assert llmeval("leaderboard", one[:10]).out.startswith("1 model,")


def test_json_is_all_that_stands_on_stdout(llmeval: Command, results: Path) -> None:
    plain = json.loads(llmeval("leaderboard", "--json", "--csv", "board.csv").out)
    assert [row["name"] for row in plain["rows"]] == ["good", "poor"]
    assert plain["sort"] == "average"


def test_files_are_written_and_named(llmeval: Command, results: Path, workspace: Path) -> None:
    ended = llmeval("leaderboard", "--csv", "out/board.csv", "--html", "board.html")
    assert ended.code == 0
    assert ended.out.startswith("2 models")
    assert "out/board.csv" in ended.err
    assert "board.html" in ended.err
    with (workspace / "out/board.csv").open() as file:
        assert [line["name"] for line in csv.DictReader(file)] == ["good", "poor"]
    assert "<!doctype html>" in (workspace / "board.html").read_text()


def test_without_models_the_title_is_about_baselines(llmeval: Command, workspace: Path) -> None:
    (workspace / "results").mkdir()
    record(workspace / "results", "baseline:random", {"s": right(0.3)})
    assert llmeval("leaderboard").out.startswith("1 baseline, best first by s acc\n")


def test_what_is_left_of_a_record_without_its_manifest_is_told(
    llmeval: Command, results: Path
) -> None:
    path = record(results, "gone", {"s": right(0.5), "t": right(0.5)})
    (path / "manifest.json").unlink()
    for names in ([], ["results"]):
        ended = llmeval("leaderboard", *names)
        assert f"left out: {path.name}: the record has no manifest.json" in " ".join(
            ended.out.split()
        )


def test_markdown_is_printed(llmeval: Command, results: Path) -> None:
    assert llmeval("leaderboard", "--markdown", "--by", "s").out.startswith("| model | tier |")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing-like-it"], "no such run"),
        (["--tasks", "arc"], "no run has such a task"),
        (["-t", " , "], "no task is named"),
        (["--csv", "-"], "is written to a file"),
        (["--json", "--html", "-"], "is written to a file"),
        (["--models", "gpt*"], "no run's model has such a name"),
        (["--metric", "f1"], "no run has the metric 'f1'"),
        (["--by", "arc"], "there is no such column"),
        (["--latest", "--all-runs"], "not allowed with"),
        (["tasks"], "neither runs nor results of lm-eval here"),
        (["-o", "elsewhere"], "there are no runs"),
    ],
)
def test_wrong_use_is_one_line(
    llmeval: Command, results: Path, arguments: list[str], complaint: str
) -> None:
    ended = llmeval("leaderboard", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1


def test_without_any_run_it_says_what_to_do(llmeval: Command, workspace: Path) -> None:
    ended = llmeval("leaderboard")
    assert ended.code == 2
    assert "`llmeval run` makes one" in ended.err


def test_only_unfinished_runs_are_an_error(llmeval: Command, workspace: Path) -> None:
    (workspace / "results").mkdir()
    record(workspace / "results", "a", {"s": [1.0]}, status="interrupted")
    ended = llmeval("leaderboard")
    assert ended.code == 2
    assert "no run is complete" in ended.err


def test_results_of_lm_eval_stand_beside_runs(llmeval: Command, results: Path) -> None:
    values = right(0.5, 50)
    lines = [sample(i, value) for i, value in enumerate(values)]
    write_lm_eval(Path("theirs"), {"s": scored("s", values)}, {"s": lines})
    out = llmeval("leaderboard", "results", "theirs", "--tasks", "s").out
    assert "org/model (lm-eval)" in out


def test_results_of_lm_eval_become_records(llmeval: Command, results: Path) -> None:
    write_lm_eval(Path("theirs"), {"s": scored("s", [1.0, 0.0])}, {})
    ended = llmeval("runs", "import", "theirs")
    run_id, model, task = ended.out.split()
    assert (ended.code, model, task) == (0, "org/model", "s")
    assert "no samples of s" in ended.err
    assert (results / run_id / "manifest.json").is_file()
    assert run_id in llmeval("runs", "ls").out
    assert "0.500" in llmeval("runs", "show", run_id).out
    assert llmeval("runs", "import", "results").code == 2
