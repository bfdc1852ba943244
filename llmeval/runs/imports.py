"""Records made of what lm-eval wrote: ``results_*.json`` and ``samples_*.jsonl``.

A folder of lm-eval's can be named wherever a run can be. It is converted once, into the workspace's
``.llmeval/imports``, and again only when its files have changed.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmeval.core import UsageError
from llmeval.home import find_workspace
from llmeval.runs.files import storage_errors
from llmeval.runs.lm_eval.files import (
    LmEvalFiles,
    find_lm_eval,
    model_name,
    read_date,
    require_lm_eval,
)
from llmeval.runs.load import Run, load_run


def import_lm_eval(path: str | Path, out: str | Path) -> Run:
    """Convert the newest results of lm-eval in a folder (or a results file) to a record in ``out``.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    return convert(require_lm_eval(path)[-1], Path(out))


def import_all(path: str | Path, out: str | Path) -> list[Run]:
    """Convert all results of lm-eval in a folder to records in ``out``, oldest first."""
    return [convert(files, Path(out)) for files in require_lm_eval(path)]


def open_import(path: str | Path) -> Run | None:
    """Return the record of the newest results of lm-eval in a folder, converted where needed.

    None where there are none.

    Raises:
        UsageError: they cannot be read.
    """
    found = find_lm_eval(path)
    return open_files(found[-1]) if found else None


def open_files(files: LmEvalFiles) -> Run:
    """Return the record of one run of lm-eval, converted into the workspace where needed."""
    kept = find_workspace() / ".llmeval" / "imports"
    try:
        folder = kept / files.digest()
    except OSError as error:
        raise UsageError(f"cannot be read: {error}", where=str(files.results)) from error
    return load_run(folder) if folder.is_dir() else convert(files, kept, folder.name)


def convert(files: LmEvalFiles, out: Path, name: str | None = None) -> Run:
    """Write the record of one run of lm-eval into a folder of ``out``, whole or not at all.

    Args:
        name: of the folder; the run's id if None.

    Raises:
        UsageError: a file is not what lm-eval writes.
    """
    from llmeval.runs.lm_eval.record import write_record

    content = files.read()
    run_id = make_run_id(content, files)
    target = out / (name or run_id)
    if target.is_dir():
        return load_run(target)
    with storage_errors(target):
        out.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
    try:
        write_record(partial, run_id, content, files)
        with storage_errors(target):
            partial.chmod(0o755)
            _move(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return load_run(target)


def _move(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError:
        if not target.is_dir():  # else another process was first, with the same
            raise


def make_run_id(content: Mapping[str, Any], files: LmEvalFiles) -> str:
    """Return an id that begins with the run's time, as those of llmeval's runs do."""
    when = datetime.datetime.fromtimestamp(read_date(content), datetime.UTC)
    words = "".join(c if c.isalnum() or c in "-." else "-" for c in model_name(content))
    return (
        f"{when:%Y%m%d-%H%M%S}-lm-eval-{words.strip('-.')[-40:].strip('-.')}-{files.digest()[:4]}"
    )
