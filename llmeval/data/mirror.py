"""A local mirror: one folder per hub id, which files hold which split of which config.

    DIR/<org>/<name>/<config>/<split>.parquet         also .jsonl, .ndjson, .json, .csv
    DIR/<org>/<name>/<config>/<split>-00000-of-00002.parquet
    DIR/<org>/<name>/<config>/<split>/0000.parquet    the hub's own parquet export
    DIR/<org>/<name>/<split>.parquet                  the config is then called "default",
    DIR/<org>/<name>/data/<split>.parquet             and so it is where "data" is all there is

A README.md whose YAML head declares ``configs:`` with ``data_files:``, as on the hub, is honoured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from llmeval.core.errors import UsageError
from llmeval.data.files import SUFFIXES

DEFAULT_CONFIG = "default"
ENVIRONMENT_VARIABLE = "LLMEVAL_DATA"
HUB_FOLDER = "data"  # where repositories of one config keep their files, by the hub's custom
RECORD = "fingerprints.json"  # JSON among the data, but no data; see catalog.py

Files = tuple[Path, ...]
SplitFiles = dict[str, Files]

_SHARD = re.compile(r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})")
_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True)
class DataFolder:
    """One data set on disk.

    Attributes:
        path: its folder.
        configs: the configs' names, sorted.
        default: which config is meant where none is named; None where that is open.
        declared: the README's entries, by config.
    """

    path: Path
    configs: list[str]
    default: str | None
    declared: Mapping[str, Mapping[str, Any]]

    def splits(self, config: str) -> SplitFiles:
        """Return the files of each split of one of `configs`.

        Raises:
            UsageError: files that the README names are not there, or a split's files are ambiguous
                or incomplete.
        """
        if config in self.declared:
            return declared_files(self.path, self.declared[config])
        places = [self.path / config]
        if config == DEFAULT_CONFIG:
            places += [self.path, self.path / HUB_FOLDER]
        return next((found for place in places if (found := _splits_in(place))), {})


class MissingSplit(UsageError, KeyError):
    """A split that a data set does not have; a KeyError too, so that mappings behave as such."""


def mirror_dir(explicit: Path | None = None) -> Path | None:
    """Return the mirror to use: the one given, else ``LLMEVAL_DATA``, else None.

    Raises:
        UsageError: it is not a folder.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    chosen = explicit or (Path(named).expanduser() if named else None)
    if chosen is not None and not chosen.is_dir():
        origin = "--data" if explicit else ENVIRONMENT_VARIABLE
        raise UsageError(
            f"the data folder {chosen} does not exist",
            where=origin,
            mend="`llmeval data add ID --data DIR` makes one",
        )
    return chosen


def check_id(hub_id: str) -> str:
    """Return a hub id that is safe as a path below a mirror.

    Raises:
        UsageError: it is not ``name`` or ``org/name``.
    """
    if not _HUB_ID.fullmatch(hub_id) or ".." in hub_id:
        raise UsageError(f"{hub_id!r} is not a data set id", mend="write org/name")
    return hub_id


def list_ids(mirror: Path) -> list[str]:
    """Return the hub ids in a mirror, sorted: ``org/name``, or ``name`` for the hub's old ids."""
    ids = []
    for path in _folders(mirror):
        if _is_dataset(path):
            ids.append(path.name)
        else:
            ids += [f"{path.name}/{child.name}" for child in _folders(path)]
    return sorted(ids)


def has_dataset(mirror: Path, hub_id: str) -> bool:
    """Say whether the mirror has a folder for the id."""
    return _HUB_ID.fullmatch(hub_id) is not None and (mirror / hub_id).is_dir()


def resolve(hub_id: str, config: str | None = None, *, mirror: Path) -> tuple[str, SplitFiles]:
    """Return the config that is meant and the files of each of its splits.

    Raises:
        UsageError: the mirror does not know the id (with the nearest names) or the config.
    """
    if not has_dataset(mirror, check_id(hub_id)):
        raise UsageError(
            f"no data set {hub_id!r}{nearest(hub_id, list_ids(mirror))}",
            where=str(mirror),
            mend=f"`llmeval data add {hub_id}` fetches it from the hub",
        )
    return choose_config(open_folder(mirror / hub_id), config, hub_id)


def choose_config(folder: DataFolder, config: str | None, name: str) -> tuple[str, SplitFiles]:
    """Return the named config, or the one that is meant where none is named.

    Raises:
        UsageError: there is none of that name, or several and no default.
    """
    if not folder.configs:
        raise UsageError(
            f"{name} holds no data files",
            where=str(folder.path),
            mend=f"expected CONFIG/SPLIT{SUFFIXES[0]} there",
        )
    if config is None:
        if folder.default is None:
            raise UsageError(
                f"{name} has several configs: {_some(folder.configs)}", mend="name one of them"
            )
        config = folder.default
    if config not in folder.configs:
        raise UsageError(
            f"{name} has no config {config!r}{nearest(config, folder.configs)}; "
            f"it has {_some(folder.configs)}",
            where=str(folder.path),
            mend="`llmeval data add` fetches further configs",
        )
    return config, folder.splits(config)


def missing_split(split: str, known: Iterable[str], name: str) -> MissingSplit:
    """Return the error that says which splits there are."""
    return MissingSplit(f"{name} has no split {split!r}; it has {', '.join(known) or 'none'}")


def open_folder(path: Path) -> DataFolder:
    """Return the configs of one data set's folder: those its README declares, then its subfolders.

    Raises:
        UsageError: the README's head is not YAML.
    """
    declared = {str(entry["config_name"]): entry for entry in _declared_configs(path)}
    configs = {*declared, *(f.name for f in _folders(path) if _has_splits(f))}
    if not declared and configs == {HUB_FOLDER}:
        configs = {DEFAULT_CONFIG}
    elif not declared and _data_files(path):
        configs.add(DEFAULT_CONFIG)
    marked = [name for name, entry in declared.items() if entry.get("default")]
    if not marked and (DEFAULT_CONFIG in configs or len(configs) == 1):
        marked = [DEFAULT_CONFIG] if DEFAULT_CONFIG in configs else list(configs)
    return DataFolder(path, sorted(configs), marked[0] if marked else None, declared)


def declared_files(path: Path, entry: Mapping[str, Any]) -> SplitFiles:
    """Return the files of a ``configs:`` entry; without a split, by what their names tell.

    Args:
        path: the data set's folder, which ``data_files`` and ``data_dir`` are relative to.
        entry: ``data_files`` as a pattern, a list of patterns or of ``{split, path}``, or a mapping
            from split to patterns; optionally ``data_dir``.

    Raises:
        UsageError: a pattern fits no file, or leads out of the folder.
    """
    base = path / str(entry.get("data_dir") or "")
    data_files = entry["data_files"]
    if isinstance(data_files, Mapping):
        data_files = [{"split": split, "path": given} for split, given in data_files.items()]
    splits: dict[str, list[Path]] = {}
    for item in data_files if isinstance(data_files, list) else [data_files]:
        given = item.get("path") if isinstance(item, Mapping) else item
        for pattern in given if isinstance(given, list) else [given]:
            for file in _matching(base, str(pattern), path / "README.md"):
                named = item.get("split") if isinstance(item, Mapping) else None
                splits.setdefault(str(named or split_of(file.stem)), []).append(file)
    return {split: tuple(dict.fromkeys(files)) for split, files in splits.items()}


def split_of(stem: str) -> str:
    """Return the split that a file name tells, as the hub guesses it; ``train`` where it does not.

    >>> split_of("gsm8k_test-00000-of-00002"), split_of("rows")
    ('test', 'train')
    """
    words = re.split(r"[^a-z]+", stem.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), "train")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", nearest: a, b" with the names most like this one, or nothing."""
    # A hub id is known by its last part too: people forget or misremember the organisation.
    spellings = {part.lower(): full for full in known for part in (full.split("/")[-1], full)}
    wanted = (name.lower(), name.lower().split("/")[-1])
    close = [found for one in wanted for found in get_close_matches(one, spellings, n=3)]
    names = list(dict.fromkeys(spellings[found] for found in close))[:3]
    return f", nearest: {', '.join(names)}" if names else ""


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _data_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix in SUFFIXES
        and p.is_file()
        and p.name != RECORD
        and not p.name.startswith(".")  # such as a file that `add` is still writing
    )


def _is_dataset(path: Path) -> bool:
    """Say whether a top folder is a data set with an old id without an org, not an org's folder."""
    return any((path / name).exists() for name in ("README.md", RECORD)) or bool(_data_files(path))


def _has_splits(folder: Path) -> bool:
    return bool(_data_files(folder)) or any(_numbered(sub) for sub in _folders(folder))


def _splits_in(folder: Path) -> SplitFiles:
    """Return the splits of one config's folder, by file name or by subfolder."""
    if not folder.is_dir():
        return {}
    plain: dict[str, list[Path]] = {}
    shards: dict[str, list[Path]] = {}
    for path in _data_files(folder):
        shard = _SHARD.fullmatch(path.stem)
        target, name = (shards, shard["split"]) if shard else (plain, path.stem)
        target.setdefault(name, []).append(path)
    for name, paths in plain.items():
        if len(paths) > 1 or name in shards:
            raise UsageError(
                f"several files hold the split {name!r}", where=str(folder), mend="keep one"
            )
    for paths in shards.values():
        _check_shards(paths)
    found = {**plain, **shards}
    if not found:
        found = {sub.name: paths for sub in _folders(folder) if (paths := _numbered(sub))}
    return {name: tuple(paths) for name, paths in sorted(found.items())}


def _numbered(folder: Path) -> list[Path]:
    return [path for path in _data_files(folder) if path.stem.isdigit()]


def _check_shards(paths: list[Path]) -> None:
    matches = [match for path in paths if (match := _SHARD.fullmatch(path.stem))]
    count = int(matches[0]["count"])
    if [int(match["index"]) for match in matches] != list(range(count)):
        raise UsageError(
            f"the split {matches[0]['split']!r} has {len(paths)} of its {count} shards",
            where=str(paths[0].parent),
            mend="fetch the missing files",
        )


def _declared_configs(path: Path) -> list[dict[str, Any]]:
    """Return the ``configs:`` entries with data files of a README's YAML head."""
    readme = path / "README.md"
    if not readme.is_file():
        return []
    stat = readme.stat()
    card = _yaml_head(readme, stat.st_mtime_ns, stat.st_size)
    entries = card.get("configs") if isinstance(card, dict) else None
    if not isinstance(entries, list):
        return []
    return [
        {"config_name": DEFAULT_CONFIG, **entry}
        for entry in entries
        if isinstance(entry, dict) and entry.get("data_files")
    ]


@lru_cache(maxsize=64)
def _yaml_head(readme: Path, mtime_ns: int, size: int) -> Any:
    """Return the parsed head of one version of a README: a task group opens the same one often."""
    text = readme.read_text(encoding="utf-8", errors="replace")
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    if head is None:
        return None
    try:
        return yaml.load(head[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 2}" if mark else ""  # the head starts on line 2
        raise UsageError("the YAML head is malformed", where=f"{readme}{line}") from error


def _matching(base: Path, pattern: str, readme: Path) -> list[Path]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts or "://" in pattern:
        raise UsageError(f"data_files must lie in this folder: {pattern}", where=str(readme))
    found = sorted(p for p in base.glob(pattern) if p.is_file() and p.suffix in SUFFIXES)
    if not found:
        raise UsageError(
            f"declares data_files that are not there: {pattern}",
            where=str(readme),
            mend="fetch the files or take the config out",
        )
    return found


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
