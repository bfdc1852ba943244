"""``llmeval rerun`` on the command line: verdicts in words, in JSON, and as exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.manifests import write_manifest


@pytest.fixture
def run_id(llmeval: Command, workspace: Path) -> str:
    command = ("run", "-m", "baseline:random", "-t", "colours", "--limit", "6", "-q")
    assert llmeval(*command).code == 0
    (record,) = (workspace / "results").iterdir()
    return record.name


def test_the_same_is_byte_identical_and_0(llmeval: Command, run_id: str) -> None:
    ended = llmeval("rerun", "latest")
    assert ended.code == 0
    first, second, *_ = ended.out.splitlines()
    assert first.endswith(f" re-creates {run_id}")
    assert second == ("byte-identical: answers and scores of all 6 items are equal to the last bit")


def test_what_differs_is_named_and_3(llmeval: Command, run_id: str, workspace: Path) -> None:
    task = workspace / "tasks" / "colours.yaml"
    task.write_text(task.read_text().replace('"{{question}}"', '"Q: {{question}}"'))
    ended = llmeval("rerun", run_id)
    assert ended.code == 3
    assert "different: 6 of 6 items changed" in ended.out
    assert "  6 items were asked in other words: colours 0, colours 1" in ended.out
    assert "colours.config.prompt" in ended.out
    told = json.loads(llmeval("rerun", run_id, "--json").out)
    assert told["verdict"] == "different"
    assert {one["name"] for one in told["differences"]} >= {"colours.config.prompt"}


def test_another_seed_is_named(llmeval: Command, run_id: str) -> None:
    ended = llmeval("rerun", run_id, "-a", "seed=9", "-q")
    assert ended.code == 3
    assert ended.err == ""
    assert ["seed", "0", "9"] in [line.split() for line in ended.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "RUN"),
        (("nothing",), "no such run"),
        (("latest", "--epsilon", "-1"), "--epsilon"),
        (("latest", "-a", "sede=3"), "sede"),
        (("latest", "-a", "text"), "name=value"),
        (("latest", "--records", "absent"), "no such run"),
        (("latest", "--model", "x"), "--model"),
    ],
)
def test_wrong_use_is_one_line(
    llmeval: Command, run_id: str, words: tuple[str, ...], said: str
) -> None:
    ended = llmeval("rerun", *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.error


def test_a_manifest_of_an_older_llmeval_is_one_line(llmeval: Command, workspace: Path) -> None:
    write_manifest(workspace / "results", "20260101-000000-pocket-aaaa")
    ended = llmeval("rerun", "latest")
    assert ended.code == 2
    assert "its manifest does not say what was asked" in ended.error
    assert "once more" not in ended.err
