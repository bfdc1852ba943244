"""A workspace with a task that needs no torch, and the command line in this process or another."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmeval.cli import main

TASK = """\
task: colours
type: choice
version: "1"
data: {path: colours.jsonl}
prompt: "{{question}}"
choices: "{{choices}}"
answer: "{{answer}}"
id: id
"""


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """A verb sets up logging for its process; here many verbs share one."""
    log = logging.getLogger("llmeval")
    before = (log.handlers[:], log.level, log.propagate)
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a workspace whose task ``colours`` has eight questions."""
    monkeypatch.chdir(tmp_path)
    for name in ("LLMEVAL_HOME", "LLMEVAL_DATA", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "colours.yaml").write_text(TASK)
    rows = [
        {"id": str(i), "question": f"Which is {i}?", "choices": ["a", "bb", "ccc"], "answer": i % 3}
        for i in range(8)
    ]
    (tasks / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line, which says what is wrong; those before it say what was begun."""
        *before, last = self.err.splitlines()
        assert all(line.startswith("llmeval: ") for line in before)
        return last


class Command:
    """The command line in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        code = main(arguments)
        out, err = self._capture.readouterr()
        return Ended(code, out, err)


@pytest.fixture
def llmeval(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def start(
    *arguments: str, shell: str = "{}", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a process of its own; ``shell`` may wrap it in redirections."""
    command = shell.format(" ".join([sys.executable, "-m", "llmeval", *arguments]))
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root, **(env or {})},
        timeout=120,
        check=False,
    )
