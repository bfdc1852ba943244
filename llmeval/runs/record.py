"""Writes samples and scores as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmeval.core import (
    LoglikelihoodRequest,
    Request,
    Response,
    Sample,
    Score,
    StorageError,
    canonical_json,
    digest,
)
from llmeval.core.responses import to_plain
from llmeval.runs.files import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = "samples.parquet"
SCORES = "scores.parquet"

_ROW_GROUP = 1024  # samples, at least
_DIGEST = 8  # bytes
_IDENTITY = ("cluster", "content", "asked")

Exchanges = Sequence[tuple[Request, Response]]
Row = tuple[str, Sample, Exchanges, Sequence[Score]]
"""Task name, sample, its questions with their answers, its scores."""


class RecordWriter:
    """The two tables of a record. They appear under their names when they are whole.

    ``samples.parquet``: task, sample_id, prompt, exchanges, target, fields, metadata, cluster,
    content, asked; ``exchanges``, ``fields`` and ``metadata`` are JSON. An exchange is a request
    and its response; a request's prompt is left out where it is the row's ``prompt``.

    ``scores.parquet``: task, sample_id, metric, value, status, reason, extracted, item, cluster,
    content, asked; ``item`` is JSON, what a corpus metric aggregates.

    ``content`` is the digest of the data row and its right answer, ``asked`` that of the prompts:
    by them runs are compared item by item.
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
        for task, sample, exchanges, verdicts in rows:
            row = _sample_row(task, sample, exchanges)
            self._rows[SAMPLES].append(row)
            same = {name: row[name] for name in ("cluster", "content", "asked")}
            self._rows[SCORES] += [_score_row(task, sample, score) | same for score in verdicts]
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
            self._writers.clear()  # closing has nothing left to do
            for rows in self._rows.values():
                rows.clear()
            for table in self._schemas:
                self._partial(table).unlink(missing_ok=True)
            raise


def _samples_schema() -> pa.Schema:
    import pyarrow as pa

    names = ("task", "sample_id", "prompt", "exchanges", "target", "fields", "metadata", *_IDENTITY)
    return pa.schema([(name, pa.string()) for name in names])


def _scores_schema() -> pa.Schema:
    import pyarrow as pa

    names = ("task", "sample_id", "metric", "value", "status", "reason", "extracted", "item")
    types = {"value": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in (*names, *_IDENTITY)])


def _sample_row(task: str, sample: Sample, exchanges: Exchanges) -> dict[str, Any]:
    prompt = _prompt_text(exchanges[0][0]) if exchanges else None
    asked = [
        {"request": _request_plain(request, prompt), "response": to_plain(response)}
        for request, response in exchanges
    ]
    fields, target = _json(dict(sample.fields)), _storable(sample.target)
    return {
        "task": task,
        "sample_id": _storable(sample.id),
        "prompt": _storable(prompt),
        "exchanges": _json(asked),
        "target": target,
        "fields": fields,
        "metadata": _json(dict(sample.metadata)),
        "cluster": _storable(sample.cluster),
        "content": hash_content(fields, target),
        "asked": hash_asked([request for request, _ in exchanges]),
    }


def content_of(sample: Sample) -> str:
    """Return the digest by which a sample is known in every record."""
    return hash_content(_json(dict(sample.fields)), _storable(sample.target))


def hash_content(fields: str, target: str | None) -> str:
    """Return the digest of an item's data: its row as JSON, and its right answer."""
    return digest(f"{target}\0{fields}".encode(), _DIGEST)


def hash_asked(requests: Sequence[Request]) -> str | None:
    """Return the digest of how an item was asked, None where nothing was.

    Of the first prompt, and of every continuation with its context: later prompts of a task of
    several steps hold the model's own answers. Sampling is no part of it.
    """
    if not requests:
        return None
    scored = sorted(
        f"{r.context}\0{r.continuation}" for r in requests if isinstance(r, LoglikelihoodRequest)
    )
    text = "\0\0".join([_prompt_text(requests[0]), *scored])
    return digest(text.encode("utf-8", "replace"), _DIGEST)


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
    }


def _json(value: Any) -> str:
    return canonical_json(value).decode("utf-8", "replace")


def _storable(text: str | None) -> str | None:
    """Arrow holds valid UTF-8 only; a lone surrogate of a hostile text becomes a question mark."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
