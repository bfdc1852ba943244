"""``llmeval slices`` as a person uses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.records import Item, write_record


@pytest.fixture
def results(workspace: Path) -> Path:
    folder = workspace / "results"
    for name, shift in (("one", 0), ("two", 1)):
        items = [
            Item(
                f"q{i}",
                {"acc": int((i + shift) % 3 > 0), "f1": 0.5},
                metadata={"kind": "\x1b[31mred" if i % 2 else "blue"},
            )
            for i in range(40)
        ]
        write_record(folder / name, {"t": items}, model=name)
    return folder


def test_one_run_by_all_of_its_keys(llmeval: Command, results: Path) -> None:
    ended = llmeval("slices", "one")
    assert (ended.code, ended.err) == (0, "")
    assert "t: acc ↑ by kind" in ended.out
    assert re.search(r"^blue +20 +20 +0\.\d{3} +0\.\d{3} … 0\.\d{3}$", ended.out, re.MULTILINE)
    assert "\x1b" not in ended.out


def test_two_runs_side_by_side(llmeval: Command, results: Path) -> None:
    ended = llmeval("slices", "one", "two", "--key", "kind")
    assert ended.code == 0
    assert re.search(r"^blue +acc ↑ +20 ", ended.out, re.MULTILINE)
    assert "p is adjusted by Holm over the slices of one table" in ended.out


def test_markdown(llmeval: Command, results: Path) -> None:
    one = llmeval("slices", "one", "--markdown")
    assert (one.code, one.err) == (0, "")
    assert "### t: acc ↑ by kind" in one.out
    assert re.search(r"^\| blue \| 20 \| 20 \| 0\.\d{3} \|", one.out, re.MULTILINE)
    two = llmeval("slices", "one", "two", "--markdown").out
    assert "| kind | metric | n | one | two | difference | p (Holm) |" in two
    assert re.search(r"^\| blue \| acc ↑ \| 20 \|", two, re.MULTILINE)
    assert "\x1b" not in one.out + two


def test_json(llmeval: Command, results: Path) -> None:
    one = json.loads(llmeval("slices", "one", "--metric", "f1", "--json").out)
    assert (one["kind"], [cut["metric"] for cut in one["cuts"]]) == ("slices", ["f1"])
    assert one["cuts"][0]["slices"][0]["estimate"]["value"] == 0.5
    two = json.loads(llmeval("slices", "one", "two", "--all-metrics", "--json").out)
    assert two["kind"] == "slice comparison"
    assert [cut["metric"] for cut in two["cuts"]] == ["acc", "f1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: RUN"),
        (("three",), "no such run"),
        (("one", "--key", "language"), "no task has metadata named 'language'"),
        (("one", "-t", "u"), "no such task in the runs: 'u'"),
        (("one", "one"), "named twice"),
        (("one", "-t", ","), "no task was named"),
    ],
)
def test_wrong_use_is_one_line(
    llmeval: Command, results: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = llmeval("slices", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.error
