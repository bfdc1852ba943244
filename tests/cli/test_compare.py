"""``llmeval compare`` as a person uses it: records of real runs, names, files, exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

import pytest

from llmeval.core import Score
from tests.cli.conftest import Command, start
from tests.support.records import Item, items_of, write_record

A = [1] * 40 + [1] * 18 + [0] * 2 + [0] * 40
B = [1] * 40 + [0] * 18 + [1] * 2 + [0] * 40
LOST = Score("acc", status="errored", reason="the server left")


@pytest.fixture
def results(workspace: Path) -> Path:
    """The folder of records, with a baseline and one that is worse."""
    folder = workspace / "results"
    write_record(folder / "20260101-000000-good", {"t": items_of(A)}, model="good")
    write_record(folder / "20260102-000000-bad", {"t": items_of(B)}, model="bad")
    return folder


def test_real_runs_of_baselines(llmeval: Command) -> None:
    runs: list[str] = []
    for model in ("baseline:random", "baseline:oracle"):
        assert llmeval("run", "-m", model, "-t", "colours", "--quiet").code == 0
        runs.append(last_run(runs))
    ended = llmeval("compare", *runs)
    assert ended.code == 0 and ended.err == ""
    assert "baseline:oracle against baseline:random: " in ended.out
    assert re.search(r"^colours +acc ↑ +8 ", ended.out, re.MULTILINE)


def last_run(known: Collection[str] = ()) -> str:
    """The id of the run that is not yet known: runs of one second have no order."""
    (name,) = {path.name for path in Path("results").iterdir()} - set(known)
    return name


def test_shots_that_differ_are_refused_before_anything_is_computed(llmeval: Command) -> None:
    run = ("run", "-m", "baseline:random", "-t", "pocket_mmlu", "--quiet", "--limit", "40")
    names: list[str] = []
    for shots in ("0", "2"):
        assert llmeval(*run, "--num-fewshot", shots).code == 0
        names.append(last_run(names))
    ended = llmeval("compare", *names)
    assert (ended.code, ended.out) == (2, "")
    assert "0-shot against 2-shot (pocket_mmlu)" in ended.error
    assert "--across-forms" in ended.error and all(name in ended.error for name in names)
    assert "* asked in different forms" in llmeval("compare", *names, "--across-forms").out


def test_names_are_ids_beginnings_paths_and_latest(llmeval: Command, results: Path) -> None:
    expected = llmeval("compare", "20260101-000000-good", "20260102-000000-bad").out
    assert "bad against good: worse in 1 of 1 task" in expected
    assert llmeval("compare", "20260101", "latest").out == expected
    path = str(results / "20260101-000000-good")
    assert llmeval("compare", path, "20260102", "-o", "results").out == expected


def test_a_run_without_an_answer_yet_is_continued_not_compared(
    llmeval: Command, results: Path
) -> None:
    write_record(results / "begun", {"t": []}, model="begun", status="interrupted")
    ended = llmeval("compare", "20260101", "begun", "--partial")
    assert ended.code == 2
    assert "begun: the run was interrupted before its first item was done" in ended.error
    assert "give its command again" in ended.error and "--partial" not in ended.error


def test_a_page_goes_to_a_file(llmeval: Command, results: Path) -> None:
    ended = llmeval("compare", "20260101", "20260102", "--html", "-")
    assert (ended.code, ended.out) == (2, "")
    assert "-: a report is written to a file" in ended.error
    assert not Path("-").exists()


def test_tasks_are_named_by_patterns(llmeval: Command, workspace: Path) -> None:
    for name in ("one", "two"):
        tasks = {"good_a": items_of(A), "good_b": items_of(A), "other": items_of(B)}
        if name == "two":
            tasks["good_new"] = items_of(B)
        write_record(workspace / "results" / name, tasks, model=name)
    told = llmeval("compare", "one", "two", "-t", "good_*", "--flips", "0").out
    assert set(re.findall(r"^(good_\w+|other) ", told, re.MULTILINE)) == {"good_a", "good_b"}
    ended = llmeval("compare", "one", "two", "-t", "bad_*")
    assert ended.code == 2
    assert "no such task in the runs: 'bad_*'" in ended.error


def test_a_gate_fails_when_the_challenger_is_worse(llmeval: Command, results: Path) -> None:
    ended = llmeval("compare", "20260101", "20260102", "--fail-on-worse")
    assert ended.code == 3
    assert "worse than the baseline: bad: t acc" in ended.error
    assert "bad against good" in ended.out
    assert llmeval("compare", "20260102", "20260101", "--fail-on-worse").code == 0


def test_a_gate_does_not_pass_what_was_not_tested(llmeval: Command, results: Path) -> None:
    few, none = items_of([1] * 4), [Item(f"q{i}", {"acc": LOST}) for i in range(9)]
    write_record(results / "few", {"t": few, "u": few}, model="few")
    write_record(results / "part", {"t": items_of(A), "u": none}, model="part")
    ended = llmeval("compare", "few", "part", "--fail-on-worse")
    assert ended.code == 4
    assert "nothing could be tested of part" in ended.error
    write_record(results / "whole", {"t": items_of(A), "u": few}, model="whole")
    ended = llmeval("compare", "whole", "part", "--fail-on-worse")
    assert ended.code == 0
    assert ended.err == "--fail-on-worse: not tested: part: u acc\n"


def test_json_and_markdown_stand_alone_on_stdout(llmeval: Command, results: Path) -> None:
    ended = llmeval("compare", "20260101", "20260102", "--json", "--html", "out/page.html")
    told = json.loads(ended.out)
    assert told["challengers"][0]["rows"][0]["verdict"] == "worse"
    assert re.fullmatch(r"llmeval: wrote out/page\.html \(\d+\.\d kB\)\n", ended.err)
    assert "<title>bad against good</title>" in Path("out/page.html").read_text()
    markdown = llmeval("compare", "20260101", "20260102", "--markdown").out
    assert markdown.startswith("### bad against good: worse in 1 of 1 task\n")
    assert "| **worse** |" in markdown


def test_flips_are_as_many_as_asked_for(llmeval: Command, results: Path) -> None:
    def count(*options: str) -> int:
        return llmeval("compare", "20260101", "20260102", *options).out.count("    asked ")

    assert (count(), count("--flips", "0"), count("--flips", "3")) == (2, 0, 5)
    told = llmeval("compare", "20260101", "20260102", "--json", "--flips", "1").out
    assert len(json.loads(told)["challengers"][0]["rows"][0]["flips"]["examples"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("20260101",), "the following arguments are required: B"),
        (("20260101", "nothing"), "nothing: no such run"),
        (("2026", "20260101"), "2 runs begin so"),
        (("20260101", "20260101"), "the same run is named twice"),
        (("20260101", "20260102", "--metric", "f1"), "no such metric in the runs: 'f1'"),
        (("20260101", "20260102", "-t", "u"), "no such task in the runs: 'u'"),
        (("20260101", "20260102", "-t", ","), "no task was named"),
        (("20260101", "20260102", "--flips", "-1"), "must be 0 or more"),
        (("20260101", "20260102", "--json", "--markdown"), "not allowed with"),
        (("20260101", "20260102", "--metric", "acc", "--all-metrics"), "not allowed with"),
    ],
)
def test_wrong_use_is_one_line(
    llmeval: Command, results: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = llmeval("compare", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.error


def test_a_record_without_scores_says_so(llmeval: Command, results: Path) -> None:
    (results / "20260102-000000-bad" / "scores.parquet").unlink()
    ended = llmeval("compare", "20260101", "20260102")
    assert ended.code == 2
    assert "20260102-000000-bad: the record has no scores.parquet" in ended.error


def test_a_broken_table_says_which(llmeval: Command, results: Path) -> None:
    for name in ("scores.parquet", "samples.parquet"):
        path = results / "20260102-000000-bad" / name
        kept = path.read_bytes()
        path.write_bytes(b"no parquet")
        ended = llmeval("compare", "20260101", "20260102")
        assert ended.code == 2 and "20260102-000000-bad" in ended.error
        path.write_bytes(kept)


def test_a_page_that_cannot_be_written_is_one_line(llmeval: Command, results: Path) -> None:
    Path("file").touch()
    ended = llmeval("compare", "20260101", "20260102", "--html", "file/page.html")
    assert (ended.code, ended.out) == (2, "")
    assert "the report cannot be written" in ended.error


def test_a_terminal_without_the_symbols_still_gets_a_table(results: Path) -> None:
    ended = start("compare", "20260101", "20260102", env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0
    assert b"acc ^" in ended.stdout and b"0.482 .. 0.672" in ended.stdout
