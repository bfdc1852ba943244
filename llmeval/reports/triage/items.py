"""The items of a task whose score moved between two runs, with what was answered in both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmeval.core import Generation, Response
from llmeval.core.responses import from_plain
from llmeval.reports.matching import Matched, match
from llmeval.reports.scores import Scores, ScoreTable
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES, SCORES

_LABEL_LENGTH = 32  # characters; what is longer is an answer of its own
_SCORE_COLUMNS = ("sample_id", "status", "value", "reason", "extracted")
_SAMPLE_COLUMNS = ("sample_id", "exchanges", "target", "content")


@dataclass(frozen=True, slots=True)
class Side:
    """An item in one of the runs.

    Attributes:
        value: None where it is not scored.
        extracted: what was read out of the answer.
        exchanges: the JSON of its questions and answers, as in the record.
        content: digest of its data.
    """

    sample_id: str
    status: str
    value: float | None
    reason: str | None
    extracted: str | None
    target: str | None
    content: str
    exchanges: str

    @property
    def responses(self) -> list[Response]:
        """Its answers in the order asked."""
        return [from_plain(one["response"]) for one in json.loads(self.exchanges)]

    @property
    def text(self) -> str:
        """What was generated, answer after answer."""
        return "\n".join(r.text for r in self.responses if isinstance(r, Generation))

    @property
    def pick(self) -> str | None:
        """What was read out of the answer, or the most probable of several choices."""
        return self.extracted if self.extracted is not None else _most_probable(self.exchanges)


@dataclass(frozen=True, slots=True)
class Moved:
    """An item that has another score than in the baseline.

    Attributes:
        amount: how much better the baseline's score is, in the metric's unit; negative where
            tonight's is better. What is not scored counts as the worst score.
        changed: whether another row, or another question about it, stands under its name.
    """

    task: str
    before: Side
    after: Side
    amount: float
    changed: str | None = None

    @property
    def lost(self) -> bool:
        return self.amount > 0

    @property
    def worse(self) -> Side:
        return self.after if self.lost else self.before

    @property
    def better(self) -> Side:
        return self.before if self.lost else self.after


def read_moved(
    table: ScoreTable, task: str, metric: str, worst: float, sign: int
) -> tuple[list[Moved], int]:
    """Return the items whose score moved, and how many items both runs have.

    Args:
        table: scores of the baseline and of tonight's run, in this order, with names.
        worst: the score that stands for none.
        sign: 1 where higher is better, else -1.
    """
    scores = table.scores(task, metric)
    found = match(scores, across_prompts=True)
    if len(found.runs) < 2 or scores.sample_id is None:
        return [], 0
    pairs = _pair_rows(scores, found)
    values = np.where(np.isnan(scores.value), worst, scores.value) * sign
    moved = [
        (before, after, changed)
        for before, after, changed in pairs
        if values[before] != values[after]
    ]
    sides = [
        _read_sides(run, task, metric, _names(scores, [rows[i] for rows in moved]))
        for i, run in enumerate(table.runs)
    ]
    items = []
    for before, after, changed in moved:
        one = sides[0].get(str(scores.sample_id[before]))
        two = sides[1].get(str(scores.sample_id[after]))
        if one is not None and two is not None:
            amount = float(values[before] - values[after])
            items.append(Moved(task, one, two, amount, changed))
    return items, len(pairs)


def _names(scores: Scores, rows: Sequence[Any]) -> list[str]:
    assert scores.sample_id is not None
    return [str(name) for name in scores.sample_id[rows]] if len(rows) else []


def _pair_rows(scores: Scores, found: Matched) -> list[tuple[int, int, str | None]]:
    """Return rows of both runs that are the same item, or stand under the same name."""
    both = (found.rows >= 0).all(axis=0)
    first, second = found.rows[0, both], found.rows[1, both]
    asked = scores.asked[first], scores.asked[second]
    otherwise = (asked[0] != asked[1]) & (asked[0] != 0) & (asked[1] != 0)
    pairs: list[tuple[int, int, str | None]] = [
        (int(before), int(after), "prompt change" if differs else None)
        for before, after, differs in zip(first, second, otherwise, strict=True)
    ]
    assert scores.sample_id is not None
    alone = [
        {str(scores.sample_id[row]): int(row) for row in rows[(rows >= 0) & ~both]}
        for rows in found.rows
    ]
    return pairs + [
        (row, alone[1][name], "data change") for name, row in alone[0].items() if name in alone[1]
    ]


def _read_sides(run: Run, task: str, metric: str, names: Iterable[str]) -> dict[str, Side]:
    """Return some items of a run by name."""
    wanted = set(names)
    told = _rows(run, SCORES, _SCORE_COLUMNS, {"task": task, "metric": metric}, wanted)
    asked = _rows(run, SAMPLES, _SAMPLE_COLUMNS, {"task": task}, wanted)
    return {
        name: Side(
            sample_id=name,
            status=row["status"],
            value=row["value"] if row["status"] == "scored" else None,
            reason=row["reason"],
            extracted=row["extracted"],
            target=asked[name]["target"],
            content=asked[name]["content"],
            exchanges=asked[name]["exchanges"] or "[]",
        )
        for name, row in told.items()
        if name in asked
    }


def _rows(
    run: Run,
    file: str,
    columns: Sequence[str],
    where: Mapping[str, str],
    names: set[str],
) -> dict[str, Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = run.read_columns(file, columns, where)
    kept = pc.is_in(table["sample_id"], pa.array(sorted(names), pa.string()))
    return {row["sample_id"]: row for row in table.filter(kept).to_pylist()}


def read_picks(run: Run, task: str, metric: str) -> dict[str, str]:
    """Return the label that each answer of a task names, by the sample's name.

    What was read out of an answer; where nothing is noted, the most probable of several choices.
    """
    where = {"task": task, "metric": metric}
    rows = run.read_columns(SCORES, ["sample_id", "extracted"], where).to_pylist()
    told = {row["sample_id"]: row["extracted"] for row in rows}
    if all(pick is None for pick in told.values()):
        asked = run.read_columns(SAMPLES, ["sample_id", "exchanges"], {"task": task}).to_pylist()
        told = {row["sample_id"]: _most_probable(row["exchanges"]) for row in asked}
    labels = {name: as_label(pick) for name, pick in told.items() if pick is not None}
    return {name: label for name, label in labels.items() if len(label) <= _LABEL_LENGTH}


def _most_probable(exchanges: str | None) -> str | None:
    scored = [
        (float(one["response"]["logprob"]), str(one["request"].get("rest", [""])[0]))
        for one in json.loads(exchanges or "[]")
        if one["response"]["kind"] == "loglikelihood" and one["response"]["logprob"] is not None
    ]
    return max(scored)[1] if len(scored) > 1 else None


def as_label(text: str) -> str:
    """Return a text as the label that it is: ``(B).`` is ``b``."""
    return text.strip().strip(".()[]\"'").lower()
