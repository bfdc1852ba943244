"""Items that one run answered better than the other, and what both said."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmeval.core import UsageError
from llmeval.reports.compare.comparison import Direction, Flip, Flips, Row
from llmeval.reports.compare.measures import NOISE
from llmeval.reports.compare.pairs import Pairs
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES, SCORES
from llmeval.stats.intervals import Floats, is_binary

Key = tuple[str, str]
"""A task and a sample id."""

Keys = tuple[Key, Key]
"""What each of two runs calls an item."""

_Extract = tuple[str, str, str]
"""A task, a sample id and a metric."""

_SAMPLES_QUERY = """
SELECT task, sample_id, prompt, target, exchanges
FROM read_parquet($path) WHERE list_contains($keys, task || chr(31) || sample_id)
"""
_SCORES_QUERY = """
SELECT task, sample_id, metric, extracted FROM read_parquet($path)
WHERE list_contains($keys, task || chr(31) || sample_id)
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a run says of a sample."""

    prompt: str | None
    target: str | None
    answer: str | None
    extracted: str | None


def find_flips(
    parts: Sequence[Pairs], values: Floats, *, examples: int
) -> tuple[Flips, list[Keys]]:
    """Return which items changed, and the names on both sides of those to show.

    The examples are bare: `tell_flips` fills them in. Of items that are right or wrong they are
    spread over the data; of graded ones they are those that changed most.

    Args:
        parts: the tasks whose items stand behind one another in ``values``, [2, n].
        examples: how many to show in each direction.
    """
    better = values[1] - values[0]
    if not parts[0].higher_is_better:
        better = -better
    graded = not is_binary(values)
    many = len(parts) > 1
    keys = [
        [(part.task, str(name)) for part in parts for name in part.sample_ids[side]]
        for side in (0, 1)
    ]
    names = [f"{task}/{name}" if many else name for task, name in keys[0]]
    lost, gained = np.flatnonzero(better < -NOISE), np.flatnonzero(better > NOISE)
    shown: list[Flip] = []
    both: list[Keys] = []
    for direction, places in (("lost", lost), ("gained", gained)):
        for place in _choose(places, np.abs(better) if graded else None, examples):
            shown.append(_bare(direction, keys[0][place], values[:, place]))
            both.append((keys[0][place], keys[1][place]))
    flips = Flips(
        graded=graded,
        lost=len(lost),
        gained=len(gained),
        lost_ids=tuple(names[i] for i in lost),
        gained_ids=tuple(names[i] for i in gained),
        examples=tuple(shown),
    )
    return flips, both


def _choose(places: NDArray[np.intp], sizes: Floats | None, most: int) -> list[int]:
    if sizes is not None:
        places = places[np.argsort(-sizes[places], kind="stable")][:most]
    elif len(places) > most:
        places = places[(np.arange(most) * len(places)) // max(most, 1)]
    return [int(place) for place in places[:most]]


def _bare(direction: Any, key: Key, scores: Floats) -> Flip:
    told: Direction = direction
    return Flip(
        told, *key, (float(scores[0]), float(scores[1])), None, (None, None), (None, None), None
    )


def tell_flips(runs: tuple[Run, Run], found: Sequence[tuple[Row, Sequence[Keys]]]) -> list[Row]:
    """Fill in what the samples' records say: prompt, target, both answers.

    All rows at once, so that each record is read once, however many tasks it has.

    Args:
        found: rows with the names of their flips' examples.
    """
    told = [
        _read_told(run, {(*pair[side], row.metric) for row, keys in found for pair in keys})
        for side, run in enumerate(runs)
    ]
    return [
        replace(row, flips=_fill(row.flips, row.metric, keys, told)) if row.flips else row
        for row, keys in found
    ]


def _fill(
    flips: Flips, metric: str, keys: Sequence[Keys], told: Sequence[Mapping[_Extract, _Told]]
) -> Flips:
    nothing = _Told(None, None, None, None)
    examples = []
    for flip, pair in zip(flips.examples, keys, strict=True):
        before, after = (
            side.get((*key, metric), nothing) for side, key in zip(told, pair, strict=True)
        )
        examples.append(
            replace(
                flip,
                prompt=before.prompt,
                target=before.target,
                extracted=(before.extracted, after.extracted),
                answers=(before.answer, after.answer),
            )
        )
    return replace(flips, examples=tuple(examples))


def _read_told(run: Run, wanted: Collection[_Extract]) -> dict[_Extract, _Told]:
    import duckdb

    if not wanted:
        return {}
    names = list({f"{task}\x1f{name}" for task, name, _ in wanted})
    try:
        with duckdb.connect() as connection:
            values: Mapping[str, Any] = {"path": str(run.path / SCORES), "keys": names}
            rows = connection.execute(_SCORES_QUERY, values).fetchall()
            extracted = {(task, name, metric): text for task, name, metric, text in rows}
            values = {"path": str(run.path / SAMPLES), "keys": names}
            samples = {
                (task, name): said
                for task, name, *said in connection.execute(_SAMPLES_QUERY, values).fetchall()
            }
    except duckdb.Error as error:
        what = f"the record cannot be read: {str(error).splitlines()[0]}"
        raise UsageError(what, where=str(run.path)) from error
    told = {}
    for key in wanted:
        if (said := samples.get(key[:2])) is not None:
            prompt, target, exchanges = said
            read = extracted.get(key)
            told[key] = _Told(prompt, target, read_answer(exchanges, choices=read is None), read)
    return told


def read_answer(exchanges: str | None, *, choices: bool) -> str | None:
    """Return what was answered: the last completion, or the likeliest of the choices.

    Args:
        choices: whether to look for the likeliest choice; a task that tells its pick knows better.
    """
    best: tuple[float, str] | None = None
    for exchange in reversed(json.loads(exchanges or "[]")):
        request, response = exchange["request"], exchange["response"]
        if response["kind"] == "generation":
            return str(response["text"])
        if choices and request["kind"] == response["kind"] == "loglikelihood":
            logprob = response["logprob"]
            if isinstance(logprob, int | float) and (best is None or logprob >= best[0]):
                best = float(logprob), str(request["rest"][0])
    return None if best is None else best[1]


def end_of_prompt(prompt: str | None, letters: int) -> str | None:
    """Return the end of a prompt, on which a question usually stands; of a chat, what was said."""
    if prompt is None:
        return None
    text = _say_chat(prompt).strip()
    return text if len(text) <= letters else f"…{text[-letters:]}"


def _say_chat(prompt: str) -> str:
    if not prompt.startswith("[["):
        return prompt
    try:
        turns = json.loads(prompt)
        return "\n".join(f"{role}: {content}" for role, content in turns)
    except (ValueError, TypeError):  # a text that happens to begin so
        return prompt
