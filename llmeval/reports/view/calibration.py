"""How sure the model was of the choices that it picked, and how often it was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmeval.reports.view.details import read_json, share_out
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES, SCORES
from llmeval.stats import Estimate, expected_calibration_error, reliability
from llmeval.stats.calibration import ReliabilityBin

if TYPE_CHECKING:
    import pyarrow as pa

_MOST = 20_000  # samples: more make no other picture
_MANY = 4  # tasks
_RESAMPLES = 1_000  # for an interval that is looked at
_BATCH = 500  # rows as Python's objects at once
_LEAST = 50  # answers: ten bins of fewer say nothing
_BY_CHOICES = (
    "the picked choice's share of the choices' probability (softmax of their log-probabilities)"
)
_BY_LETTERS = "the picked letter's share of the letters' probability at the answer's first token"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One task's reliability diagram.

    Attributes:
        confidence: what the confidence is, in words.
        n, samples: how many answers have one and were looked at, of how many samples.
        error: expected calibration error.
    """

    task: str
    confidence: str
    n: int
    samples: int
    error: Estimate
    bins: Sequence[ReliabilityBin]


_Judged = dict[str, Mapping[str, Any]]
"""Rows of the scores, by metric."""


@dataclass(slots=True)
class _Seen:
    confidences: list[float]
    correct: list[bool]
    clusters: list[str]
    how: str
    samples: int


def calibrate(run: Run) -> list[Calibration]:
    """Return the calibration of each task that asked for choices, in the order of the record.

    Where they are many, all of them together come first. Tasks with fewer than 50 usable answers
    are left out, as are those whose record does not tell which of the continuations compete.
    """
    tasks = {task: seen for task, seen in _read(run).items() if len(seen.confidences) >= _LEAST}
    found = [_calibrate(task, seen) for task, seen in tasks.items()]
    if len({seen.how for seen in tasks.values()}) == 1 and len(tasks) >= _MANY:
        found.insert(0, _calibrate(f"all {len(tasks)} tasks", _join(list(tasks.values()))))
    return found


def _calibrate(name: str, seen: _Seen) -> Calibration:
    sure, correct = np.array(seen.confidences), np.array(seen.correct, dtype=float)
    clusters = seen.clusters if len(set(seen.clusters)) < len(seen.clusters) else None
    error = expected_calibration_error(sure, correct, clusters=clusters, resamples=_RESAMPLES)
    bins = reliability(sure, correct, clusters=clusters)
    return Calibration(name, seen.how, len(sure), seen.samples, error, bins)


def _join(parts: Sequence[_Seen]) -> _Seen:
    """Put tasks together; a cluster keeps to its task."""
    return _Seen(
        [one for seen in parts for one in seen.confidences],
        [one for seen in parts for one in seen.correct],
        [f"{i} {one}" for i, seen in enumerate(parts) for one in seen.clusters],
        parts[0].how,
        sum(seen.samples for seen in parts),
    )


def _read(run: Run) -> dict[str, _Seen]:
    names = run.read_columns(SAMPLES, ["task", "sample_id"])
    sizes = Counter(names["task"].to_pylist())
    about = run.manifest.get("tasks", {})
    forms = {task: _TaskForm(about.get(task, {})) for task in sizes}
    found = {task: _Seen([], [], [], _BY_CHOICES, samples) for task, samples in sizes.items()}
    chosen = _draw(names.num_rows)
    drawn = _keys(names.take(chosen))
    verdicts = _read_verdicts(run, drawn)
    telling = [_may_tell(verdicts[key], forms[key[0]]) for key in drawn]
    for i, row in enumerate(_read_rows(run, chosen[telling])):
        seen = found[row["task"]]
        judged = verdicts[row["task"], row["sample_id"]]
        sure = _confidence(row, judged, forms[row["task"]])
        if sure is not None:
            seen.how = sure.how
            seen.confidences.append(min(1.0, sure.confidence))
            seen.correct.append(sure.right)
            cluster = row["cluster"]
            seen.clusters.append(f"alone {i}" if cluster is None else f"in {cluster}")
    return found


def _keys(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["task"].to_pylist(), table["sample_id"].to_pylist(), strict=True))


def _draw(rows: int) -> NDArray[np.int64]:
    """Return which rows are looked at: of many, some drawn at random, the same every time."""
    if rows <= _MOST:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))


def _read_rows(run: Run, chosen: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield some rows of the samples; what was answered in a large run does not fit in memory."""
    import pyarrow.parquet as pq

    columns, start = ["task", "sample_id", "exchanges", "fields", "cluster"], 0
    with pq.ParquetFile(run.path / SAMPLES) as file:
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            places = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, end)] - start
            start = end
            if len(places):
                table = file.read_row_group(group, columns).take(places)
                yield from _rows(table)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(_BATCH):
        yield from batch.to_pylist()


def _read_verdicts(run: Run, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], _Judged]:
    """Return the scored metrics of each sample that can say whether a choice is right."""
    columns = ["task", "sample_id", "metric", "value", "extracted", "item"]
    verdicts: dict[tuple[str, str], _Judged] = {key: {} for key in keys}
    for row in _rows(run.read_columns(SCORES, columns, {"status": "scored"})):
        if (judged := verdicts.get((row["task"], row["sample_id"]))) is not None:
            judged[row["metric"]] = row
    return verdicts


@dataclass(frozen=True, slots=True)
class _Sure:
    confidence: float
    right: bool
    how: str


class _TaskForm:
    """How a task's record tells which of the texts asked for compete, and which metric judges."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        config = about.get("config") if about.get("source") == "native" else None
        metrics = config.get("metrics") or [] if config else []
        named = [m.get("name") or m["type"] for m in metrics if m.get("type") == "acc"]
        self.metric = named[0] if named else "acc"
        # Beside the main choices, metrics may ask for choices of their own (TruthfulQA's mc2).
        self._mixed = any(m.get("choices") is not None for m in metrics)
        self._path = str(config.get("choices")) if config else ""

    def count(self, asked: int, fields: str | None) -> int | None:
        """Return how many of the texts asked for are the main choices; None: it cannot be told."""
        if not self._mixed:
            return asked
        value = read_json(fields)
        for name in self._path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return len(value) if isinstance(value, list) and len(value) <= asked else None


def _may_tell(judged: _Judged, form: _TaskForm) -> bool:
    """Whether a sample's answers are worth reading."""
    return form.metric in judged or any(one["item"] for one in judged.values())


def _confidence(row: Mapping[str, Any], judged: _Judged, form: _TaskForm) -> _Sure | None:
    for one in judged.values():
        item = read_json(one["item"])
        if isinstance(item, dict) and {"probabilities", "right"} <= item.keys():
            shares = item["probabilities"]
            return _Sure(max(shares), shares.index(max(shares)) in item["right"], _BY_CHOICES)
    verdict = judged.get(form.metric)
    if verdict is None or verdict["value"] not in (0, 1):
        return None
    letters = read_json(verdict["item"])
    if isinstance(letters, dict) and isinstance(letters.get(verdict["extracted"]), float):
        return _Sure(letters[verdict["extracted"]], verdict["value"] == 1, _BY_LETTERS)
    shares = _choice_shares(row, form)
    return _Sure(max(shares), verdict["value"] == 1, _BY_CHOICES) if shares else None


def _choice_shares(row: Mapping[str, Any], form: _TaskForm) -> list[float] | None:
    """Return the softmax of the main choices' log-probabilities after the same prompt."""
    logprobs: list[float | None] = []
    for one in read_json(row["exchanges"]) or ():
        request, response = one.get("request") or {}, one.get("response") or {}
        if request.get("kind") != "loglikelihood":
            return None
        if "prompt" not in request:  # after another prompt stands what a choice is compared with
            logprobs.append(response.get("logprob"))
    count = form.count(len(logprobs), row["fields"])
    return share_out(logprobs[:count]) if count and count > 1 else None
