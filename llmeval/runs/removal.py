"""Removing run records: their own files, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmeval.core import UsageError
from llmeval.runs.catalog import MANIFEST, RECORD_FILES
from llmeval.runs.files import storage_errors
from llmeval.runs.load import Run
from llmeval.runs.lock import RunLock, is_running
from llmeval.runs.tags import read_tags, remove_tags
from llmeval.runs.unfinished import forget_rerun, forget_run, rerun_name


@dataclass(frozen=True, slots=True)
class Removal:
    """A record that is to be removed.

    Attributes:
        files: its own, the manifest last: what is left of a broken removal can still be named.
        foreign: what else lies in its folder, which then stays.
        tags: that name it, and go with it.
    """

    path: Path
    files: tuple[Path, ...]
    foreign: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that it frees."""
        return sum(file.lstat().st_size for file in self.files)


def plan_removal(run: Run, workspace: Path, *, force: bool = False) -> Removal:
    """Find out what removing a record takes away.

    Args:
        workspace: whose locks tell which runs are being worked on.
        force: also where a tag names it.

    Raises:
        UsageError: it is no record of llmeval's, has a tag, or is being worked on.
    """
    path = run.path.resolve()
    if run.path.is_symlink():
        raise UsageError("it is a link", where=str(run.path), mend=f"name {path} itself")
    _require_record(run)
    if any(is_running(workspace, name) for name in (path.name, rerun_name(path.name))):
        raise _at_work(path.name)
    tags = tuple(tag for tag, run_id in read_tags(path.parent).items() if run_id == path.name)
    if tags and not force:
        mend = "--force removes it with its tags, or take them off: `llmeval runs tag -d TAG`"
        raise UsageError(f"it has a tag: {', '.join(tags)}", where=path.name, mend=mend)
    own = [*RECORD_FILES, *(f"{name}.partial" for name in RECORD_FILES)]
    order = sorted(own, key=lambda name: name == MANIFEST)
    files = tuple(path / name for name in order if (path / name).is_file())
    foreign = tuple(sorted(p.name for p in path.iterdir() if p not in files))
    return Removal(path, files, foreign, tags)


def _require_record(run: Run) -> None:
    """Tell a record from any other folder that has a manifest.json.

    One whose manifest cannot be read is a record if nothing but a record's files is in it.
    """
    try:
        manifest = run.manifest
    except UsageError:
        names = {p.name.removesuffix(".partial") for p in run.path.iterdir()}
        if names <= set(RECORD_FILES) and len(names) > 1:
            return
    else:
        if {"run_id", "status", "tasks", "environment"} <= manifest.keys():
            return
    raise UsageError("this is no run record", where=str(run.path), mend="remove it by hand")


def remove(removal: Removal, workspace: Path) -> None:
    """Remove a record's files, its folder if nothing else is in it, and its tags.

    Raises:
        UsageError: a process has begun to work on it since the removal was planned.
        StorageError: the disk refuses.
    """
    run_id = removal.path.name
    with _at_rest(workspace, run_id):
        with storage_errors(removal.path):
            for file in removal.files:
                file.unlink(missing_ok=True)
            if not removal.foreign:
                removal.path.rmdir()
        if removal.tags:
            remove_tags(removal.path.parent, dict.fromkeys(removal.tags, run_id))
        forget_run(workspace, run_id)
        forget_rerun(workspace, run_id)


@contextlib.contextmanager
def _at_rest(workspace: Path, run_id: str) -> Iterator[None]:
    """Keep others from working on a run or re-creating it.

    Raises:
        UsageError: a process does.
    """
    with contextlib.ExitStack() as stack:
        for name in (run_id, rerun_name(run_id)):
            lock = RunLock(workspace, name)
            if not lock.acquire():
                raise _at_work(run_id)
            stack.callback(lock.release)
        yield


def _at_work(run_id: str) -> UsageError:
    return UsageError("a process works on it", where=run_id, mend="stop that run first")
