"""What a workspace keeps of unfinished runs: where their records are, and reruns' journals."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from llmeval.runs.files import storage_errors, write_json


def note_run(workspace: Path, run_id: str, record: Path) -> None:
    """Note where the record of a run is that begins, or goes on."""
    path = _path(workspace, run_id)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"record": str(record.resolve())})


def forget_run(workspace: Path, run_id: str) -> None:
    """Forget a run that has ended."""
    with contextlib.suppress(OSError):
        _path(workspace, run_id).unlink(missing_ok=True)


def list_unfinished(workspace: Path) -> list[Path]:
    """Return the records of the runs that have not ended, wherever they are."""
    found = []
    for path in sorted((workspace / ".llmeval" / "runs").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append(Path(json.loads(path.read_text(encoding="utf-8"))["record"]))
    return found


def rerun_name(run_id: str) -> str:
    """Return by what a rerun of a run is locked, and its journal named."""
    return f"rerun-{run_id}"


def rerun_folder(workspace: Path, run_id: str) -> Path:
    """Return where a rerun of a run has its journal until it comes to its end."""
    return workspace / ".llmeval" / rerun_name(run_id)


def forget_rerun(workspace: Path, run_id: str) -> None:
    """Remove the journal of a rerun that has ended, or is not to go on.

    Raises:
        StorageError: the disk refuses.
    """
    folder = rerun_folder(workspace, run_id)
    with storage_errors(folder), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _path(workspace: Path, run_id: str) -> Path:
    return workspace / ".llmeval" / "runs" / f"{run_id}.json"
