"""``tasks``, ``models``, ``init``, ``data`` and ``doctor``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from llmeval.doctor import Check
from tests.cli.conftest import Command


def test_tasks_ls_finds_part_of_a_name_in_any_case(llmeval: Command) -> None:
    ended = llmeval("tasks", "ls", "Colour")
    assert ended.out.split() == ["colours", "choice", "workspace"]


def test_tasks_ls_takes_a_pattern(llmeval: Command) -> None:
    names = [line.split()[0] for line in llmeval("tasks", "ls", "pocket_*u").out.splitlines()]
    assert names == ["pocket_mmlu"]


def test_tasks_ls_as_json_lines(llmeval: Command) -> None:
    (line,) = llmeval("tasks", "ls", "colours", "--json").out.splitlines()
    assert json.loads(line) == {
        "name": "colours",
        "kind": "choice",
        "source": "workspace",
        "about": "",
    }


def test_a_malformed_file_is_listed_as_such(llmeval: Command, workspace: Path) -> None:
    (workspace / "tasks" / "broken.yaml").write_text(": [")
    (line,) = llmeval("tasks", "ls", "broken").out.splitlines()
    assert line.split()[:3] == ["broken", "malformed", "workspace"]
    assert "broken.yaml:1: not YAML" in line


def test_tasks_show_prints_the_file(llmeval: Command, workspace: Path) -> None:
    text = (workspace / "tasks" / "colours.yaml").read_text()
    assert llmeval("tasks", "show", "colours").out == text


def test_models_say_which_are_ready(llmeval: Command) -> None:
    rows = {line.split()[0]: line.split()[1] for line in llmeval("models").out.splitlines()}
    assert rows["baseline:random"] == "ready"
    assert rows["openai:MODEL"] == "ready"


def test_the_commands_that_init_prints_work(
    llmeval: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *files, now = llmeval("init", "my evals").out.splitlines()
    assert all((workspace / name).is_file() for name in files)
    cd, folder, both, *command = shlex.split(now.removeprefix("now: "))
    assert (cd, both, command[0]) == ("cd", "&&", "llmeval")
    monkeypatch.chdir(folder)
    ended = llmeval(*command[1:], "-m", "baseline:oracle", "--json")
    assert json.loads(ended.out)["tasks"]["my_first_task"]["n"] == 3


def test_init_overwrites_nothing(llmeval: Command) -> None:
    llmeval("init", "evals")
    ended = llmeval("init", "evals")
    assert ended.code == 2
    assert "there is a tasks/my_first_task.yaml already" in ended.error


@pytest.fixture
def rows(workspace: Path) -> tuple[str, str]:
    (workspace / "old.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    (workspace / "new.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": "z"}\n{"a": 3}\n')
    return "old.jsonl", "new.jsonl"


def test_data_diff_tells_rows_apart(llmeval: Command, rows: tuple[str, str]) -> None:
    assert llmeval("data", "diff", rows[0], rows[0]).code == 0
    ended = llmeval("data", "diff", *rows)
    assert ended.code == 3
    assert "2 -> 3 rows; 1 added, 0 removed, 1 changed, 1 unchanged" in ended.out


def test_data_verify_guards_the_mirror(llmeval: Command, rows: tuple[str, str]) -> None:
    added = llmeval("data", "add", rows[0], "--as", "me/rows", "--data", "mirror")
    assert "me/rows  default  train  2 rows" in added.out
    assert llmeval("data", "ls", "--data", "mirror").out == added.out
    assert llmeval("data", "verify", "--data", "mirror").code == 0
    (file,) = Path("mirror").rglob("*.parquet")
    file.write_bytes(b"not parquet")
    ended = llmeval("data", "verify", "--data", "mirror")
    assert ended.code == 3
    assert ended.out.startswith("corrupt")
    assert ended.error == "llmeval: 1 of 1 splits are not as recorded"


def test_missing_data_say_how_to_get_them(
    llmeval: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "no-cache-here")
    ended = llmeval("data", "add", "nobody/nothing", "--data", "mirror")
    assert ended.code == 2
    assert "llmeval data add nobody/nothing --data DIR" in ended.error


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 3)])
def test_the_doctors_findings_are_the_exit_code(
    llmeval: Command, monkeypatch: pytest.MonkeyPatch, ok: bool, code: int
) -> None:
    checks = [Check("hub", None, "told"), Check("probe", ok, "7 of 8")]
    monkeypatch.setattr("llmeval.doctor.examine", lambda *_, **__: iter(checks))
    ended = llmeval("doctor")
    assert ended.code == code
    assert ended.out.splitlines()[:2] == [
        "     hub: told",
        f"{'ok  ' if ok else 'FAIL'} probe: 7 of 8",
    ]
    assert ("do not trust this installation's numbers yet" in ended.err) is not ok
