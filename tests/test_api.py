"""The Python API: ``llmeval.run`` with names and objects, and ``llmeval.load_run``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import llmeval
import llmeval.runs
from llmeval.core import UsageError
from tests.support.fakes import FakeModel, FakeTask

TASK = """\
task: parity
type: choice
version: "1"
data: {path: parity.jsonl}
prompt: "{{n}} is"
choices: [even, odd]
answer: "{{n % 2}}"
id: n
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMEVAL_HOME", raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "parity.yaml").write_text(TASK)
    rows = "".join(json.dumps({"n": n}) + "\n" for n in range(10))
    (tmp_path / "tasks" / "parity.jsonl").write_text(rows)
    return tmp_path


@pytest.mark.usefixtures("workspace")
def test_names_as_on_the_command_line() -> None:
    run = llmeval.run("baseline:oracle", "parity", limit=6)
    acc = run.summary["tasks"]["parity"]["metrics"]["acc"]
    assert (acc["value"], acc["n"], acc["chance"]) == (1.0, 6, 0.5)
    assert run.status == "complete"


def test_model_and_task_objects(workspace: Path) -> None:
    run = llmeval.run(FakeModel(), [FakeTask("a", 5), "parity"], out=workspace / "elsewhere")
    assert list(run.summary["tasks"]) == ["a", "parity"]
    assert run.path.parent == workspace / "elsewhere"
    assert run.manifest["model"]["name"] == "fake"


def test_one_task_object_needs_no_list(workspace: Path) -> None:
    run = llmeval.run(FakeModel(), FakeTask("a", 5), workspace=workspace / "home")
    assert run.summary["tasks"]["a"]["n"] == 5
    assert (workspace / "home" / ".llmeval" / "journal.sqlite").is_file()


@pytest.mark.usefixtures("workspace")
def test_a_loaded_run_is_the_run_that_was_made() -> None:
    made = llmeval.run("baseline:oracle", ["parity"])
    loaded = llmeval.load_run(made.path)
    assert loaded.id == made.id
    assert loaded.summary == made.summary
    assert loaded.samples.equals(made.samples)


@pytest.mark.usefixtures("workspace")
def test_samples_and_scores_as_pandas() -> None:
    run = llmeval.run("baseline:oracle", ["parity"])
    samples = run.samples.to_pandas()
    assert list(samples["sample_id"]) == [str(n) for n in range(10)]
    assert samples["prompt"][3] == "3 is"
    scores = run.scores.to_pandas()
    acc = scores[scores["metric"] == "acc"]
    assert acc["value"].mean() == 1.0
    assert set(acc["status"]) == {"scored"}


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    ("model", "task", "more", "says"),
    [
        ("baseline:oracle", "party", {}, "did you mean parity"),
        ("nothing", "parity", {}, "unknown model 'nothing'"),
        ("baseline:oracle", "parity", {"shots": 3}, "unknown option 'shots'"),
        ("baseline:oracle", "parity", {"limit": 0}, "--limit"),
        ("baseline:oracle", "parity", {"model_settings": {"dtpye": "x"}}, "did you mean dtype"),
        ("baseline:oracle", [], {}, "no task was named"),
    ],
)
def test_wrong_arguments_are_explained(
    model: str, task: str, more: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        llmeval.run(model, task, **more)  # type: ignore[arg-type]


def test_a_folder_without_a_record_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run record here"):
        llmeval.load_run(tmp_path)


def test_importing_llmeval_is_cheap() -> None:
    heavy = "torch", "transformers", "datasets", "lm_eval", "pandas", "pyarrow", "numpy", "pydantic"
    code = f"import sys, llmeval; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("workspace")
def test_runs_inside_a_notebook_where_an_event_loop_is_running() -> None:
    async def cell() -> llmeval.runs.Run:
        return llmeval.run(FakeModel(), "parity", limit=3)

    assert asyncio.run(cell()).status == "complete"


@pytest.mark.usefixtures("workspace")
def test_a_chat_template_is_asked_of_a_model_without_one() -> None:
    model = FakeModel()
    model.capabilities = frozenset({"loglikelihood"})
    with pytest.raises(UsageError, match="--apply-chat-template: fake has no chat template"):
        llmeval.run(model, "parity", apply_chat_template=True)
