"""Whether two records of the same questions hold the same answers and scores, and how nearly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmeval.core import UsageError
from llmeval.runs.load import Run

Item = tuple[str, str]
"""Task and sample id."""

MISSING, ADDED, DATA, PROMPT, ANSWER, SCORE = (
    *("missing", "added", "data", "prompt", "answer", "score"),
)
KINDS = (MISSING, ADDED, DATA, PROMPT, ANSWER, SCORE)

IDENTICAL, EQUIVALENT, DIFFERENT = "byte-identical", "equivalent", "different"

# What a server's caches and bookkeeping change while the answer stays the same.
_ACCOUNTING = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_SAMPLES = ("task", "sample_id", "exchanges", "content", "asked")
_SCORES = ("task", "sample_id", "metric", "status", "value", "extracted", "item")


@dataclass(slots=True)
class Agreement:
    """How far two records agree, item by item.

    Attributes:
        epsilon: numbers that are no further apart count as equivalent.
        items: in either record.
        within: of these, not equal to the last bit, but equivalent.
        changed: of these, those that are not, by what changed: no such item in the second record
            or the first, another data row, other prompts; and where these are the same, another
            answer, or only another score.
        max_logprob, max_value: largest difference of a log-probability (nats) and of a score's
            value, of items with the same data and prompts.
    """

    epsilon: float
    items: int = 0
    within: int = 0
    changed: dict[str, list[Item]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    max_logprob: float = 0.0
    max_value: float = 0.0

    @property
    def num_changed(self) -> int:
        """Items that are not equivalent."""
        return sum(map(len, self.changed.values()))

    @property
    def verdict(self) -> str:
        """``byte-identical``, ``equivalent`` or ``different``."""
        if self.num_changed:
            return DIFFERENT
        return EQUIVALENT if self.within else IDENTICAL

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "verdict": self.verdict,
            "epsilon": self.epsilon,
            "items": self.items,
            "within_epsilon": self.within,
            "max_logprob_difference": self.max_logprob,
            "max_value_difference": self.max_value,
            "changed": {
                kind: [{"task": task, "sample_id": sample} for task, sample in items]
                for kind, items in self.changed.items()
                if items
            },
        }


def compare_answers(before: Run, after: Run, epsilon: float) -> Agreement:
    """Compare the answers and scores of two records of the same tasks.

    Raises:
        UsageError: a record lacks a table or a column, or its rows are not as llmeval writes them.
    """
    found = Agreement(epsilon)
    (old, old_scores), (new, new_scores) = _read(before), _read(after)
    for item in dict.fromkeys([*old, *new]):
        found.items += 1
        if item not in new:
            kind: str | None = MISSING
        elif item not in old:
            kind = ADDED
        else:
            scores = old_scores.get(item, {}), new_scores.get(item, {})
            kind = _compare_item(found, old[item], new[item], *scores)
        if kind is not None:
            found.changed[kind].append(item)
    return found


def require_answers(run: Run) -> None:
    """Find out whether a record can be compared, without keeping what it holds.

    Raises:
        UsageError: it lacks a table or a column, or one cannot be read.
    """
    run.read_columns("samples.parquet", _SAMPLES)
    run.read_columns("scores.parquet", _SCORES)


_Row = Mapping[str, Any]
_ScoresOf = dict[Item, dict[str, _Row]]


def _read(run: Run) -> tuple[dict[Item, _Row], _ScoresOf]:
    """Return a record's samples by item, and its scores by item and metric."""
    samples = run.read_columns("samples.parquet", _SAMPLES).to_pylist()
    scores: _ScoresOf = {}
    for row in run.read_columns("scores.parquet", _SCORES).to_pylist():
        scores.setdefault((row["task"], row["sample_id"]), {})[row["metric"]] = row
    return {(row["task"], row["sample_id"]): row for row in samples}, scores


def _compare_item(
    found: Agreement,
    old: _Row,
    new: _Row,
    old_scores: Mapping[str, _Row],
    new_scores: Mapping[str, _Row],
) -> str | None:
    """Return what changed beyond epsilon, or None; count what is within it."""
    if old["content"] != new["content"]:
        return DATA
    if old["asked"] != new["asked"]:
        return PROMPT
    answers = _answer_distance(old["exchanges"], new["exchanges"])
    scores = _score_distance(old_scores, new_scores)
    found.max_logprob = max(found.max_logprob, _finite(answers))
    found.max_value = max(found.max_value, _finite(scores))
    if answers > found.epsilon:
        return ANSWER
    if scores > found.epsilon:
        return SCORE
    found.within += max(answers, scores) > 0
    return None


def _finite(distance: float) -> float:
    return distance if math.isfinite(distance) else 0.0


def _answer_distance(old: str, new: str) -> float:
    if old == new:
        return 0.0
    try:
        return measure_distance(_answers(old), _answers(new))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"exchanges that cannot be read: {error!r}"
        raise UsageError(what, where="samples.parquet") from error


def _answers(exchanges: str) -> list[Any]:
    """Return questions with their answers, ordered by question: who asks first is not certain."""
    pairs = [
        (e["request"], {k: v for k, v in e["response"].items() if k not in _ACCOUNTING})
        for e in json.loads(exchanges)
    ]
    return sorted(map(list, pairs), key=lambda pair: json.dumps(pair[0], sort_keys=True))


def _score_distance(old: Mapping[str, _Row], new: Mapping[str, _Row]) -> float:
    return measure_distance(_scores(old), _scores(new))


def _scores(rows: Mapping[str, _Row]) -> dict[str, Any]:
    return {
        metric: [row["status"], row["extracted"], row["value"], _parse(row["item"])]
        for metric, row in rows.items()
    }


def _parse(item: str | None) -> Any:
    try:
        return None if item is None else json.loads(item)
    except ValueError:
        return item


def measure_distance(a: Any, b: Any) -> float:
    """Return the largest difference of two numbers at the same place in two JSON values.

    Infinite where anything else differs: a text, a truth value, a null, the shape, or a count: of
    two whole numbers (tokens, indices) none is nearly the other.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return math.inf
        return max((measure_distance(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return math.inf
        return max(map(measure_distance, a, b), default=0.0)
    if _is_number(a) and _is_number(b) and not (isinstance(a, int) and isinstance(b, int)):
        return _gap(a, b)
    return 0.0 if type(a) is type(b) and a == b else math.inf


def _gap(a: float, b: float) -> float:
    if a == b or (a != a and b != b):
        return 0.0
    try:
        gap = abs(float(a) - float(b))
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
    return math.inf if math.isnan(gap) else gap


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
