"""Loading a data set by hub id or path, from a local mirror or the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core.errors import UsageError
from llmeval.core.hashes import canonical_json, digest
from llmeval.data.files import SUFFIXES, first_line, read_table
from llmeval.data.fingerprint import DataFingerprint, fingerprint
from llmeval.data.hub import load_from_hub
from llmeval.data.mirror import (
    Files,
    choose_config,
    declared_files,
    has_dataset,
    list_ids,
    mirror_dir,
    missing_split,
    nearest,
    open_folder,
    resolve,
    split_of,
)

if TYPE_CHECKING:
    import datasets

# What a benchmark calls its data set where the files are its own: datasets' generic builders.
_FILE_BUILDERS = {"json", "csv", "parquet"}


@dataclass(eq=False)
class Splits(Mapping[str, "datasets.Dataset"]):
    """The splits of one data set; each is read when it is first asked for.

    Attributes:
        id: the hub id or path as asked for.
        config: the config that was meant; None where the hub's default was taken.
        source: ``mirror``, ``files`` or ``hub``.
        files: the files of each split that is read from disk.
    """

    id: str
    config: str | None
    source: str
    files: Mapping[str, Files]
    _opened: dict[str, datasets.Dataset] = field(default_factory=dict, repr=False)

    def __getitem__(self, split: str) -> datasets.Dataset:
        """Return one split.

        Raises:
            MissingSplit: there is none of that name; a UsageError and a KeyError.
            UsageError: its files are corrupt.
        """
        if split not in self._opened:
            if split not in self.files:
                raise missing_split(split, self, self._name)
            self._opened[split] = open_files(self.files[split], split)
        return self._opened[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files if self.files else self._opened)

    def __len__(self) -> int:
        return len(self.files if self.files else self._opened)

    def __contains__(self, split: object) -> bool:
        return split in self.files or split in self._opened  # without reading it

    def fingerprint(self, split: str) -> DataFingerprint:
        """Return the fingerprint of one split, named as it was asked for."""
        return fingerprint(self[split], id=self.id, config=self.config, split=split)

    @property
    def _name(self) -> str:
        return f"{self.id} ({self.config})" if self.config else self.id


def load_dataset(
    name: str,
    config: str | None = None,
    *,
    mirror: Path | None = None,
    revision: str | None = None,
    data_files: Any = None,
    **options: Any,
) -> Splits:
    """Return the splits of a data set.

    Looked for in this order: a path (a folder laid out as `mirror` says, or one data file); the
    mirror given, or ``LLMEVAL_DATA``; a local folder of that name; the hub or its cache. Files are
    read directly, never through a cache, so a changed file is a changed data set.

    Args:
        name: hub id or path; or ``json``, ``csv``, ``parquet`` with `data_files`.
        config: None for the only or default one.
        mirror: the folder of ``--data``.
        revision: branch, tag or commit on the hub; a mirror holds one version only.
        data_files: files or patterns: one, a list, or a mapping from split to either; below the
            mirror's folder of the data set, or on the hub.
        options: further arguments for ``datasets.load_dataset``, for the hub alone.

    Raises:
        UsageError: nothing of that name, no such config, or unreadable files.
    """
    if name in _FILE_BUILDERS and data_files and (local := _local_files(data_files)):
        return Splits(name, config, "files", local)
    if _is_path(name):
        return _load_path(Path(name).expanduser(), name, config)
    folder = mirror_dir(mirror)
    if folder is not None and has_dataset(folder, name):
        if data_files is not None:
            files = declared_files(folder / name, {"data_files": data_files, **options})
            return Splits(name, config, "mirror", files)
        chosen, files = resolve(name, config, mirror=folder)
        return Splits(name, chosen, "mirror", files)
    if Path(name).is_dir():
        return _load_path(Path(name), name, config)
    if data_files is not None:
        options["data_files"] = data_files
    try:
        loaded = load_from_hub(name, config, revision=revision, **options)
    except UsageError as error:
        if folder is None:
            raise
        hint = nearest(name, list_ids(folder))
        raise UsageError(
            f"{error.what}; nor is it in the mirror {folder}{hint}", mend=error.mend
        ) from error
    return Splits(name, config, "hub", {}, dict(loaded))


def load_split(
    name: str,
    split: str,
    config: str | None = None,
    *,
    mirror: Path | None = None,
    revision: str | None = None,
    **options: Any,
) -> datasets.Dataset:
    """Return one split of a data set; see `load_dataset`."""
    return load_dataset(name, config, mirror=mirror, revision=revision, **options)[split]


def open_files(paths: Files, split: str) -> datasets.Dataset:
    """Return the rows of a split's files; features recorded in a parquet file are honoured.

    Raises:
        UsageError: a file is corrupt, or its recorded features do not fit its columns.
    """
    table = read_table(paths)
    import datasets  # after reading: a corrupt file should not cost this import

    try:
        return datasets.Dataset(
            table, split=datasets.NamedSplit(split), fingerprint=_identity(paths)
        )
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"its features do not fit: {first_line(error)}", where=str(paths[0])
        ) from error


def _identity(paths: Files) -> str:
    """Name these versions of the files for `datasets`, which would pickle the table to get one."""
    stats = [(str(path.resolve()), path.stat()) for path in paths]
    return digest(canonical_json([(name, s.st_size, s.st_mtime_ns) for name, s in stats]), size=8)


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~", ".\\")) or Path(name).suffix in SUFFIXES


def _load_path(path: Path, name: str, config: str | None) -> Splits:
    if path.is_dir():
        chosen, files = choose_config(open_folder(path), config, name)
        return Splits(name, chosen, "files", files)
    if not path.is_file():
        raise UsageError("no such file or folder", where=name)
    return Splits(name, config, "files", {split_of(path.stem): (path,)})


def _local_files(data_files: Any) -> dict[str, Files] | None:
    """Return each split's files, or None where one of them is not on this machine."""
    by_split = data_files if isinstance(data_files, Mapping) else {"train": data_files}
    found: dict[str, Files] = {}
    for split, given in by_split.items():
        names = [given] if isinstance(given, str | Path) else list(given)
        if any("://" in str(one) for one in names):
            return None
        found[split] = tuple(path for one in names for path in _expand(str(one)))
    return found


def _expand(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if not any(mark in name for mark in "*?["):
        return [path]
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not found:
        raise UsageError("no file fits the pattern", where=name)
    return found
