"""Scores of many records as columns: one query over their Parquet files, whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmeval.core import UsageError
from llmeval.runs import Run
from llmeval.runs.record import SCORES

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Digests = NDArray[np.uint64]

_NEEDED = ("content", "asked")

_QUERY = """
SELECT
    list_position($paths, filename) - 1 AS run,
    task,
    metric,
    CASE WHEN status = 'scored' THEN value END AS value,
    ('0x' || content)::UBIGINT AS content,
    coalesce(('0x' || asked)::UBIGINT, 0) AS asked,
    CASE WHEN cluster IS NULL THEN 0 ELSE hash(cluster) END AS cluster,
    status = 'errored' AS errored,
    {names}
    file_row_number AS row
FROM read_parquet($paths, filename = true, file_row_number = true)
{where}
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

    def __init__(self, runs: Sequence[Run], table: pa.Table) -> None:
        self.runs = tuple(runs)
        self._table = table
        tasks = table["task"].combine_chunks().dictionary_encode()
        metrics = table["metric"].combine_chunks().dictionary_encode()
        self._metrics = metrics.dictionary.to_pylist()
        names = tasks.dictionary.to_pylist()
        codes = _numpy(tasks.indices) * len(self._metrics) + _numpy(metrics.indices)
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        self._rows: dict[tuple[str, str], NDArray[np.intp]] = {}
        for rows in np.split(order, starts[1:]) if len(order) else ():
            task, metric = divmod(int(codes[rows[0]]), len(self._metrics))
            self._rows[names[task], self._metrics[metric]] = rows

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Tasks and metrics that any of the runs has, in the order of the records."""
        return sorted(self._rows, key=lambda key: int(self._rows[key][0]))

    def scores(self, task: str, metric: str) -> Scores:
        """Return one task's scores by one metric, of all runs.

        Raises:
            KeyError: no run has them.
        """
        rows = self._rows[task, metric]

        def column(name: str) -> Any:
            return _numpy(self._table[name].take(rows))

        ids = column("sample_id") if "sample_id" in self._table.column_names else None
        order = np.lexsort((column("row"), column("run")))
        return Scores(
            run=column("run").astype(np.int64)[order],
            value=column("value").astype(np.float64)[order],
            content=column("content")[order],
            asked=column("asked")[order],
            cluster=column("cluster")[order],
            sample_id=None if ids is None else ids[order],
            errored=column("errored").astype(bool)[order],
        )


def read_scores(
    runs: Sequence[Run], *, tasks: Sequence[str] | None = None, names: bool = False
) -> ScoreTable:
    """Read the scores of runs.

    Args:
        tasks: only these.
        names: read the ids of the samples, too; for few runs.

    Raises:
        UsageError: a record has no scores, cannot be read, was written before items had digests,
            or is named twice.
    """
    import duckdb

    paths = [str(_scores_path(run)) for run in runs]
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise UsageError("the run is named twice", where=str(Path(twice[0]).parent))
    where = "WHERE list_contains($tasks, task)" if tasks is not None else ""
    query = _QUERY.format(names="sample_id," if names else "", where=where)
    values = {"paths": paths} | ({"tasks": list(tasks)} if tasks is not None else {})
    try:
        with duckdb.connect() as connection:
            table = connection.sql(query, params=values).to_arrow_table()
    except duckdb.Error as error:
        raise _find_unreadable(runs, error) from error
    return ScoreTable(runs, table)


def _scores_path(run: Run) -> Path:
    path = run.path / SCORES
    if not path.is_file():
        raise UsageError(
            f"the record has no {SCORES}",
            where=str(run.path),
            mend="the run was killed; give its command again, and it continues",
        )
    return path


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


def _numpy(column: pa.Array | pa.ChunkedArray) -> Any:
    return column.to_numpy(zero_copy_only=False)
