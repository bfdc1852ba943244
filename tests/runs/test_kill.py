"""One real run in a process of its own: killed, interrupted, or beside another one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmeval import load_run
from llmeval.runs import Run
from tests.support.attempts import journaled
from tests.support.shared import ROOT

PATIENCE = 60.0


@contextmanager
def fake_run(workspace: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a run; never leave it behind."""
    workspace.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.support.fake_run", str(workspace), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> Run:
    """Wait for a run to end well and return its record."""
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    return load_run(json.loads(out)["path"])


def asked(workspace: Path) -> list[str]:
    log = workspace / "asked.log"
    return log.read_text().splitlines() if log.exists() else []


def wait_for_questions(process: subprocess.Popen[str], workspace: Path, count: int) -> bool:
    """Wait until so many questions were asked; False where the run ended before."""
    until = time.monotonic() + PATIENCE
    while len(asked(workspace)) < count:
        assert time.monotonic() < until, "the run asks nothing"
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def timeless(run: Run) -> dict[str, Any]:
    """Return everything in a record but its id, its times and the model's figures."""
    unlike = {"run_id", "seconds", "started", "written", "environment", "date", "performance"}
    unlike |= {"total_evaluation_time_seconds"}
    files = {
        name: {
            k: v for k, v in json.loads((run.path / name).read_text()).items() if k not in unlike
        }
        for name in ("summary.json", "manifest.json", "results.json")
    }
    return {**files, "samples": run.samples.to_pylist(), "scores": run.scores.to_pylist()}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with fake_run(tmp_path_factory.mktemp("unbroken")) as process:
        return finish(process)


@pytest.mark.slow
def test_kill_nine_at_random_moments(tmp_path: Path, unbroken: Run) -> None:
    """No answered question is asked again, and the record is that of an unbroken run."""
    moments, total = random.Random(2024), len(asked(unbroken.path.parents[1]))
    kills = 0
    while kills < 6:
        kept = {key.hex() for key in journaled(tmp_path / ".llmeval")}
        before = len(asked(tmp_path))
        with fake_run(tmp_path, "--delay", "0.02") as process:
            wanted = before + moments.randint(1, total // 6)
            if not wait_for_questions(process, tmp_path, wanted):
                break  # it was killed before it journaled so often that it is done by now
            time.sleep(moments.random() * 0.04)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=PATIENCE)
            kills += 1
        assert not kept & set(asked(tmp_path)[before:])
        assert len(list((tmp_path / "results").iterdir())) == 1
    with fake_run(tmp_path) as process:
        resumed = finish(process)
    assert kills >= 4
    assert timeless(resumed) == timeless(unbroken)
    assert resumed.summary["usage"]["requests"] > resumed.summary["usage"]["cached"] > 0


@pytest.mark.slow
def test_ctrl_c_leaves_a_readable_record_and_the_same_command_goes_on(
    tmp_path: Path, unbroken: Run
) -> None:
    with fake_run(tmp_path, "--delay", "0.02") as process:
        assert wait_for_questions(process, tmp_path, 250)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("llmeval: interrupted; the same command continues run ")
    assert err.count("\n") == 1
    (folder,) = (tmp_path / "results").iterdir()
    partial = load_run(folder)
    assert partial.status == partial.summary["status"] == "interrupted"
    done = partial.samples.num_rows
    assert 0 < done < unbroken.samples.num_rows
    assert partial.samples.to_pylist() == unbroken.samples.to_pylist()[:done]
    assert sum(task["n"] for task in partial.summary["tasks"].values()) == done
    with fake_run(tmp_path) as process:
        resumed = finish(process)
    assert resumed.path.name == folder.name
    assert timeless(resumed) == timeless(unbroken)


@pytest.mark.slow
def test_two_runs_at_once_make_two_records_and_share_their_answers(tmp_path: Path) -> None:
    with (
        fake_run(tmp_path, "--delay", "0.02") as one,
        fake_run(tmp_path, "--delay", "0.02") as two,
    ):
        first, second = finish(one), finish(two)
    assert first.id != second.id
    assert first.status == second.status == "complete"
    assert first.samples.to_pylist() == second.samples.to_pylist()
    assert first.scores.to_pylist() == second.scores.to_pylist()


@pytest.mark.slow
def test_the_same_command_after_a_finished_run_makes_a_new_record_without_the_model(
    tmp_path: Path,
) -> None:
    with fake_run(tmp_path) as process:
        first = finish(process)
    questions = asked(tmp_path)
    with fake_run(tmp_path) as process:
        second = finish(process)
    assert asked(tmp_path) == questions
    assert first.id != second.id
    assert first.samples.to_pylist() == second.samples.to_pylist()
    usage = second.summary["usage"]
    assert usage["cached"] == usage["requests"] > 0
    assert usage["computed_tokens"] == 0
