"""``llmeval run --resume`` goes on with the command of a run, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.cli.resume import find_command, without_resume
from llmeval.core import UsageError
from llmeval.runs.unfinished import note_run
from tests.cli.conftest import Command


def record(folder: Path, run_id: str, status: Any, started: str, command: Any) -> Path:
    """Write a manifest."""
    path = folder / run_id / "manifest.json"
    path.parent.mkdir(parents=True)
    manifest = {"run_id": run_id, "status": status, "started": started, "command": command}
    path.write_text(json.dumps(manifest))
    return path


@pytest.fixture
def results(workspace: Path) -> Path:
    return workspace / "results"


# -- which command ---------------------------------------------------------------------------


def test_the_newest_run_that_has_not_ended_goes_on(results: Path) -> None:
    record(results, "old", "interrupted", "2026-01-01T10:00:00+00:00", ["old"])
    record(results, "newer", "invalid", "2026-01-02T10:00:00+00:00", ["newer"])
    record(results, "done", "complete", "2026-01-03T10:00:00+00:00", ["done"])
    assert find_command("") == ["newer"]


def test_a_newer_night_of_regress_is_left_to_its_own_command(results: Path) -> None:
    record(results, "run", "interrupted", "2026-01-01T10:00:00+00:00", ["run"])
    record(results, "night", "interrupted", "2026-01-02T10:00:00+00:00", None)
    assert find_command("") == ["run"]


def test_a_run_may_be_named(results: Path) -> None:
    record(results, "one", "interrupted", "2026-01-01T10:00:00+00:00", ["-m", "x", "-t", "a"])
    record(results, "two", "interrupted", "2026-01-02T10:00:00+00:00", ["two"])
    assert find_command("one") == ["-m", "x", "-t", "a"]


def test_nothing_to_go_on_with_is_one_line(results: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: .*results: no run that has not ended"):
        find_command("")
    record(results, "done", "complete", "2026-01-03T10:00:00+00:00", ["done"])
    with pytest.raises(UsageError, match="no run that has not ended"):
        find_command("")
    with pytest.raises(UsageError, match="no run other"):
        find_command("other")


@pytest.mark.parametrize("command", [None, "a text", 3])
def test_a_run_that_was_not_begun_on_the_command_line_is_said(results: Path, command: Any) -> None:
    record(results, "api", "interrupted", "2026-01-01T10:00:00+00:00", command)
    with pytest.raises(UsageError, match=r"--resume: api: .*does not hold a command"):
        find_command("")


def test_what_is_no_record_is_passed_over(results: Path) -> None:
    record(results, "good", "interrupted", "2026-01-01T10:00:00+00:00", ["good"])
    for name, content in (("text", b"not json"), ("list", b"[1]"), ("bytes", b"\xff"), ("e", b"")):
        folder = results / name
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
    (results / "file").write_text("x")
    assert find_command("") == ["good"]


def test_the_workspaces_results_are_looked_through_from_elsewhere(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(workspace / "results", "one", "interrupted", "2026-01-01T10:00:00+00:00", ["one"])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("LLMEVAL_HOME", str(workspace))
    assert find_command("") == ["one"]


# -- what else was said ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_words", "kept"),
    [
        (["--resume"], []),
        (["--resume", "id"], []),
        (["--resume=id"], []),
        (["--resume", "--max-usd", "5"], ["--max-usd", "5"]),
        (["--resume", "id", "--max-usd", "5"], ["--max-usd", "5"]),
        (["--max-usd", "5", "--resume"], ["--max-usd", "5"]),
        (["--max-usd", "5", "--resume", "id", "--json"], ["--max-usd", "5", "--json"]),
        (["--json"], ["--json"]),
        ([], []),
    ],
)
def test_other_options_stay(given_words: list[str], kept: list[str]) -> None:
    assert without_resume(given_words) == kept


words = st.lists(st.sampled_from(["--json", "--max-usd=5", "-q", "--limit=3"]), max_size=4)


@given(words, st.sampled_from([["--resume"], ["--resume", "id"], ["--resume=id"]]), words)
def test_wherever_it_stands_the_others_stay(
    before: list[str], resume: list[str], behind: list[str]
) -> None:
    given_words = [*before, *resume, *behind]
    assert without_resume(given_words) == before + behind
    assert given_words == [*before, *resume, *behind]  # what was given is left as it was


# -- on the command line ---------------------------------------------------------------------


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("*/manifest.json")]
    return {manifest["run_id"]: manifest for manifest in found}


def break_off(folder: Path, run_id: str) -> None:
    """Let a record say that its run was interrupted."""
    path = folder / run_id / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "interrupted"}))


def test_a_record_holds_its_command_and_resume_gives_it_again(
    llmeval: Command, results: Path
) -> None:
    command = ("-m", "baseline:random", "-t", "colours", "--limit", "3", "-q")
    assert llmeval("run", *command).code == 0
    ((run_id, manifest),) = manifests(results).items()
    assert manifest["command"] == list(command)
    break_off(results, run_id)
    ended = llmeval("run", "--resume", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["tasks"]["colours"]["n"] == 3
    again = [m for name, m in manifests(results).items() if name != run_id]
    assert [m["command"] for m in again] == [[*command, "--json"]]


def test_nothing_to_resume_ends_with_2_and_one_line(llmeval: Command, results: Path) -> None:
    ended = llmeval("run", "--resume")
    assert ended.code == 2
    assert "no run that has not ended" in ended.error
    assert ended.out == ""


@pytest.mark.parametrize("again", [["--resume", "--out", "elsewhere"], ["--resume"]])
def test_a_run_with_its_record_elsewhere_goes_on_as_well(
    llmeval: Command, workspace: Path, again: list[str]
) -> None:
    command = ("-m", "baseline:random", "-t", "colours", "--out", "elsewhere", "-q")
    assert llmeval("run", *command).code == 0
    ((run_id, _),) = manifests(workspace / "elsewhere").items()
    break_off(workspace / "elsewhere", run_id)
    note_run(workspace, run_id, workspace / "elsewhere" / run_id)  # as a killed run leaves it
    assert llmeval("run", *again).code == 0
