"""A workspace with a nightly file for a served model that says what it is told to, or drifts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmeval.nightly import Nightly, read_nightly, run_night, set_baselines
from llmeval.reports.regress.night import Night
from tests.support.mock_openai.launch import MockServer, serve
from tests.support.mock_openai.options import Options

LETTERS = """\
task: letters
type: generate
version: "1"
data: {path: letters.jsonl}
prompt: |-
  Question {{id}}: {{question}}
  A. one
  B. two
  C. three
  D. four
  Answer with one letter. [[say:{{said}}]]
answer: "{{answer}}"
max_tokens: 64
scorers: [letter]
id: id
"""

CODE = """\
task: code
type: code
version: "1"
data: {path: code.jsonl}
prompt: "Complete:\\n{{head}}\\n[[say:{{body}}]]"
begins: "{{head}}"
test: test
entry_point: entry_point
max_tokens: 96
id: id
"""


def write_tasks(folder: Path, n: int) -> None:
    """Write the tasks ``letters`` (n questions, nine in ten said right) and ``code`` (ten)."""
    tasks = folder / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    (tasks / "letters.yaml").write_text(LETTERS)
    (tasks / "code.yaml").write_text(CODE)
    questions = [
        {
            "id": f"q{i}",
            "question": f"what is {i * 7919 % 104729}?",
            "answer": "ABCD"[i % 4],
            "said": "ABCD"[(i + (i % 10 == 9)) % 4],
        }
        for i in range(n)
    ]
    programs = [
        {
            "id": f"c{i}",
            "head": f"def add_{i}(x):\n",
            "body": f"    return x + {i}",
            "test": f"def check(candidate):\n    assert candidate(1) == {i + 1}\n",
            "entry_point": f"add_{i}",
        }
        for i in range(40)
    ]
    for name, rows in (("letters", questions), ("code", programs)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tasks / f"{name}.jsonl").write_text(text)


class Job:
    """A nightly job in the working folder; every call of ``night`` is another night."""

    def __init__(self, folder: Path, server: MockServer, pinned: dict[str, Path]) -> None:
        self.folder = folder
        self._pinned = pinned
        self.server = server
        self.path = folder / "nightly.yaml"
        self.out = folder / "results"
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the nightly file anew, its baseline kept."""
        content: dict[str, Any] = {
            "model": "openai:mock-model",
            "model_settings": {
                "base_url": self.server.url,
                "api": "chat",
                "identity": "mock",
                "max_attempts": 2,
            },
            "tasks": ["letters"],
            "tolerance": 0.05,
        }
        if self.path.exists():
            old = yaml.safe_load(self.path.read_text())
            content |= {"baseline": old["baseline"]} if "baseline" in old else {}
        self.path.write_text(yaml.safe_dump({**content, **changes}))

    @property
    def nightly(self) -> Nightly:
        return read_nightly(self.path)

    def night(self, **manner: Any) -> Night:
        """Run another night, after which the server is as it was."""
        self.server.set(**manner)
        try:
            return run_night(self.nightly, out=self.out, fresh=True)
        finally:
            self.server.set(manner="plain", manner_share=1.0, system_fingerprint="fp_mock")

    def pin(self, **manner: Any) -> None:
        """Run a night and pin it, or take the like from another test."""
        wanted = f"{self.path.read_text()} {manner}"
        if (known := self._pinned.get(wanted)) is not None:
            shutil.copytree(known / "results", self.out)
            shutil.copy(known / "nightly.yaml", self.path)
            return
        self.night(**manner)
        set_baselines(self.nightly, "latest", self.out)
        kept = self.folder.with_name(f"{self.folder.name}-pinned")
        shutil.copytree(self.folder, kept)
        self._pinned[wanted] = kept

    def state(self) -> dict[str, Any]:
        path = self.out / "regress" / "nightly" / "state.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture(scope="module")
def shared() -> Iterator[MockServer]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def pinned(shared: MockServer) -> dict[str, Path]:
    """Folders with a baseline, by the nightly file that asked for it."""
    return {}


@pytest.fixture
def job(
    tmp_path: Path,
    shared: MockServer,
    pinned: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    defaults = Options()
    shared.set(**{name: getattr(defaults, name) for name in shared.options})
    shared.reset()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMEVAL_HOME", str(tmp_path))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write_tasks(tmp_path, 200)
    return Job(tmp_path, shared, pinned)
