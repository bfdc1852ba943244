"""One sample with everything that the record knows of it, as plain data for a page."""

from __future__ import annotations

import contextlib
import json
import math
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

from llmeval.core import UsageError
from llmeval.runs import Run
from llmeval.runs.record import SAMPLES

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ["task", "sample_id", "prompt", "exchanges", "target", "fields", "metadata", "cluster"]
_KEPT_GROUPS = 4
_LONG_INTEGER = re.compile(r"(?<![\d.])\d{19,}")
_EXACT = 2**53  # a larger integer is another one in JavaScript


class Details:
    """The samples of a run by their row; neighbours are read together and kept a while."""

    def __init__(self, run: Run) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._run = run
        self._lock = Lock()  # one file handle, many threads of a server
        try:
            self._file = pq.ParquetFile(run.path / SAMPLES)
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(
                f"the record cannot be read: {error}", where=str(run.path / SAMPLES)
            ) from error
        metadata = self._file.metadata
        sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)][:-1]
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._sources = {
            task: about.get("source") for task, about in run.manifest.get("tasks", {}).items()
        }

    @property
    def size(self) -> int:
        """Bytes of all samples as text."""
        metadata = self._file.metadata
        groups = (metadata.row_group(g) for g in range(metadata.num_row_groups))
        return sum(group.total_byte_size for group in groups)

    def read(self, row: int, scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a sample as the page shows it.

        ``prompt`` is a text or a list of ``[role, content]``; ``exchanges`` are those of the
        record; ``choices`` tells of log-probabilities that compete; ``fields`` and ``metadata``
        are plain data.
        """
        raw = self._read_row(row)
        exchanges = read_json(raw["exchanges"]) or []
        verdicts = [{**score, "item": read_json(score["item"])} for score in scores]
        return {
            "task": raw["task"],
            "id": raw["sample_id"],
            "prompt": as_chat(raw["prompt"]),
            "target": raw["target"],
            "cluster": raw["cluster"],
            "exchanges": [_exchange(one) for one in exchanges],
            "choices": rank_choices(
                exchanges, verdicts, raw["target"], self._sources.get(raw["task"]) != "native"
            ),
            "scores": [_finite(score) for score in verdicts],
            "fields": _finite(read_json(raw["fields"])) or {},
            "metadata": _finite(read_json(raw["metadata"])) or {},
        }

    def _read_row(self, row: int) -> dict[str, Any]:
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            table = self._groups.get(group)
            if table is None:
                table = self._file.read_row_group(group, columns=_COLUMNS)
                self._groups[group] = table
                if len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
        place = row - self._starts[group]
        return {name: table[name][place].as_py() for name in _COLUMNS}


def read_json(text: str | None) -> Any:
    """Return the value of a JSON text of the record; None where there is none or it is broken."""
    if not text:
        return None
    # orjson rounds integers beyond 64 bits, and knows no NaN.
    loaders = (orjson.loads, json.loads)
    for load in reversed(loaders) if _LONG_INTEGER.search(text) else loaders:
        with contextlib.suppress(ValueError, RecursionError):
            return load(text)
    return None


def as_chat(prompt: str | None) -> Any:
    """Return a recorded prompt as turns ``[role, content]`` where it is a chat, else as text."""
    if prompt and prompt.startswith("[["):
        turns = read_json(prompt)
        if isinstance(turns, list) and all(_is_turn(turn) for turn in turns):
            return turns
    return prompt or ""


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(x, str) for x in turn)


def _exchange(one: Mapping[str, Any]) -> dict[str, Any]:
    request, response = dict(one.get("request") or {}), dict(one.get("response") or {})
    if isinstance(request.get("prompt"), str):
        request["prompt"] = as_chat(request["prompt"])
    return {"request": _finite(request), "response": _finite(response)}


def rank_choices(
    exchanges: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    target: str | None,
    may_be_index: bool,
) -> list[dict[str, Any]] | None:
    """Tell of continuations that compete: which is right, which was picked, and by which metric.

    Args:
        may_be_index: the target may be the position of the right choice (lm-eval's tasks).

    Returns:
        For each exchange ``share`` (of the choices' probability), ``right`` (None: not known) and
        ``picked`` (names of metrics; ``highest log-probability`` where none says what it picked).
        None where nothing competes: a single question, generations, or different prompts.
    """
    texts = [_continuation(one) for one in exchanges]
    if len(texts) < 2 or any(text is None for text in texts):
        return None
    bare = [text.strip() for text in texts if text is not None]
    logprobs = [_logprob(one) for one in exchanges]
    shares = share_out(logprobs)
    right = _find_right(bare, logprobs, scores, target, may_be_index)
    picked: list[list[str]] = [[] for _ in bare]
    for score in scores:
        if isinstance(score["extracted"], str) and score["extracted"].strip() in bare:
            picked[bare.index(score["extracted"].strip())].append(score["metric"])
    if not any(picked) and shares:
        picked[shares.index(max(shares))].append("highest log-probability")
    return [
        {
            "share": shares[i] if shares else None,
            "right": None if right is None else i in right,
            "picked": picked[i],
        }
        for i in range(len(bare))
    ]


def _continuation(one: Mapping[str, Any]) -> str | None:
    request = one.get("request") or {}
    rest = request.get("rest")
    alike = request.get("kind") == "loglikelihood" and "prompt" not in request
    return rest[0] if alike and rest and isinstance(rest[0], str) else None


def _logprob(one: Mapping[str, Any]) -> float | None:
    value = (one.get("response") or {}).get("logprob")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def share_out(logprobs: Sequence[float | None]) -> list[float] | None:
    """Return the softmax of log-probabilities; None where one is missing."""
    known = [value for value in logprobs if value is not None]
    if not known or len(known) < len(logprobs):
        return None
    top = max(known)
    weights = [math.exp(value - top) for value in known]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _find_right(
    texts: Sequence[str],
    logprobs: Sequence[float | None],
    scores: Sequence[Mapping[str, Any]],
    target: str | None,
    may_be_index: bool,
) -> set[int] | None:
    """Return the right choices, as far as the record tells without doubt."""
    for score in scores:
        item = score["item"]
        if isinstance(item, dict) and isinstance(item.get("right"), list):
            return {i for i in item["right"] if isinstance(i, int)}
    bare = (target or "").strip()
    if bare in texts and bare:
        return {i for i, text in enumerate(texts) if text == bare}
    if not may_be_index or not bare.isdecimal() or int(bare) >= len(texts):
        return None
    index = int(bare)
    accuracy = next((s["value"] for s in scores if s["metric"] == "acc"), None)
    known = [value for value in logprobs if value is not None]
    if accuracy in (0, 1) and len(known) == len(logprobs):
        picked = known.index(max(known))
        if (picked == index) != (accuracy == 1):
            return None  # the score says otherwise
    return {index}


def _finite(value: Any) -> Any:
    """Return JSON data that JavaScript reads as it is: no NaN, no integer that it would round."""
    try:
        return _walk(value)
    except RecursionError:
        return "(nested too deeply to be shown)"


def _walk(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)
    if isinstance(value, dict):
        return {key: _walk(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_walk(one) for one in value]
    return value
