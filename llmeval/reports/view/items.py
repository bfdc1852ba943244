"""The items of one run, or of two side by side, as a table of what a list of them shows.

Built by DuckDB over the record's Parquet files, so that a page that holds everything and a server
that is asked page by page read the same table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from llmeval.core import UsageError
from llmeval.reports.view.details import Details
from llmeval.reports.view.facets import Facet, find_facets
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES, SCORES

if TYPE_CHECKING:
    import duckdb

STATUSES = ("scored", "unscored", "errored")
_MOST_METRICS = 60  # columns of numbers; a run with more has tasks of many kinds, not one list
_SNIPPET = 180  # characters
_LEAST_PARAGRAPH = 16
_ANSWER = 120
_BATCH = 1000

# A chat is JSON, [[role, content], ...]: of it, what the last turn says. The end of a prompt is
# what differs between samples, after examples and instructions: so its last paragraph is shown, or
# the last two where that is but a word. Texts are cut before anything is joined or ordered: whole
# ones pass by row group for row group, for those of a large run do not fit in memory.
_SIDE = """
CREATE TABLE side{k} AS
WITH read AS (
    SELECT file_row_number AS row, task, sample_id, {content} AS content, {asked} AS asked, target,
        CASE WHEN starts_with(prompt, '[[') AND json_valid(prompt)
            THEN coalesce(json_extract_string(prompt, '$[#-1][1]'), prompt)
            ELSE prompt END AS shown,
        CASE WHEN json_valid(exchanges) THEN exchanges END AS said
    FROM read_parquet($samples, file_row_number = true)
), parted AS (
    SELECT *, string_split(trim(coalesce(shown, ''), $blanks), chr(10) || chr(10)) AS parts,
        CASE WHEN length(trim(parts[-1])) < {least} THEN 2 ELSE 1 END AS taken,
        TRY_CAST(json_extract(said, '$[*].response.logprob') AS DOUBLE[]) AS logprobs
    FROM read
), cut AS (
    SELECT row, task, sample_id, content, asked, left(target, 400) AS target,
        CASE WHEN len(parts) > taken THEN '… ' ELSE '' END AS before,
        left(array_to_string(parts[-taken:], ' '), 400) AS snippet,
        left(coalesce(
            json_extract_string(said, '$[0].response.text'),
            CASE WHEN len(logprobs) > 1 AND len(logprobs) = json_array_length(said)
                THEN json_extract_string(said, '$[*].request.rest[0]')
                    [list_position(logprobs, list_max(logprobs))] END,
            json_extract_string(said, '$[0].response.reason')), 400) AS answer
    FROM parted
), scores AS (
    SELECT task, sample_id,
        max(CASE status WHEN 'errored' THEN 2 WHEN 'unscored' THEN 1 ELSE 0 END) AS status,
        arg_min(extracted, file_row_number) FILTER (extracted IS NOT NULL) AS extracted,
        {values}
        list({{'metric': metric, 'value': value, 'status': status, 'reason': reason,
            'extracted': extracted, 'item': item}} ORDER BY file_row_number) AS scores
    FROM read_parquet($scores, file_row_number = true)
    GROUP BY task, sample_id
)
SELECT row, task, sample_id, content, asked,
    row_number() OVER (PARTITION BY task, content ORDER BY row) AS occurrence,
    before || left(regexp_replace(snippet, '\\s+', ' ', 'g'), {snippet}) AS snippet,
    left(regexp_replace(target, '\\s+', ' ', 'g'), {answer}) AS target,
    left(regexp_replace(left(coalesce(scores.extracted, answer, ''), 400), '\\s+', ' ', 'g'),
        {answer}) AS answer,
    coalesce(scores.status, 2)::UTINYINT AS status,
    {names}
    scores.scores
FROM cut LEFT JOIN scores USING (task, sample_id)
ORDER BY row
"""

# What a run lacks is NULL there. Items stand as in the first run; those that only the second has
# come behind.
_PAIR = """
CREATE TABLE items AS
SELECT row_number() OVER (ORDER BY a.row NULLS LAST, b.row) - 1 AS position,
    coalesce(a.task, b.task) AS task,
    coalesce(a.sample_id, b.sample_id) AS sample_id,
    coalesce(a.snippet, b.snippet) AS snippet,
    coalesce(a.target, b.target) AS target,
    coalesce(a.asked IS NOT DISTINCT FROM b.asked OR a.row IS NULL OR b.row IS NULL, true) AS alike,
    {columns}
FROM side0 a FULL OUTER JOIN side1 b
    ON a.task = b.task AND a.content = b.content AND a.occurrence = b.occurrence
LEFT JOIN labels0 ON a.row = labels0.row LEFT JOIN labels1 ON b.row = labels1.row
ORDER BY position
"""

_ONE = """
CREATE TABLE items AS
SELECT a.row AS position, a.task, a.sample_id, a.snippet, a.target, true AS alike, {columns}
FROM side0 a LEFT JOIN labels0 ON a.row = labels0.row ORDER BY a.row
"""


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """A metric of the list."""

    name: str
    higher_is_better: bool


class Items:
    """The items of one run, or of two runs: a DuckDB table ``items``.

    Its columns are ``position``, ``task``, ``sample_id``, ``snippet``, ``target``, ``alike`` (asked
    in the same way by both); for each run k ``row_k`` (in its samples, NULL where it lacks the
    item), ``status_k`` (a position in `STATUSES`), ``answer_k`` and ``value_k_m`` for each metric;
    and for each facet ``facet_j``, a position in its values.

    Raises:
        UsageError: a record cannot be read, or two runs cannot be put side by side.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        import duckdb

        self.runs = tuple(runs)
        self._names = _metric_names(self.runs)
        self._lock = Lock()
        self._connection = duckdb.connect()
        try:
            for k, run in enumerate(self.runs):
                _load_side(self._connection, k, run, self._names, paired=len(self.runs) > 1)
            self.facets: list[Facet] = self._join()
        except duckdb.Error as error:
            raise _explain(self.runs, error) from error
        self._details = [Details(run) for run in self.runs]

    def _join(self) -> list[Facet]:
        facets, tables = find_facets(self.runs)
        sides = "ab"[: len(self.runs)]
        columns = []
        for k, (side, table) in enumerate(zip(sides, tables, strict=True)):
            self._connection.register(f"labels{k}", table)
            columns += [f"{side}.{name} AS {name}_{k}" for name in ("row", "status", "answer")]
            columns += [f"{side}.value_{m} AS value_{k}_{m}" for m in range(len(self._names))]
        for j in range(len(facets)):
            codes = ", ".join(f"labels{k}.facet_{j}" for k in range(len(sides)))
            columns.append(f"coalesce({codes}, NULL) AS facet_{j}")
        template = _PAIR if len(sides) > 1 else _ONE
        self._connection.execute(template.format(columns=", ".join(columns)))
        for k in range(len(sides)):
            self._connection.unregister(f"labels{k}")
        return facets

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of one's own to the table: threads may not share one."""
        with self._lock:
            return self._connection.cursor()

    def __len__(self) -> int:
        return int(self.cursor().execute("SELECT count(*) FROM items").fetchall()[0][0])

    @cached_property
    def metrics(self) -> list[MetricColumn]:
        """The metrics, in the order of the summaries."""
        return [MetricColumn(name, _direction(self.runs, name)) for name in self._names]

    @cached_property
    def tasks(self) -> list[dict[str, Any]]:
        """Each task's ``name`` and number of items ``n``, and of its metrics, by position:
        ``metric`` stands first in its summary, each of ``binary`` is 0 or 1 for every sample.
        """
        tests = ", ".join(self._is_binary(m) for m in range(len(self._names)))
        query = f"SELECT task, count(*){', ' * bool(tests)}{tests} FROM items GROUP BY task"
        rows = self.cursor().execute(f"{query} ORDER BY min(position)").fetchall()
        return [
            {
                "name": task,
                "n": n,
                "metric": self._names.index(first) if first else None,
                "binary": [m for m, is_binary in enumerate(told) if is_binary],
            }
            for task, n, *told in rows
            for first in [self._first_metric(task)]
        ]

    def _is_binary(self, m: int) -> str:
        values = [f"value_{k}_{m}" for k in range(len(self.runs))]
        each = " AND ".join(f"coalesce({value} IN (0, 1), true)" for value in values)
        return f"bool_and({each}) AND count(coalesce({', '.join(values)}, NULL)) > 0"

    def _first_metric(self, task: str) -> str | None:
        for run in self.runs:
            for name in run.summary["tasks"].get(task, {}).get("metrics", {}):
                if name in self._names:
                    return str(name)
        return None

    def columns(self) -> dict[str, list[Any]]:
        """Return the whole table as lists, in the order of the items."""
        cursor = self.cursor().execute("SELECT * FROM items ORDER BY position")
        return {name: _plain(column) for name, column in cursor.fetchnumpy().items()}

    @property
    def size(self) -> int:
        """Bytes of all samples as text."""
        return sum(details.size for details in self._details)

    def read(self, positions: Sequence[int] | None = None) -> Iterator[list[dict[str, Any] | None]]:
        """Yield items whole, one entry for each run: None where it lacks the item.

        Args:
            positions: in the table; all of it in its order if None.
        """
        sides = range(len(self.runs))
        columns = ", ".join(f"items.row_{k}, side{k}.scores" for k in sides)
        joins = " ".join(f"LEFT JOIN side{k} ON side{k}.row = items.row_{k}" for k in sides)
        where = "" if positions is None else "WHERE list_contains($positions, position)"
        query = f"SELECT {columns} FROM items {joins} {where} ORDER BY position"
        parameters = {} if positions is None else {"positions": list(positions)}
        cursor = self.cursor().execute(query, parameters)
        while batch := cursor.fetchmany(_BATCH):
            for row in batch:
                yield [
                    None
                    if row[2 * k] is None
                    else self._details[k].read(row[2 * k], row[2 * k + 1] or [])
                    for k in sides
                ]


def _load_side(
    connection: duckdb.DuckDBPyConnection, k: int, run: Run, names: Sequence[str], *, paired: bool
) -> None:
    paths = {name: run.path / name for name in (SAMPLES, SCORES)}
    for name, path in paths.items():
        if not path.is_file():
            raise UsageError(
                f"the record has no {name}",
                where=str(run.path),
                mend="the run was killed; give its command again, and it continues",
            )
    values = [
        f"max(value) FILTER (status = 'scored' AND isfinite(value) AND metric = $metric{m})"
        f" AS value_{m},"
        for m in range(len(names))
    ]
    query = _SIDE.format(
        k=k,
        content="content" if paired else "sample_id",
        asked="asked" if paired else "NULL",
        values="\n        ".join(values),
        names="".join(f"scores.value_{m}, " for m in range(len(names))),
        snippet=_SNIPPET,
        least=_LEAST_PARAGRAPH,
        answer=_ANSWER,
    )
    parameters = {name.split(".")[0]: str(path) for name, path in paths.items()}
    parameters["blanks"] = " \t\n\r"
    connection.execute(query, parameters | {f"metric{m}": name for m, name in enumerate(names)})


def _metric_names(runs: Sequence[Run]) -> list[str]:
    tasks = [task for run in runs for task in run.summary["tasks"].values()]
    return list(dict.fromkeys(name for task in tasks for name in task["metrics"]))[:_MOST_METRICS]


def _direction(runs: Sequence[Run], metric: str) -> bool:
    for run in runs:
        for task in run.summary["tasks"].values():
            if metric in task["metrics"]:
                return bool(task["metrics"][metric]["higher_is_better"])
    return True


def _plain(column: Any) -> list[Any]:
    """Return a column as JSON's values; what is masked is None."""
    values = column.tolist()
    if isinstance(column, np.ma.MaskedArray):
        return list(values)
    return [None if isinstance(v, float) and v != v else v for v in values]


def _explain(runs: Sequence[Run], error: Exception) -> UsageError:
    """Name the record that a query failed on."""
    for run in runs:
        if len(runs) > 1 and "content" not in run.samples.column_names:
            return UsageError(
                f"{SAMPLES} has no column 'content': an older llmeval wrote it",
                where=str(run.path),
                mend="give the run's command again; its answers come from the journal",
            )
    where = ", ".join(str(run.path) for run in runs)
    return UsageError(f"the record cannot be read: {str(error).splitlines()[0]}", where=where)
