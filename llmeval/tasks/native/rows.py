"""The rows that a native task reads, as an Arrow table: from a file or from a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from llmeval.tasks.native.spec import Data

Row = Mapping[str, Any]

_POCKET = "pocket:"


@dataclass(frozen=True)
class Rows:
    """One split.

    Attributes:
        id, config, split: the data set as the task names it, for its fingerprint; no path of this
            machine, so that the record is the same everywhere.
        table: the rows, decoded when they are looked at.
    """

    id: str
    config: str | None
    split: str
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Row]:
        from llmeval.data.fingerprint import decoded_rows

        return decoded_rows(self.table)

    def __getitem__(self, index: int) -> Row:
        return next(iter(Rows(self.id, self.config, self.split, self.table.slice(index, 1))))

    def head(self, count: int | None) -> Rows:
        """Return the first rows, all for None."""
        if count is None:
            return self
        return Rows(self.id, self.config, self.split, self.table.slice(0, count))

    def pick(self, numbers: Sequence[int]) -> Rows:
        """Return the rows of these numbers, in that order."""
        return Rows(self.id, self.config, self.split, self.table.take(list(numbers)))

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Which rows these are, as the manifest holds it."""
        from llmeval.data.fingerprint import fingerprint

        return asdict(fingerprint(self.table, id=self.id, config=self.config, split=self.split))


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from.

    Args:
        data: the task's ``data`` field.
        folder: the folder of its YAML, from which relative paths count.
        mirror: the folder of ``--data``.
    """

    data: Data
    folder: Path
    mirror: Path | None

    def evaluated(self) -> Rows:
        """Return the rows that become samples.

        Raises:
            UsageError: they are missing, unreadable or none at all.
        """
        rows = self._read(self.data.path, self.data.split)
        if not len(rows):
            raise UsageError("the data have no rows", where=rows.id)
        return rows

    def examples(self) -> Rows | None:
        """Return the rows that solved examples are drawn from, None for the evaluated ones."""
        data = self.data
        if data.fewshot_path is not None:
            return self._read(data.fewshot_path, data.fewshot_split)
        if data.fewshot_split is not None and data.fewshot_split != data.split:
            return self._read(data.path, data.fewshot_split)
        return None

    def training(self) -> Rows:
        """Return the rows that baselines may learn from: those named so, else the examples'.

        Raises:
            UsageError: there are none, or they are the evaluated ones.
        """
        data = self.data
        if data.train_path is not None or data.train_split is not None:
            rows: Rows | None = self._read(data.train_path or data.path, data.train_split)
        else:
            rows = self.examples()
        if rows is None:
            what = "the data name no rows to learn from beside those that are evaluated"
        elif rows.fingerprint["digest"] == self.evaluated().fingerprint["digest"]:
            what = f"the rows to learn from ({rows.id}, {rows.split}) are those that are evaluated"
        else:
            return rows
        raise UsageError(what, mend="name others as train_split or train_path under data")

    def _read(self, path: str | None, split: str | None) -> Rows:
        if path is None:
            return self._read_dataset(str(self.data.id), str(self.data.id), split)
        place = self._locate(path)
        if place.is_dir():
            return self._read_dataset(str(place), path, split)
        from llmeval.data.files import read_table

        return Rows(path, None, split or place.stem, read_table([place]))

    def _read_dataset(self, name: str, shown: str, split: str | None) -> Rows:
        from llmeval.data.files import read_table
        from llmeval.data.load import load_dataset

        data = self.data
        wanted = split or "test"
        splits = load_dataset(name, data.config, mirror=self.mirror, revision=data.revision)
        if wanted in splits.files:  # without the data set library, whose import takes seconds
            table = read_table(splits.files[wanted])
        else:
            table = splits[wanted].with_format("arrow")[:]
        return Rows(shown, splits.config, wanted, table)

    def _locate(self, path: str) -> Path:
        if path.startswith(_POCKET):
            from llmeval.pocket import DATA_DIR

            return DATA_DIR / path.removeprefix(_POCKET)
        return self.folder / Path(path).expanduser()
