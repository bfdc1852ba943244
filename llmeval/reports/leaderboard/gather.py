"""From what a person names to records: runs, folders of runs, results of lm-eval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from llmeval.core import UsageError
from llmeval.runs.catalog import SUMMARY
from llmeval.runs.find import find_run, list_run_ids, records_folder
from llmeval.runs.imports import open_files
from llmeval.runs.lm_eval.files import find_lm_eval
from llmeval.runs.record import SCORES

_PARTS = (SUMMARY, SCORES)  # what a record without its manifest is known by


def gather(names: Sequence[str | Path], out: str | Path | None = None) -> list[Path]:
    """Return the records that are meant, each once.

    Args:
        names: paths of records, of folders of records or of lm-eval's results; or, in the folder of
            records, ids, tags, ``latest``, and beginnings of ids, of which all are meant. All
            records of that folder if empty.
        out: the folder of records; ``results`` of the working folder or of the workspace if None.

    Raises:
        UsageError: a name means nothing, or there is no record at all.
    """
    folder = records_folder(out)
    if not names:
        found = _list_records(folder)
        if not found:
            raise UsageError(
                "there are no runs",
                where=str(folder),
                mend="`llmeval run` makes one; or name runs, or their folder with --out",
            )
        return found
    return _once(path for name in names for path in _find(str(name), folder))


def _list_records(folder: Path) -> list[Path]:
    """Return the records of a folder; also what is left of one without a manifest, to be told."""
    ids = set(list_run_ids(folder))
    parts = (path.parent for name in _PARTS for path in folder.glob(f"*/{name}"))
    ids |= {path.name for path in parts if not path.name.startswith(".")}
    return [folder / run_id for run_id in sorted(ids)]


def _once(paths: Iterable[Path]) -> list[Path]:
    """Return paths without those that name the same folder."""
    return list({path.resolve(): path for path in paths}.values())


def _find(name: str, folder: Path) -> Iterator[Path]:
    path = Path(name)
    if name and _is_folder(path) and not (path / "manifest.json").is_file():
        records = _list_records(path)
        imported = [open_files(files).path for files in find_lm_eval(path)]
        if not records and not imported:
            raise UsageError(
                "neither runs nor results of lm-eval here",
                where=name,
                mend="name a record, a folder of records, or lm-eval's --output_path",
            )
        yield from [*records, *imported]
        return
    if path.suffix == ".json" and (single := find_lm_eval(path)):
        yield open_files(single[-1]).path
        return
    beginning = [run_id for run_id in list_run_ids(folder) if name and run_id.startswith(name)]
    if len(beginning) > 1 and name not in beginning:
        yield from (folder / run_id for run_id in beginning)
        return
    yield find_run(name, folder).path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long for a path
        return False
