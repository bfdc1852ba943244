"""One process at a time works on a run; the lock dies with its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmeval.core import StorageError
from llmeval.runs import RunLock


def test_one_holds_it_until_it_lets_go(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path, "run"), RunLock(tmp_path, "run")
    assert first.acquire()
    assert not second.acquire()
    assert RunLock(tmp_path, "another run").acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_releasing_twice_or_without_holding_is_nothing(tmp_path: Path) -> None:
    lock, holder = RunLock(tmp_path, "run"), RunLock(tmp_path, "run")
    lock.release()
    assert holder.acquire()
    lock.release()
    assert not lock.acquire()
    holder.release()
    holder.release()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    lock = RunLock(tmp_path, "run")
    assert lock.acquire()
    lock.release()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_who_only_looks_keeps_nobody_from_it(tmp_path: Path) -> None:
    """`runs ls` while an interrupted run goes on, whose lock a killed process left there."""
    script = (
        "import sys; from pathlib import Path; from llmeval.runs.lock import is_running\n"
        "print('looks', flush=True)\n"
        "while True: is_running(Path(sys.argv[1]), 'run')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looks\n"
        taken = 0
        for _ in range(200):
            lock = RunLock(tmp_path, "run")
            lock._path.parent.mkdir(parents=True, exist_ok=True)
            lock._path.touch()
            taken += lock.acquire()
            lock.release()
        looking.kill()
    assert taken >= 199  # without patience, some dozens are refused


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from llmeval.runs import RunLock\n"
        "lock = RunLock(Path(sys.argv[1]), 'run')\n"
        "assert lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock = RunLock(tmp_path, "run")
        assert not lock.acquire()
        holder.kill()
        holder.wait()
        assert lock.acquire()
        lock.release()


def test_the_lock_of_a_removed_file_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder lets go just between another's opening of the file and its locking of it."""
    import fcntl

    holder, late, third = (RunLock(tmp_path, "run") for _ in range(3))
    assert holder.acquire()
    real = fcntl.flock

    def flock(file: object, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        holder.release()
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", flock)
    assert late.acquire()
    assert not third.acquire()
    late.release()


def test_a_file_where_the_workspace_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        RunLock(tmp_path / "file", "run").acquire()
