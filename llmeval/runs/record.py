"""Writes samples and scores as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import Request, Response, Sample, Score, StorageError, canonical_json
from llmeval.core.responses import to_plain
from llmeval.runs.files import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = "samples.parquet"
SCORES = "scores.parquet"

_ROW_GROUP = 1024  # samples, at least

Exchanges = Sequence[tuple[Request, Response]]
Row = tuple[str, Sample, Exchanges, Sequence[Score]]
"""Task name, sample, its questions with their answers, its scores."""


class RecordWriter:
    """The two tables of a record. They appear under their names when they are whole.

    ``samples.parquet``: task, sample_id, prompt, exchanges, target, fields, metadata, cluster;
    ``exchanges``, ``fields`` and ``metadata`` are JSON. An exchange is a request and its response;
    a request's prompt is left out where it is the row's ``prompt``.

    ``scores.parquet``: task, sample_id, metric, value, status, reason, extracted, item, cluster;
    ``item`` is JSON, what a corpus metric aggregates.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._folder = folder
        self._schemas = {SAMPLES: _samples_schema(), SCORES: _scores_schema()}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {SAMPLES: [], SCORES: []}
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for name, schema in self._schemas.items():
            with self._disk(name):
                path = self._partial(name)
                self._writers[name] = pq.ParquetWriter(path, schema, compression="zstd")

    def _partial(self, name: str) -> Path:
        return self._folder / f"{name}.partial"

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows; they go to disk in groups that are worth compressing."""
        samples = [_sample_row(task, sample, exchanges) for task, sample, exchanges, _ in rows]
        scores = [
            _score_row(task, sample, score)
            for task, sample, _, verdicts in rows
            for score in verdicts
        ]
        self._rows[SAMPLES] += samples
        self._rows[SCORES] += scores
        if len(self._rows[SAMPLES]) >= _ROW_GROUP:
            self._append()

    def _append(self) -> None:
        import pyarrow as pa

        for name, rows in self._rows.items():
            if rows:
                table = pa.Table.from_pylist(rows, self._schemas[name])
                with self._disk(name):
                    self._writers[name].write_table(table)
                rows.clear()

    def close(self) -> None:
        """Finish both tables and put them under their names."""
        self._append()
        for name, writer in self._writers.items():
            with self._disk(name):
                writer.close()
                self._partial(name).replace(self._folder / name)

    @contextmanager
    def _disk(self, name: str) -> Iterator[None]:
        """Where the disk refuses, give up both tables and the room that they take."""
        try:
            with storage_errors(self._folder / name):
                yield
        except StorageError:
            for writer in self._writers.values():
                writer.is_open = False  # or its finalizer tries the disk again, with a traceback
            for table in self._schemas:
                self._partial(table).unlink(missing_ok=True)
            raise


def _samples_schema() -> pa.Schema:
    import pyarrow as pa

    names = ("task", "sample_id", "prompt", "exchanges", "target", "fields", "metadata", "cluster")
    return pa.schema([(name, pa.string()) for name in names])


def _scores_schema() -> pa.Schema:
    import pyarrow as pa

    names = ("task", "sample_id", "metric", "value", "status", "reason", "extracted", "item")
    types = {"value": pa.float64()}
    fields = [(name, types.get(name, pa.string())) for name in names]
    return pa.schema([*fields, ("cluster", pa.string())])


def _sample_row(task: str, sample: Sample, exchanges: Exchanges) -> dict[str, Any]:
    prompt = _prompt_text(exchanges[0][0]) if exchanges else None
    asked = [
        {"request": _request_plain(request, prompt), "response": to_plain(response)}
        for request, response in exchanges
    ]
    return {
        "task": task,
        "sample_id": _storable(sample.id),
        "prompt": _storable(prompt),
        "exchanges": _json(asked),
        "target": _storable(sample.target),
        "fields": _json(dict(sample.fields)),
        "metadata": _json(dict(sample.metadata)),
        "cluster": _storable(sample.cluster),
    }


def _prompt_text(request: Request) -> str:
    prompt = request.prompt
    return prompt if isinstance(prompt, str) else _json([[m.role, m.content] for m in prompt])


def _request_plain(request: Request, prompt: str | None) -> dict[str, Any]:
    first, *rest = request.canonical()
    same = _prompt_text(request) == prompt
    shown = {} if same else {"prompt": first}
    return {"kind": request.kind, **shown, **({"rest": rest} if rest else {})}


def _score_row(task: str, sample: Sample, score: Score) -> dict[str, Any]:
    return {
        "task": task,
        "sample_id": _storable(sample.id),
        "metric": score.metric,
        "value": score.value,
        "status": score.status,
        "reason": _storable(score.reason),
        "extracted": _storable(score.extracted),
        "item": None if score.item is None else _json(score.item),
        "cluster": _storable(sample.cluster),
    }


def _json(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")


def _storable(text: str | None) -> str | None:
    """Arrow holds valid UTF-8 only; a lone surrogate of a hostile text becomes a question mark."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
