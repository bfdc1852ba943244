"""What `llmeval data` does: add, list, verify and compare the data sets of a mirror.

Functions return plain data; the command line prints it. Each data set's folder has a
``fingerprints.json`` with what was added, whence and when, and the digest of every split.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from llmeval.core.errors import StorageError, UsageError
from llmeval.data.diff import DataDiff
from llmeval.data.diff import diff as diff_rows
from llmeval.data.files import count_rows, read_table
from llmeval.data.fingerprint import fingerprint
from llmeval.data.hub import commit_of, config_names, load_from_hub
from llmeval.data.load import Splits, load_dataset
from llmeval.data.mirror import (
    DEFAULT_CONFIG,
    RECORD,
    Files,
    check_id,
    has_dataset,
    list_ids,
    open_folder,
)

if TYPE_CHECKING:
    import datasets

RECORD_VERSION = 1

State = Literal["ok", "changed", "corrupt", "missing", "unrecorded"]


@dataclass(frozen=True, slots=True)
class RecordedSplit:
    """What a data set's record says of one split."""

    rows: int
    digest: str
    source: str
    revision: str | None
    added: str


@dataclass(frozen=True, slots=True)
class ListedSplit:
    """A split in a mirror. `rows` and `digest` are None where no record or footer tells them."""

    id: str
    config: str
    split: str
    rows: int | None
    bytes: int
    digest: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a split still is what was recorded; `problem` says in words what is not."""

    id: str
    config: str
    split: str
    state: State
    rows: int | None
    digest: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class SplitDiff:
    """The difference of one split; `rows` is None where only one side has the split."""

    config: str
    split: str
    state: Literal["same", "changed", "only before", "only after"]
    rows: DataDiff | None


def add(
    name: str,
    mirror: Path,
    *,
    config: str | None = None,
    as_id: str | None = None,
    revision: str | None = None,
) -> list[ListedSplit]:
    """Copy a data set into a mirror as parquet and record its fingerprints.

    Args:
        name: hub id, or a local folder or file (which needs no network).
        mirror: the folder to add to; made if absent.
        config: one config; None for all of them.
        as_id: the id under which the mirror keeps it; a local file's default is ``local/<stem>``.
        revision: branch, tag or commit on the hub.

    Raises:
        UsageError: there is no such data set, or its id is not one.
        StorageError: the disk is full or read-only; what was there before is untouched.
    """
    path = Path(name).expanduser()
    is_local = path.exists()
    hub_id = check_id(as_id or (f"local/{path.resolve().stem}" if is_local else name))
    added = []
    for one in [config] if config else _configs(name, is_local, revision):
        if is_local:
            splits = load_dataset(str(path.resolve()), one)
        else:
            # From the hub even where a mirror has it: adding again is how one updates.
            loaded = load_from_hub(name, one, revision=revision)
            splits = Splits(name, one, "hub", {}, dict(loaded))
        added += _store(splits, mirror, hub_id, one or splits.config or DEFAULT_CONFIG)
    return added


def ls(mirror: Path) -> list[ListedSplit]:
    """Return every split in a mirror, without reading its rows.

    Raises:
        UsageError: a folder's README or record is malformed, or its files are ambiguous.
    """
    listed = []
    for hub_id in list_ids(mirror):
        record = read_record(mirror / hub_id)
        for config, split, files in _splits_of(mirror / hub_id):
            known = record.get((config, split))
            counts = [count_rows(path) for path in files]
            rows = None if None in counts else sum(count for count in counts if count is not None)
            listed.append(
                ListedSplit(
                    hub_id,
                    config,
                    split,
                    known.rows if rows is None and known else rows,
                    sum(path.stat().st_size for path in files),
                    known.digest if known else None,
                    known.source if known else None,
                )
            )
    return listed


def verify(mirror: Path, hub_id: str | None = None) -> list[Verdict]:
    """Read every row again and compare with the record, one verdict a split.

    Args:
        mirror: the mirror.
        hub_id: one data set; None for all.

    Raises:
        UsageError: the mirror does not have `hub_id`.
    """
    if hub_id is not None and not has_dataset(mirror, hub_id):
        raise UsageError(f"no data set {hub_id!r}", where=str(mirror))
    verdicts: list[Verdict] = []
    for one in [hub_id] if hub_id else list_ids(mirror):
        try:
            verdicts += _verify_dataset(mirror / one, one)
        except UsageError as error:
            verdicts.append(Verdict(one, "", "", "corrupt", None, None, str(error)))
    return verdicts


def diff(
    before: str, after: str, *, config: str | None = None, key: str | None = None
) -> list[SplitDiff]:
    """Compare two data sets split by split, in the configs that both have, or in one.

    Args:
        before, after: paths of folders or files, or hub ids; a mirror's data set by its folder.
        config: one config; None for all.
        key: the column that names a row; see `llmeval.data.diff.diff`.
    """
    old, new = _all_splits(before, config), _all_splits(after, config)
    if Path(before).is_file() and Path(after).is_file():
        new = dict(zip(old, new.values(), strict=True))  # one split each, whatever its name
    found = []
    for name, split in sorted(old.keys() | new.keys()):
        if (name, split) not in new:
            found.append(SplitDiff(name, split, "only before", None))
        elif (name, split) not in old:
            found.append(SplitDiff(name, split, "only after", None))
        else:
            rows = diff_rows(old[name, split](), new[name, split](), key=key)
            found.append(SplitDiff(name, split, "same" if rows.same else "changed", rows))
    return found


def read_record(folder: Path) -> dict[tuple[str, str], RecordedSplit]:
    """Return what is recorded of a data set's splits, by config and split.

    Raises:
        UsageError: the record is malformed or from a newer version.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes())
        if record["version"] > RECORD_VERSION:
            raise UsageError("written by a newer llmeval", where=str(path), mend="update llmeval")
        return {
            (config, split): RecordedSplit(**entry)
            for config, splits in record["splits"].items()
            for split, entry in splits.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "the record of fingerprints is malformed",
            where=str(path),
            mend="delete it and add the data set again",
        ) from error


def _configs(name: str, is_local: bool, revision: str | None) -> list[str | None]:
    if not is_local:
        return list(config_names(name, revision))
    path = Path(name).expanduser()
    return [*open_folder(path).configs] if path.is_dir() else [None]


def _store(splits: Splits, mirror: Path, hub_id: str, config: str) -> list[ListedSplit]:
    folder = mirror / hub_id
    record = read_record(folder)
    stored = []
    for split, dataset in splits.items():
        target = folder / config / f"{split}.parquet"
        _check_free(folder, config, split, target)
        _write_parquet(dataset, target)
        made = fingerprint(dataset)
        name = splits.id if splits.source == "hub" else Path(splits.id).name
        entry = RecordedSplit(
            made.rows,
            made.digest,
            f"{splits.source}:{name}",
            commit_of(dataset),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        record[config, split] = entry
        size = target.stat().st_size
        stored.append(
            ListedSplit(hub_id, config, split, made.rows, size, made.digest, entry.source)
        )
    _write_record(folder, hub_id, record)
    return stored


def _check_free(folder: Path, config: str, split: str, target: Path) -> None:
    """Refuse to put a second set of files beside those that hold a split already."""
    if not folder.is_dir():
        return
    known = open_folder(folder)
    there = known.splits(config).get(split) if config in known.configs else None
    if there and there != (target,):
        raise UsageError(
            f"the split {split!r} of config {config!r} is there already, as {there[0].name}",
            where=str(folder),
            mend="remove it first",
        )


def _write_parquet(dataset: datasets.Dataset, target: Path) -> None:
    import pyarrow.parquet as pq

    table = dataset.with_format("arrow")[:]
    # The features of the hub (class labels, images) travel in the schema's metadata.
    table = table.replace_schema_metadata(dataset.features.arrow_schema.metadata)
    with _replacing(target) as file:
        pq.write_table(table, file, compression="zstd")


def _write_record(
    folder: Path, hub_id: str, record: Mapping[tuple[str, str], RecordedSplit]
) -> None:
    splits: dict[str, dict[str, Any]] = {}
    for (config, split), entry in sorted(record.items()):
        splits.setdefault(config, {})[split] = asdict(entry)
    document = {"version": RECORD_VERSION, "id": hub_id, "splits": splits}
    with _replacing(folder / RECORD) as file:
        file.write(json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """Write a file beside the target and put it in its place when it is complete.

    Raises:
        StorageError: the disk is full, read-only or not ours to write to.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide a shared mirror from its other readers
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise _storage_error(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _storage_error(error: OSError, target: Path) -> StorageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(
        f"cannot be written: {error.strerror or error}",
        where=str(target),
        mend="free some space and run the same command again" if full else "choose another --data",
    )


def _splits_of(folder: Path) -> Iterator[tuple[str, str, Files]]:
    known = open_folder(folder)
    for config in known.configs:
        for split, files in known.splits(config).items():
            yield config, split, files


def _verify_dataset(folder: Path, hub_id: str) -> Iterator[Verdict]:
    record = read_record(folder)
    for config, split, files in _splits_of(folder):
        known = record.pop((config, split), None)
        try:
            found = fingerprint(read_table(files))
        except UsageError as error:
            yield Verdict(hub_id, config, split, "corrupt", None, None, str(error))
            continue
        state: State = "unrecorded"
        problem = None
        if known is not None:
            state = "ok" if known.digest == found.digest else "changed"
            problem = None if state == "ok" else f"{known.rows} rows recorded, {found.rows} found"
        yield Verdict(hub_id, config, split, state, found.rows, found.digest, problem)
    for config, split in record:
        yield Verdict(hub_id, config, split, "missing", None, None, "recorded, but has no file")


def _all_splits(
    name: str, config: str | None
) -> dict[tuple[str, str], Callable[[], datasets.Dataset]]:
    """Return how to open each split, by config and split; a single file's config is ``default``."""
    path = Path(name).expanduser()
    configs = [*open_folder(path).configs] if path.is_dir() and not config else [config]
    opened: dict[tuple[str, str], Callable[[], datasets.Dataset]] = {}
    for one in configs:
        splits = load_dataset(str(path) if path.exists() else name, one)
        for split in splits:
            opened[one or splits.config or DEFAULT_CONFIG, split] = _opener(splits, split)
    return opened


def _opener(splits: Splits, split: str) -> Callable[[], datasets.Dataset]:
    return lambda: splits[split]
