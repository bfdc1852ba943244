"""Who works on something right now. The kernel drops a lock when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import IO

from llmeval.runs.files import storage_errors

_PAUSES = (0.0, 0.001, 0.005, 0.02)  # seconds; whoever only looks (`is_running`) is gone by then


class FileLock:
    """An advisory lock, named by a file that is there while it is held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Take the lock; return False where another process holds it."""
        while self._file is None:
            with storage_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                file = self._path.open("ab")
                if not _take(file):
                    file.close()
                    return False
            if self._is_current(file):
                self._file = file
            else:
                file.close()
        return True

    def _is_current(self, file: IO[bytes]) -> bool:
        """Whether the path still means this file: its last holder may just have removed it."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _take(file: IO[bytes]) -> bool:
    for pause in _PAUSES:
        time.sleep(pause)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


class RunLock(FileLock):
    """The lock on one run id in a workspace."""

    def __init__(self, workspace: Path, run_id: str) -> None:
        super().__init__(_lock_path(workspace, run_id))


def is_running(workspace: Path, run_id: str) -> bool:
    """Return whether a process works on a run of this workspace; makes no file."""
    try:
        with _lock_path(workspace, run_id).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file: nobody holds it
        return False
    return False  # it was left by a process that was killed


def _lock_path(workspace: Path, run_id: str) -> Path:
    return workspace / ".llmeval" / "locks" / f"{run_id}.lock"
