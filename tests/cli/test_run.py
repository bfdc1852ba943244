"""``llmeval run`` from its options to the table, the JSON and the exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmeval.core import Request
from llmeval.runs import load_run
from tests.cli.conftest import Command
from tests.support.fakes import FakeModel

ORACLE = ("run", "-m", "baseline:oracle", "-t", "colours")


def test_the_table_and_the_record(llmeval: Command, workspace: Path) -> None:
    ended = llmeval(*ORACLE)
    assert ended.code == 0
    *_, last = ended.out.splitlines()
    run = load_run(workspace / last.removeprefix("record: "))
    assert run.status == "complete"
    (row,) = [line for line in ended.out.splitlines() if "acc ↑" in line]
    # Wilson's interval of 8 of 8 is [1 / (1 + 1.96^2 / 8), 1] = [0.676, 1].
    assert " ".join(row.split()) == "colours acc ↑ 1.000 0.676 … 1.000 8 100% 0.333 0"


def test_json_is_the_summary_and_nothing_else(llmeval: Command) -> None:
    ended = llmeval(*ORACLE, "--json")
    summary = json.loads(ended.out)
    (record,) = [x for x in ended.err.splitlines() if x.startswith("llmeval: record: ")]
    path = Path(record.removeprefix("llmeval: record: "))
    assert summary == json.loads((path / "summary.json").read_text())


def test_quiet_says_nothing_but_the_result(llmeval: Command) -> None:
    assert llmeval(*ORACLE, "--quiet").err == ""


def test_out_makes_folders_with_blanks_and_umlauts(llmeval: Command, workspace: Path) -> None:
    assert llmeval(*ORACLE, "--out", "my results/ü/x").code == 0
    (record,) = (workspace / "my results" / "ü" / "x").iterdir()
    assert load_run(record).status == "complete"


def test_llmeval_home_holds_tasks_and_journal(
    llmeval: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = workspace / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("LLMEVAL_HOME", str(workspace))
    assert llmeval(*ORACLE).code == 0
    assert (workspace / ".llmeval" / "journal.sqlite").exists()
    assert [path.name for path in elsewhere.iterdir()] == ["results"]


def test_lm_evals_spelling_asks_the_same(llmeval: Command) -> None:
    ours = llmeval(*ORACLE, "--limit", "3", "--num-fewshot", "1", "--json")
    theirs = llmeval(
        *["run", "--model", "baseline:oracle", "--tasks", "colours, colours,", "--limit", "3.0"],
        *["--num_fewshot", "1", "--seed", "0,1234,1234,1234", "--batch_size", "auto:4", "-s"],
        *["--gen_kwargs", '{"until": ["a,b"]}', "--output_path", "elsewhere", "--device", "cpu"],
        *["--fewshot_as_multiturn", "True", "--system_instruction", "", "--json"],
    )
    assert theirs.code == 0
    a, b = json.loads(ours.out), json.loads(theirs.out)
    assert a["tasks"]["colours"]["metrics"] == b["tasks"]["colours"]["metrics"]
    assert b["tasks"]["colours"]["num_fewshot"] == 1
    assert b["tasks"]["colours"]["n"] == 3


def test_model_args_name_the_model(llmeval: Command) -> None:
    ended = llmeval(
        *["run", "--model", "hf", "--model_args", "pretrained=/no/such,dtype=float32"],
        *["--tasks", "colours"],
    )
    assert "hf:/no/such" in ended.err


def test_options_override_the_run_file(llmeval: Command, workspace: Path) -> None:
    (workspace / "run.yaml").write_text(
        "model: baseline:random\ntasks: [colours]\noptions: {limit: 2, num_fewshot: 1}\n"
        "out: from-file\n"
    )
    ended = llmeval("run", "run.yaml", "--limit", "5", "--json")
    task = json.loads(ended.out)["tasks"]["colours"]
    assert (task["n"], task["num_fewshot"]) == (5, 1)
    assert (workspace / "from-file").is_dir()


def test_suites_and_files_can_be_named(llmeval: Command, workspace: Path) -> None:
    (workspace / "both.yaml").write_text(
        "task: both\ntype: suite\ntasks: [{task: colours, num_fewshot: 1}]\n"
    )
    ended = llmeval("run", "-m", "baseline:oracle", "-t", "both.yaml", "--json")
    assert json.loads(ended.out)["tasks"]["colours"]["num_fewshot"] == 1


def fail(requests: Sequence[Request]) -> None:
    if any("Which is 3?" in str(request.prompt) for request in requests):
        raise RuntimeError("the device is lost")


@pytest.fixture
def poor_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that cannot answer one of the eight questions."""
    model = FakeModel(before=fail, batch=1)
    monkeypatch.setattr("llmeval.preparation.load_model", lambda name, settings: model)


@pytest.mark.usefixtures("poor_model")
def test_what_was_not_scored_is_told_with_its_reason(llmeval: Command) -> None:
    ended = llmeval(*ORACLE, "--max-errors", "0.2")
    assert ended.code == 0
    (row,) = [line for line in ended.out.splitlines() if "acc ↑" in line]
    assert "87.5%" in row
    assert "not scored: colours: 1 of 8: errored: RuntimeError: the device is lost" in ended.out


@pytest.mark.usefixtures("poor_model")
def test_an_invalid_result_is_shown_and_refused(llmeval: Command) -> None:
    ended = llmeval(*ORACLE, "--json")
    assert ended.code == 4
    assert json.loads(ended.out)["status"] == "invalid"
    assert "the result is invalid" in ended.err
