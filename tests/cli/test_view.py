"""``llmeval view``: where pages go, and what wrong use says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.records import items_of, write_record


@pytest.fixture(autouse=True)
def _results(workspace: Path) -> None:
    for name, value in (("20260101-a", 0.0), ("20260102-b", 1.0)):
        tasks = {"t": items_of([value, 1.0])}
        write_record(workspace / "results" / name, tasks, model=name.split("-")[1])


def test_the_latest_run_becomes_a_file_of_its_name(llmeval: Command, workspace: Path) -> None:
    ended = llmeval("view")
    assert (ended.code, ended.out) == (0, "")
    assert re.fullmatch(r"llmeval: wrote 20260102-b\.html \(\d+\.\d kB\)\n", ended.err)
    assert "<h1>b " in (workspace / "20260102-b.html").read_text()


def test_two_runs_become_one_page_and_three_become_three(llmeval: Command, workspace: Path) -> None:
    assert llmeval("view", "20260101", "latest").code == 0
    assert "What changed" in (workspace / "20260101-a-vs-20260102-b.html").read_text()
    write_record(workspace / "results" / "20260103-c", {"t": items_of([1.0, 1.0])})
    assert llmeval("view", "20260101", "20260102", "20260103").code == 0
    assert len(list(workspace.glob("*.html"))) == 4


def test_a_file_may_be_named_and_is_written_whole(llmeval: Command, workspace: Path) -> None:
    assert llmeval("view", "latest", "--html", "new/page.html").code == 0
    assert [path.name for path in (workspace / "new").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "no such run"),
        (["20260101", "20260101-a"], "named twice"),
        (["--port", "80"], "goes with --serve"),
        (["--serve", "--html", "x.html"], "leave --serve out"),
        (["--serve", "--port", "70000"], "0 to 65535"),
        (["--serve", "--out", "nowhere"], "no such folder"),
        (["--html", "tasks"], "cannot be written"),
    ],
)
def test_wrong_use_is_one_line(llmeval: Command, arguments: list[str], words: str) -> None:
    ended = llmeval("view", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.error


def test_three_runs_do_not_fit_one_file(llmeval: Command, workspace: Path) -> None:
    write_record(workspace / "results" / "20260103-c", {"t": items_of([1.0, 1.0])})
    ended = llmeval("view", "20260101", "20260102", "20260103", "--html", "x.html")
    assert ended.code == 2
    assert "3 runs make a page each" in ended.error


def test_a_page_that_is_refused_leaves_nothing(llmeval: Command, workspace: Path) -> None:
    (workspace / "results" / "20260102-b" / "samples.parquet").unlink()
    assert llmeval("view").code == 2
    assert not [*workspace.glob("*.html"), *workspace.glob("*.partial")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_says_where_it_is_and_ends_on_a_signal(
    workspace: Path, number: signal.Signals
) -> None:
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "llmeval", "view", "--serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        restore_signals=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert b"20260102-b" in answer.read()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
