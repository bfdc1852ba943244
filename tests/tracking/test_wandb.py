"""A run is logged to Weights & Biases offline, in a process of its own, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from llmeval.core import UsageError
from llmeval.tracking import Target, require_target
from tests.support.manifests import write_manifest
from tests.support.shared import ROOT

pytest.importorskip("wandb", reason="needs the extra wandb")

_KEYS = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_DIR", "WANDB_IDENTITY_TOKEN_FILE")


def surroundings(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _KEYS}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def llmeval(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmeval", *arguments],
        cwd=folder,
        env=surroundings(folder, **more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def left_running(home: Path) -> list[str]:
    """Return what still runs in the surroundings of a command that has ended."""
    names = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                names.append(process.name())
        except psutil.Error:  # another user's, or just ended
            continue
    return names


@pytest.mark.slow
def test_an_offline_run_holds_what_the_record_says(tmp_path: Path) -> None:
    write_manifest(tmp_path / "results", "one")
    ended = llmeval(tmp_path, "runs", "track", "one", "wandb:team/project", WANDB_MODE="offline")
    assert (ended.returncode, ended.stderr) == (0, "")
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-one")
    assert ended.stdout == f"logged to wandb:team/project: {folder}\n"
    (log,) = folder.glob("*.wandb")
    content = log.read_bytes()
    for told in (b"colours/acc_ci_high", b"llmeval.model_fingerprint", b"record-one"):
        assert told in content
    assert b"llmeval runs track" not in content  # the command line may hold what is not W&B's
    assert left_running(tmp_path) == []


@pytest.mark.slow
def test_who_is_not_logged_in_hears_it_before_the_run(tmp_path: Path) -> None:
    ended = llmeval(tmp_path, "run", "-m", "baseline:random", "-t", "pocket", "--track", "wandb:x")
    assert ended.returncode == 2
    assert ended.stderr.startswith("llmeval: --track: wandb: not logged in (`wandb login`")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_offline_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    try:
        require_target(Target("wandb", "project"))
    except UsageError:
        pytest.fail("offline there is nobody to log in to")
