"""Reading a record back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import UsageError
from llmeval.runs.record import SAMPLES, SCORES

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Run:
    """A run record. Tables are pyarrow's; ``run.samples.to_pandas()`` gives pandas."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked: models, tasks, seeds, code, packages, data fingerprints, status."""
        return self._json("manifest.json")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The numbers, with their n, coverage, standard errors and intervals."""
        return self._json("summary.json")

    @cached_property
    def samples(self) -> pa.Table:
        """A row for each sample: prompt, questions with their answers, target, fields."""
        return self._table(SAMPLES)

    @cached_property
    def scores(self) -> pa.Table:
        """A row for each sample and metric: value, status, reason, cluster."""
        return self._table(SCORES)

    @property
    def id(self) -> str:
        return str(self.manifest["run_id"])

    @property
    def status(self) -> str:
        """``complete``, ``interrupted`` or ``invalid``."""
        return str(self.manifest["status"])

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._absent(name) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"the record cannot be read: {error}", where=str(path)) from error
        if not isinstance(content, dict):
            raise UsageError("the record is not a JSON object", where=str(path))
        return content

    def read_columns(
        self, name: str, columns: Sequence[str], where: Mapping[str, str] | None = None
    ) -> pa.Table:
        """Return some columns of a table (``samples.parquet``); the whole one may be large.

        Args:
            where: only rows with these values; what cannot hold any is not read.

        Raises:
            UsageError: the table is not there, cannot be read, or lacks a column.
        """
        filters = [(column, "=", value) for column, value in (where or {}).items()]
        return self._table(name, list(columns), filters or None)

    def require(self, name: str) -> Path:
        """Return the path of one of the record's files.

        Raises:
            UsageError: it is not there; says whether it never was.
        """
        path = self.path / name
        if not path.is_file():
            raise self._absent(name)
        return path

    def _table(
        self,
        name: str,
        columns: list[str] | None = None,
        filters: list[tuple[str, str, str]] | None = None,
    ) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.require(name)
        try:
            return pq.read_table(path, columns=columns, filters=filters)
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"the record cannot be read: {error}", where=str(path)) from error

    def _absent(self, name: str) -> UsageError:
        mend = "the run was killed; give its command again, and it continues"
        if name != "manifest.json" and self.manifest.get("status") == "complete":
            # A complete record was written whole: the same command would begin a new one.
            mend = (
                "the run was complete, so the file was lost later: copy it back, or give its "
                "command again: a new record is made of the answers in the journal"
            )
        return UsageError(f"the record has no {name}", where=str(self.path), mend=mend)


def load_run(path: str | Path) -> Run:
    """Return the record in a folder (``results/<run-id>``).

    Raises:
        UsageError: there is no record.
    """
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        raise UsageError(
            "no run record here",
            where=str(folder),
            mend="name a folder that holds manifest.json, e.g. results/<run-id>",
        )
    return Run(folder)
