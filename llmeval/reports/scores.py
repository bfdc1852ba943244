"""Scores of many records as columns: one query over their Parquet files, whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.core import UsageError
from llmeval.runs import Run
from llmeval.runs.record import SCORES

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Digests = NDArray[np.uint64]

_NEEDED = ("content", "asked")

_QUERY = """
SELECT
    (list_position($paths, filename) - 1)::INTEGER AS run,
    enum_code(TRY_CAST(task AS task_name)) AS task,
    enum_code(TRY_CAST(metric AS metric_name)) AS metric,
    coalesce(CASE WHEN status = 'scored' THEN value END, 'nan'::DOUBLE) AS value,
    coalesce(status = 'errored', false) AS errored,
    ('0x' || content)::UBIGINT AS content,
    coalesce(('0x' || asked)::UBIGINT, 0) AS asked,
    CASE WHEN cluster IS NULL THEN 0 ELSE hash(cluster) END AS cluster,
    {names}
    file_row_number::INTEGER AS row
FROM read_parquet($paths, filename = true, file_row_number = true)
WHERE list_contains($tasks, task) AND list_contains($metrics, metric)
"""


@dataclass(frozen=True, slots=True)
class Scores:
    """One task's scores by one metric, from all runs that have them; [n] each, run by run.

    Attributes:
        run: positions in the list of runs.
        value: NaN where a sample is not scored, or where only the corpus has a number.
        content, asked: digests of an item's data and of its prompts (see ``docs/run-record.md``).
        cluster: 0 where an item stands alone.
        sample_id: names, where they were asked for.
        errored: whether there was no answer; an item without a value that is not errored was
            answered, but could not be judged.
    """

    run: Codes
    value: Floats
    content: Digests
    asked: Digests
    cluster: Digests
    sample_id: NDArray[np.object_] | None = None
    errored: NDArray[np.bool_] | None = None


class ScoreTable:
    """The scores of a list of runs, by task and metric."""

    def __init__(
        self,
        runs: Sequence[Run],
        tasks: Sequence[str],
        metrics: Sequence[str],
        columns: Mapping[str, Any],
    ) -> None:
        self.runs = tuple(runs)
        self._columns = columns
        codes = columns["task"].astype(np.uint32) * len(metrics) + columns["metric"]
        self._codes = codes
        # Written backwards, so that the first row of each key is what stays.
        first = np.full(len(tasks) * len(metrics), -1)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        found = [int(code) for code in np.argsort(first, kind="stable") if first[code] >= 0]
        self._keys = {
            (tasks[code // len(metrics)], metrics[code % len(metrics)]): code for code in found
        }

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Tasks and metrics that any of the runs has, in the order of the records."""
        return list(self._keys)

    def scores(self, task: str, metric: str) -> Scores:
        """Return one task's scores by one metric, of all runs.

        Raises:
            KeyError: no run has them.
        """
        rows = np.flatnonzero(self._codes == self._keys[task, metric])
        names = [field.name for field in fields(Scores)]
        found = {name: self._columns[name][rows] for name in names if name in self._columns}
        return Scores(**found)


def read_scores(
    runs: Sequence[Run],
    *,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    names: bool = False,
) -> ScoreTable:
    """Read the scores of runs.

    It takes some 60 bytes a score: read many records a few tasks at a time.

    Args:
        tasks, metrics: only these.
        names: read the ids of the samples, too; for few runs.

    Raises:
        UsageError: a record has no scores, cannot be read, was written before items had digests,
            or is named twice.
    """
    import duckdb

    paths = [str(run.require(SCORES)) for run in runs]
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise UsageError("the run is named twice", where=str(Path(twice[0]).parent))
    query = _QUERY.format(names="sample_id," if names else "")
    try:
        with duckdb.connect() as connection:
            found = _find_names(connection, paths, tasks, metrics)
            for kind, of_kind in zip(("task_name", "metric_name"), found, strict=True):
                _create_enum(connection, kind, of_kind)
            values = {"paths": paths, "tasks": found[0], "metrics": found[1]}
            columns = connection.execute(query, values).fetchnumpy()
    except duckdb.Error as error:
        raise _find_unreadable(runs, error) from error
    if np.ma.isMaskedArray(columns["content"]):
        raise UsageError("the records cannot be read: an item has no digest of its data")
    return ScoreTable(runs, *found, _put_in_order(columns))


def _put_in_order(columns: dict[str, Any]) -> dict[str, Any]:
    """Put rows run by run, each in the order of its record.

    They mostly come so, but not always: of two small files, DuckDB's threads now and then finish
    the second one first.
    """
    place = columns["run"].astype(np.int64) << 32 | columns.pop("row")
    if (np.diff(place) > 0).all():
        return columns
    order = np.argsort(place)
    return {name: column[order] for name, column in columns.items()}


def _find_names(
    connection: Any,
    paths: Sequence[str],
    tasks: Sequence[str] | None,
    metrics: Sequence[str] | None,
) -> tuple[list[str], list[str]]:
    """Return the names of tasks and metrics: those that are wanted, or else all in the files."""
    there: list[tuple[str, str]] = []
    if tasks is None or metrics is None:
        query = "SELECT DISTINCT task, metric FROM read_parquet($paths)"
        there = connection.execute(query, {"paths": paths}).fetchall()
    known = {task for task, _ in there}, {metric for _, metric in there}
    return (
        sorted(known[0] if tasks is None else set(tasks)),
        sorted(known[1] if metrics is None else set(metrics)),
    )


def _create_enum(connection: Any, kind: str, names: Sequence[str]) -> None:
    """A name becomes a small number; 20 million names would take gigabytes."""
    query = f"CREATE TYPE {kind} AS ENUM (SELECT unnest($names::VARCHAR[]) AS name)"
    connection.execute(query, {"names": list(names)})


def _find_unreadable(runs: Sequence[Run], error: Exception) -> UsageError:
    """Name the record that a query over all of them failed on."""
    for run in runs:
        if missing := [name for name in _NEEDED if name not in run.scores.column_names]:
            return UsageError(
                f"{SCORES} has no column {missing[0]!r}: an older llmeval wrote it",
                where=str(run.path),
                mend="give the run's command again; its answers come from the journal",
            )
    return UsageError(f"the records cannot be read: {str(error).splitlines()[0]}")
