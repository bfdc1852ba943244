"""From what a person types to a run record: a path, a run's id, the beginning of one, a tag."""

from __future__ import annotations

from pathlib import Path

from llmeval.core import UsageError
from llmeval.home import find_workspace
from llmeval.runs.imports import open_import
from llmeval.runs.load import Run, load_run
from llmeval.runs.tags import read_tags

LATEST = "latest"


def find_run(name: str, out: str | Path | None = None) -> Run:
    """Return the run that a name stands for.

    Args:
        name: the path of a record, or of lm-eval's results, which become one; or, in the folder of
            records, a run's id, ``latest``, a tag, or the beginning of exactly one id.
        out: the folder of records; ``results`` of the working folder or of the workspace if None.

    Raises:
        UsageError: no run or more than one is meant.
    """
    if name and _is_record(name):
        return load_run(name)
    if name and (imported := open_import(name)):
        return imported
    folder = records_folder(out)
    ids = list_run_ids(folder)
    if name in ids:
        return load_run(folder / name)
    if name == LATEST and ids:
        return load_run(folder / ids[-1])
    if tagged := read_tags(folder).get(name):
        return _load_tagged(folder, name, tagged)
    matching = [id for id in ids if name and id.startswith(name)]
    if len(matching) == 1:
        return load_run(folder / matching[0])
    if matching:
        some = ", ".join(matching[-3:])
        raise UsageError(f"{len(matching)} runs begin so, e.g. {some}", where=name)
    raise UsageError(
        "no such run",
        where=name or "an empty name",
        mend=f"name a record's folder, or a run in {folder}: see `llmeval runs ls`",
    )


def _is_record(path: str) -> bool:
    try:
        return (Path(path) / "manifest.json").is_file()
    except (OSError, ValueError):  # too long for a path
        return False


def _load_tagged(folder: Path, tag: str, run_id: str) -> Run:
    if not (folder / run_id / "manifest.json").is_file():
        mend = f"`llmeval runs tag -d {tag}`, or tag another run"
        raise UsageError(f"its run is gone: {run_id}", where=tag, mend=mend)
    return load_run(folder / run_id)


def records_folder(out: str | Path | None = None) -> Path:
    """Return the folder of records: the one given, or ``results`` here or in the workspace."""
    if out is not None:
        return Path(out)
    here = Path("results")
    return here if here.is_dir() else find_workspace() / "results"


def list_run_ids(folder: Path) -> list[str]:
    """Return the ids of the records in a folder, oldest first: an id begins with its time."""
    names = (path.parent.name for path in folder.glob("*/manifest.json"))
    return sorted(name for name in names if not name.startswith("."))  # half of an import
