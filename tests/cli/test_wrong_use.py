"""Wrong use ends with one line that says what, where and how to mend it, and exit code 2."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from llmeval.cli import run as run_verb
from tests.cli.conftest import Command

RUN = ("run", "-m", "baseline:random", "-t", "colours")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dokter"], "unknown verb 'dokter' (did you mean doctor?"),
        (["--jsn"], "unknown option --jsn"),
        (["run"], "-m: no model was named"),
        (["run", "-m", "pocket"], "-t: no task was named"),
        (["run", "-m", "pocket", "-t", " , ,"], "-t: no task was named"),
        (["run", "-m", "baseline:random", "-t", "colors"], "did you mean colours"),
        (["run", "-m", "baseline:rand", "-t", "colours"], "did you mean random?"),
        (["run", "-m", "hf:/no/such", "-t", "colours"], "there is no folder /no/such"),
        (["run", "-t", "colours", "-m", "x", "--limti", "3"], "did you mean --limit?"),
        (["run", "-m", "x", "-t", "a", "b"], "unexpected 'b' (a run file ends with .yaml"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        ([*RUN, "--limit", "0.1"], "a share of them is not taken"),
        ([*RUN, "--limit", "many"], "'many' is no number of samples"),
        ([*RUN, "--limit", "0"], "--limit: must be at least 1"),
        ([*RUN, "--num-fewshot", "-1"], "--num-fewshot: must be at least 0"),
        ([*RUN, "--max-errors", "nan"], "--max-errors: must be a number between 0 and 1"),
        ([*RUN, "--gen-kwargs", "a"], "--gen-kwargs: 'a' is not name=value"),
        ([*RUN, "--gen-kwargs", "a=["], "lists and texts with commas go into JSON"),
        ([*RUN, "--gen-kwargs", "{a"], "--gen-kwargs: not JSON"),
        ([*RUN, "--dtype", "int3"], "one of auto, float32"),
        ([*RUN, "--apply_chat_template", "chatml"], "goes to --chat-template"),
        ([*RUN, "--data", "nowhere"], "--data: no such folder: nowhere"),
        ([*RUN, "--use_cache", "x"], "lm-eval's --use_cache is not taken here"),
        (["tasks", "show", "colors"], "did you mean colours"),
        (["data", "ls"], "--data: no mirror was named"),
        (["init"], "DIR (see `llmeval init --help`)"),
        (["doctor", "-m", "baseline:oracle", "-q"], "unknown option -q"),
    ],
)
def test_wrong_use_is_one_line(llmeval: Command, arguments: list[str], says: str) -> None:
    ended = llmeval(*arguments)
    assert ended.code == 2
    assert says in ended.error
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments", [["run"], ["tasks"], ["models"], ["data"], ["init"], ["doctor"], []]
)
def test_every_help_has_examples(llmeval: Command, arguments: list[str]) -> None:
    ended = llmeval(*arguments, "--help")
    assert ended.code == 0
    examples = re.split(r"^examples?:$", ended.out, flags=re.MULTILINE)[1]
    assert "  llmeval " in examples


def test_a_malformed_task_names_its_line_and_the_mend(llmeval: Command, workspace: Path) -> None:
    path = workspace / "tasks" / "colours.yaml"
    path.write_text(path.read_text().replace("choices:", "choises:"))
    ended = llmeval(*RUN)
    assert ended.code == 2
    assert "colours.yaml:6: field 'choises': unknown field" in ended.error
    assert "did you mean 'choices'?" in ended.error


def test_a_file_in_the_place_of_the_results_folder(llmeval: Command, workspace: Path) -> None:
    (workspace / "taken").write_text("")
    ended = llmeval(*RUN, "--out", "taken/results")
    assert ended.code == 2
    assert "a file stands where a folder is needed; choose another with --out" in ended.error


def test_a_journal_of_a_newer_version(llmeval: Command, workspace: Path) -> None:
    assert llmeval(*RUN).code == 0
    with sqlite3.connect(workspace / ".llmeval" / "journal.sqlite") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    ended = llmeval(*RUN)
    assert ended.code == 2
    assert "use the newer llmeval, or set LLMEVAL_HOME to another workspace" in ended.error


def test_a_fault_of_ours_keeps_its_traceback_in_a_file(
    llmeval: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def break_down(*arguments: object) -> None:
        raise KeyError("an\nodd \x1b[31m name")

    monkeypatch.setattr(run_verb, "_make_spec", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = llmeval(*RUN)
    assert ended.code == 1
    assert "a fault of llmeval itself: KeyError" in ended.error
    assert "\x1b" not in ended.error
    (kept,) = tmp_path.glob("llmeval-fault-*.txt")
    assert str(kept) in ended.error
    assert "break_down" in kept.read_text()
