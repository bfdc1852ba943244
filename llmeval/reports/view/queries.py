"""What the page of a large run asks its server for, in SQL. query.js means the same."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from threading import Lock
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from llmeval.core import UsageError
from llmeval.reports.view.items import Items
from llmeval.runs.record import SAMPLES

Score = Literal["", "right", "wrong", "between", "changed", "lost", "gained"]
Sort = Literal["", "id", "best", "worst", "gain", "loss"]
_KEPT_ANSWERS = 16
_MOST_ROWS = 1000

# A text in the record's JSON is escaped, so that is where to look first; then in the texts alone,
# for the names of fields are no text of a model.
_HAS_TEXT = """
    contains(lower(coalesce(sample_id, '')), $needle)
    OR contains(lower(coalesce(target, '')), $needle)
    OR contains(lower(coalesce(prompt, '')), $needle)
    OR contains(lower(coalesce(prompt, '')), $escaped)
    OR (contains(lower(coalesce(exchanges, '')), $escaped) AND contains(lower(array_to_string(
        list_concat(list_concat(list_concat(
            json_extract_string(exchanges, '$[*].response.text'),
            json_extract_string(exchanges, '$[*].response.reasoning')),
            json_extract_string(exchanges, '$[*].response.reason')),
            list_concat(json_extract_string(exchanges, '$[*].request.prompt'),
            list_filter(json_extract_string(exchanges, '$[*].request.rest[0]'),
                lambda x: NOT starts_with(x, '{"'))))
        , chr(10))), $needle))
"""

_HAS_VERDICT = """
    len(list_filter(scores, lambda s: contains(lower(coalesce(s.extracted, '')), $needle)
        OR contains(lower(coalesce(s.reason, '')), $needle))) > 0
"""


@dataclass(frozen=True, slots=True)
class Query:
    """Which items, in which order; each field as in query.js, None where nothing is asked."""

    search: str = ""
    task: int | None = None
    status: int | None = None
    metric: int | None = None
    score: Score = ""
    low: float | None = None
    high: float | None = None
    facet: int | None = None
    value: int | None = None
    sort: Sort = ""


def parse_query(given: Mapping[str, str], items: Items) -> Query:
    """Return the query that an address asks.

    Raises:
        UsageError: a value is none that the page sends.
    """
    bounds = {
        "task": len(items.tasks),
        "status": 3,
        "metric": len(items.metrics),
        "facet": len(items.facets),
        "value": 1_000_000,
    }
    codes = {name: _integer(given.get(name), name, most) for name, most in bounds.items()}
    score, sort = given.get("score", ""), given.get("sort", "")
    if score not in get_args(Score) or sort not in get_args(Sort):
        raise UsageError("unknown score or sort")
    low, high = (_number(given.get(name), name) for name in ("low", "high"))
    return Query(
        search=given.get("search", ""),
        score=cast(Score, score),
        sort=cast(Sort, sort),
        low=low,
        high=high,
        **codes,
    )


def _integer(text: str | None, name: str, most: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and int(text) < most):
        raise UsageError(f"not a {name}")
    return int(text)


def _number(text: str | None, name: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise UsageError(f"{name} is not a number") from None


class Finder:
    """Answers queries over the items of one run or two; remembers the latest."""

    def __init__(self, items: Items) -> None:
        self.items = items
        self._lock = Lock()
        self._found: OrderedDict[tuple[Any, ...], NDArray[np.int64]] = OrderedDict()
        self._codes = {task["name"]: i for i, task in enumerate(items.tasks)}

    def find(self, query: Query) -> NDArray[np.int64]:
        """Return the positions of the items that match, in the order asked."""
        key = astuple(query)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = self._run(query)
        with self._lock:
            self._found[key] = found
            if len(self._found) > _KEPT_ANSWERS:
                self._found.popitem(last=False)
        return found

    def _run(self, query: Query) -> NDArray[np.int64]:
        where, parameters = self._conditions(query)
        order = self._order(query)
        text = f"SELECT position FROM items WHERE {where} ORDER BY {order}"
        columns = self.items.cursor().execute(text, parameters).fetchnumpy()
        return np.asarray(columns["position"], dtype=np.int64)

    def rows(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Return rows of the list: ``Row`` of query.js."""
        wanted = [int(position) for position in positions[:_MOST_ROWS]]
        text = "SELECT * FROM items WHERE list_contains($positions, position)"
        cursor = self.items.cursor().execute(text, {"positions": wanted})
        names = [column[0] for column in cursor.description]
        found = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
        return [self._row(found[position]) for position in wanted]

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        sides, metrics = range(len(self.items.runs)), range(len(self.items.metrics))
        return {
            "position": row["position"],
            "task": self._codes[row["task"]],
            "id": row["sample_id"],
            **{name: row[name] for name in ("snippet", "target", "alike")},
            "facets": [row[f"facet_{j}"] for j in range(len(self.items.facets))],
            "sides": [
                {
                    "status": row[f"status_{k}"],
                    "answer": row[f"answer_{k}"],
                    "values": [row[f"value_{k}_{m}"] for m in metrics],
                }
                for k in sides
            ],
        }

    def locate(self, task: str, sample_id: str) -> int | None:
        """Return the position of a sample, None where there is none."""
        text = "SELECT min(position) FROM items WHERE task = $task AND sample_id = $id"
        cursor = self.items.cursor().execute(text, {"task": task, "id": sample_id})
        found = cursor.fetchall()[0][0]
        return None if found is None else int(found)

    # -- conditions --

    def _conditions(self, query: Query) -> tuple[str, dict[str, Any]]:
        sides = range(len(self.items.runs))
        parts, parameters = ["true"], {}
        if query.task is not None:
            parts.append("task = $task")
            parameters["task"] = self.items.tasks[query.task]["name"]
        if query.status is not None:
            parts.append("(" + " OR ".join(f"status_{k} = {query.status}" for k in sides) + ")")
        if query.facet is not None and query.value is not None:
            parts.append(f"facet_{query.facet} = {query.value}")
        if query.score:
            parts.append(self._score(query))
        if query.search:
            needle = query.search.lower()
            escaped = json.dumps(needle, ensure_ascii=False)[1:-1]
            parts.append("(" + " OR ".join(f"row_{k} IN ({self._has(k)})" for k in sides) + ")")
            parameters |= {"needle": needle, "escaped": escaped}
            parameters |= {
                f"samples{k}": str(run.path / SAMPLES) for k, run in enumerate(self.items.runs)
            }
        if query.score == "between":
            low = -np.inf if query.low is None else query.low
            parameters |= {"low": low, "high": np.inf if query.high is None else query.high}
        return " AND ".join(parts), parameters

    def _has(self, k: int) -> str:
        source = f"read_parquet($samples{k}, file_row_number = true)"
        texts = f"SELECT file_row_number FROM {source} WHERE {_HAS_TEXT}"
        return f"{texts} UNION ALL SELECT row FROM side{k} WHERE {_HAS_VERDICT}"

    def _score(self, query: Query) -> str:
        values = [self._value(query.metric, k) for k in range(len(self.items.runs))]
        if query.score == "between":
            return "(" + " OR ".join(f"{v} BETWEEN $low AND $high" for v in values) + ")"
        if query.score in ("right", "wrong"):
            best = self._by_task(query.metric, lambda task, m: self._wanted(task, m, query.score))
            return " AND ".join(f"coalesce({v} = {best}, false)" for v in values)
        if len(values) < 2:
            return "false"
        sign = {"lost": "< 0", "gained": "> 0", "changed": "!= 0"}[query.score]
        return f"coalesce({self._gain(query.metric)} {sign}, false)"

    def _order(self, query: Query) -> str:
        by_gain = query.sort in ("gain", "loss")
        if query.sort == "" or (by_gain and len(self.items.runs) == 1):
            return "position"
        if query.sort == "id":
            return "sample_id, position"
        if by_gain:
            key = self._gain(query.metric)
        else:
            sign = self._by_task(query.metric, self._sign)
            key = f"{self._value(query.metric, len(self.items.runs) - 1)} * {sign}"
        return f"{key} {'DESC' if query.sort in ('best', 'gain') else 'ASC'} NULLS LAST, position"

    def _gain(self, metric: int | None) -> str:
        sign = self._by_task(metric, self._sign)
        return f"(({self._value(metric, 1)} - {self._value(metric, 0)}) * {sign})"

    def _value(self, metric: int | None, k: int) -> str:
        return self._by_task(metric, lambda task, m: f"value_{k}_{m}")

    def _sign(self, task: Mapping[str, Any], m: int) -> str:
        return "1" if self.items.metrics[m].higher_is_better else "-1"

    def _wanted(self, task: Mapping[str, Any], m: int, score: str) -> str:
        """Return the value of a right, or wrong, answer; NULL where answers are neither."""
        best = self.items.metrics[m].higher_is_better == (score == "right")
        return str(int(best)) if m in task["binary"] else "NULL"

    def _by_task(self, metric: int | None, write: Callable[[Mapping[str, Any], int], str]) -> str:
        """Return an expression that depends on the item's task.

        Args:
            metric: which one; None: each task's first.
            write: what stands for a task and its metric.
        """
        chosen = [(t, t["metric"] if metric is None else metric) for t in self.items.tasks]
        parts = {t["name"]: write(t, m) for t, m in chosen if m is not None}
        if len(parts) == len(chosen) and len(set(parts.values())) == 1:
            return next(iter(parts.values()))
        whens = " ".join(f"WHEN {_literal(name)} THEN {part}" for name, part in parts.items())
        return f"(CASE task {whens} END)" if parts else "NULL"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
