"""What is in a folder of records: a row for each run, quick for thousands of them."""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from llmeval.runs.lock import is_running
from llmeval.runs.record import SAMPLES, SCORES
from llmeval.runs.tags import tags_by_run

MANIFEST, SUMMARY, RESULTS = "manifest.json", "summary.json", "results.json"
RECORD_FILES = (MANIFEST, SUMMARY, RESULTS, SAMPLES, SCORES)
STATUSES = ("complete", "interrupted", "invalid")
SHOWN_STATUSES = (*STATUSES, "running", "broken")
_ID_TIME = "%Y%m%d-%H%M%S"
_ID_TIME_LENGTH = 15


@dataclass(frozen=True, slots=True)
class MainMetric:
    """The number of a run that is about one task or group: the first metric that it states."""

    task: str
    metric: str
    value: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """A run in a folder of records.

    Attributes:
        id: the name of its folder.
        started: in seconds since 1970; where the record does not say, as its name or folder does.
        tasks: all that were evaluated; ``shown_tasks`` has groups in place of their members.
        n: samples, of all tasks together; None where there is no summary.
        status: as in the manifest; ``running`` while a process of this workspace is at it;
            ``broken`` where the record cannot be read, and ``problem`` says why.
        size: bytes on disk.
    """

    id: str
    path: Path
    started: float
    status: str
    size: int
    model: str | None = None
    tasks: tuple[str, ...] = ()
    shown_tasks: tuple[str, ...] = ()
    n: int | None = None
    main: MainMetric | None = None
    tags: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def when(self) -> datetime.datetime:
        """When it was started, in UTC."""
        return datetime.datetime.fromtimestamp(self.started, datetime.UTC)

    @property
    def all_tasks(self) -> set[str]:
        """Tasks and groups."""
        return {*self.tasks, *self.shown_tasks}

    def to_plain(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        return asdict(self) | {
            "path": str(self.path),
            "started": self.when.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for; None asks for nothing in particular.

    Args:
        model, task: a pattern with ``*`` and ``?``, or a part of the name; letter case is nothing.
    """

    tag: str | None = None
    model: str | None = None
    task: str | None = None
    status: str | None = None

    def takes(self, row: CatalogRow) -> bool:
        """Return whether a run is one of those."""
        return (
            (self.tag is None or self.tag in row.tags)
            and (self.status is None or self.status == row.status)
            and (self.model is None or _matches(self.model, row.model or ""))
            and (self.task is None or any(_matches(self.task, t) for t in row.all_tasks))
        )


def _matches(pattern: str, name: str) -> bool:
    pattern = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


def list_runs(folder: Path, workspace: Path, tags: Mapping[str, str]) -> list[CatalogRow]:
    """Return the runs in a folder of records, newest first. Broken ones are there, too.

    Args:
        workspace: whose locks tell which runs are being worked on.
        tags: as ``read_tags`` returns them.
    """
    named = tags_by_run(tags)
    rows = []
    for entry in _subfolders(folder):
        sizes = _file_sizes(entry)
        if not sizes.keys() & {MANIFEST, SUMMARY, SCORES}:
            continue  # leaderboards and whatever else stands beside the records
        row = _read_row(Path(entry), sum(sizes.values()), tuple(named.get(entry.name, ())))
        if row.status == "interrupted" and is_running(workspace, row.id):
            row = replace(row, status="running")
        rows.append(row)
    return sorted(rows, key=lambda row: (row.started, row.id), reverse=True)


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # What begins with a dot is work in progress.
            return [e for e in entries if e.is_dir() and not e.name.startswith(".")]
    except FileNotFoundError:
        return []


def _file_sizes(folder: os.DirEntry[str]) -> dict[str, int]:
    sizes = {}
    try:
        with os.scandir(folder) as files:
            for file in files:
                with contextlib.suppress(OSError):  # it was renamed just now
                    sizes[file.name] = file.stat(follow_symlinks=False).st_size
    except OSError:  # not ours to read, or removed just now
        return {}
    return sizes


def _read_row(path: Path, size: int, tags: tuple[str, ...]) -> CatalogRow:
    bare = CatalogRow(path.name, path, _guess_time(path), "broken", size, tags=tags)
    try:
        manifest = _read_object(path / MANIFEST)
        summary = _read_object(path / SUMMARY) if (path / SUMMARY).exists() else None
        return _understand(bare, manifest, summary)
    except _Broken as broken:
        return replace(bare, problem=str(broken))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return replace(bare, problem=f"not a record of llmeval's: {said}")


class _Broken(Exception):
    """A file of a record cannot be used."""


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise _Broken(f"there is no {path.name}") from None
    except OSError as error:
        raise _Broken(f"{path.name}: {error.strerror or error}") from error
    except ValueError as error:
        raise _Broken(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _Broken(f"{path.name} is not a JSON object")
    return content


def _understand(
    bare: CatalogRow, manifest: Mapping[str, Any], summary: Mapping[str, Any] | None
) -> CatalogRow:
    status = manifest["status"]
    if status not in STATUSES:
        raise _Broken(f"unknown status {status!r}")
    if summary is None and status != "interrupted":
        raise _Broken(f"there is no {SUMMARY}")
    tasks = tuple(manifest["tasks"].keys())
    return replace(
        bare,
        status=status,
        started=_timestamp(manifest["started"]),
        model=str(manifest["model"]["name"]),
        tasks=tasks,
        shown_tasks=_fold(tasks, manifest.get("groups") or {}),
        n=None if summary is None else sum(int(t["n"]) for t in summary["tasks"].values()),
        main=None if summary is None else _find_main(summary),
    )


def _fold(tasks: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Put groups that nothing else holds in place of what they hold."""
    inner = {member for members in groups.values() for member in members}
    tops = [name for name in groups if name not in inner]
    return (*tops, *(name for name in tasks if name not in inner))


def _find_main(summary: Mapping[str, Any]) -> MainMetric | None:
    """Return the first metric of the only task, or of the only group above all tasks."""
    tasks, groups = summary["tasks"], summary.get("groups") or {}
    tops = _fold(list(tasks), {name: group["tasks"] for name, group in groups.items()})
    if len(tops) != 1:
        return None
    metrics = {**tasks, **groups}[tops[0]]["metrics"]
    for name, metric in metrics.items():
        value, ci95 = metric["value"], metric["ci95"]
        interval = None if ci95 is None else (float(ci95[0]), float(ci95[1]))
        return MainMetric(tops[0], str(name), None if value is None else float(value), interval)
    return None


def _timestamp(iso: str) -> float:
    when = datetime.datetime.fromisoformat(iso)
    return _with_date((when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp())


def _with_date(timestamp: float) -> float:
    """Return a time that the calendar has; files and manifests may hold any.

    Raises:
        ValueError, OverflowError: its year is not between 1 and 9999.
    """
    datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return timestamp


def _guess_time(path: Path) -> float:
    """Return the time in a run's id, or else that of its folder."""
    try:
        named = datetime.datetime.strptime(path.name[:_ID_TIME_LENGTH], _ID_TIME)
        return named.replace(tzinfo=datetime.UTC).timestamp()
    except ValueError:
        try:
            return _with_date(path.stat().st_mtime)
        except (OSError, ValueError, OverflowError):
            return 0.0
