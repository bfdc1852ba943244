"""A workspace with four-choice questions that a chat answers with one letter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.shared import ROOT

_TASK = """\
task: four
type: generate
version: "1"
data: {path: four.jsonl}
prompt: |-
  Question {{id}}: {{question}}
  A. one
  B. two
  C. three
  D. four
  Answer with one letter.
answer: "{{answer}}"
max_tokens: 8
scorers: [letter]
id: id
"""


def make_workspace(folder: Path, n: int) -> Path:
    """Write the task ``four`` with ``n`` questions."""
    tasks = folder / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "four.yaml").write_text(_TASK)
    with (tasks / "four.jsonl").open("w") as file:
        for i in range(n):
            row = {
                "id": str(i),
                "question": f"what is {i * 7919 % 104729}?",
                "answer": "ABCD"[i % 4],
            }
            file.write(json.dumps(row) + "\n")
    return folder


def command(url: str, *more: str) -> list[str]:
    """Return the command that runs the task on a chat server."""
    return [
        *(sys.executable, "-m", "llmeval", "run", "-m", "openai:mock-model", "-t", "four"),
        *("--base-url", url, "-a", "api=chat,identity=mock,timeout=20", "--quiet", "--json", *more),
    ]


def start(
    workspace: Path, url: str, *more: str, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    return subprocess.Popen(
        command(url, *more),
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
