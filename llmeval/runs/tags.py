"""Names that people give to runs: ``tags.json`` in the folder of records."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from llmeval.core import StorageError, UsageError
from llmeval.runs.files import write_json
from llmeval.runs.lock import FileLock

TAGS = "tags.json"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_RESERVED = ("latest",)
_PATIENCE = 10.0  # seconds; whoever holds the lock writes a small file
_LOOK = 0.02


def read_tags(folder: Path) -> dict[str, str]:
    """Return the tags of a folder of records: each names one run id.

    Raises:
        UsageError: the file is not one that was written here.
    """
    path = folder / TAGS
    try:
        tags = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the tags cannot be read: {error}", where=str(path)) from error
    if not isinstance(tags, dict) or not all(map(_is_plain_name, tags.values())):
        mend = 'it maps tags to run ids, {"baseline": "<run-id>"}; mend or remove it'
        raise UsageError("the tags cannot be read", where=str(path), mend=mend)
    return tags


def _is_plain_name(run_id: object) -> bool:
    """Whether a value can only mean an entry of the folder itself."""
    return isinstance(run_id, str) and run_id not in ("", ".", "..") and "/" not in run_id


def set_tag(folder: Path, tag: str, run_id: str, *, move: bool = False) -> str | None:
    """Let a tag name a run; return the run that it named before, if any.

    Raises:
        UsageError: it is no name for a tag, or names another run and is not to be moved.
        StorageError: the file cannot be written.
    """
    _check_tag(folder, tag)
    with _locked(folder):
        tags = read_tags(folder)
        before = tags.get(tag)
        if before not in (None, run_id) and not move:
            raise UsageError(f"it names {before}", where=tag, mend="--move gives it to this run")
        write_json(folder / TAGS, dict(sorted((tags | {tag: run_id}).items())))
    return before


def remove_tags(folder: Path, wanted: Mapping[str, str] | str) -> None:
    """Remove a tag; or several, of which each goes only if it still names the run given with it.

    Raises:
        UsageError: there is no such tag.
        StorageError: the file cannot be written.
    """
    if isinstance(wanted, str):
        tags = read_tags(folder)
        if wanted not in tags:
            known = ", ".join(sorted(tags)) or "none yet"
            raise UsageError("no such tag", where=wanted, mend=f"the tags are: {known}")
        wanted = {wanted: tags[wanted]}
    with _locked(folder):
        tags = read_tags(folder)
        write_json(folder / TAGS, {t: r for t, r in tags.items() if wanted.get(t) != r})


def tags_by_run(tags: Mapping[str, str]) -> dict[str, list[str]]:
    """Return each run's tags, sorted."""
    runs: dict[str, list[str]] = {}
    for tag, run_id in sorted(tags.items()):
        runs.setdefault(run_id, []).append(tag)
    return runs


def _check_tag(folder: Path, tag: str) -> None:
    """Refuse what `find_run` would take for something else."""
    if tag in _RESERVED:
        raise UsageError("it always means the newest run", where=tag, mend="choose another tag")
    if not _TAG.fullmatch(tag):
        mend = "a tag begins with a letter and has up to 64 letters, digits, dots, dashes, _"
        raise UsageError("this is no name for a tag", where=tag, mend=mend)
    if any(path.parent.name.startswith(tag) for path in folder.glob("*/manifest.json")):
        raise UsageError("a run's id begins so", where=tag, mend="choose another tag")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from changing the tags between reading and writing."""
    lock = FileLock(folder / f".{TAGS}.lock")
    until = time.monotonic() + _PATIENCE
    while not lock.acquire():
        if time.monotonic() > until:
            what = "another process has held the tags for long"
            raise StorageError(what, where=str(folder / TAGS), mend="end it, then try again")
        time.sleep(_LOOK)
    try:
        yield
    finally:
        lock.release()
