"""Files and batches: the Batch API, over the same answers as the direct endpoints."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .ledger import Ledger, digest
from .options import Options
from .wire import ApiError, Json, error_body, now

# (path, body, ident) -> (status, answer)
Answer = Callable[[str, Any, str], tuple[int, Json]]
_TIMES = {"cancelled": "cancelled_at", "failed": "failed_at", "expired": "expired_at"}


@dataclass
class _File:
    ident: str
    name: str
    content: bytes
    purpose: str

    def describe(self) -> Json:
        return {
            "id": self.ident,
            "object": "file",
            "bytes": len(self.content),
            "created_at": now(),
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass
class _Batch:
    ident: str
    endpoint: str
    window: str
    input_file: str
    metadata: Any
    lines: list[Json]
    errors: list[Json]
    begun: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=now)
    status: str = "validating"
    files: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"completed": 0, "failed": 0})


class Batches:
    """The state of /v1/files and /v1/batches; methods return the JSON to answer."""

    def __init__(self, answer: Answer, ledger: Ledger) -> None:
        self._answer = answer
        self._ledger = ledger
        self._files: dict[str, _File] = {}
        self._batches: dict[str, _Batch] = {}
        self._made = 0

    def upload(self, name: str, content: bytes, purpose: str) -> Json:
        """Store a file."""
        if purpose not in ("batch", "batch_output"):
            raise ApiError(400, f"'{purpose}' is not one of ['batch']", param="purpose")
        self._made += 1
        file = _File(f"file-{self._made:08d}", name, content, purpose)
        self._files[file.ident] = file
        return file.describe()

    def file(self, ident: str) -> _File:
        """Return a file; ApiError where there is none."""
        if ident not in self._files:
            raise ApiError(404, f"No such File object: {ident}", param="id")
        return self._files[ident]

    def delete(self, ident: str) -> Json:
        """Delete a file."""
        del self._files[self.file(ident).ident]
        return {"id": ident, "object": "file", "deleted": True}

    def create(self, body: Json, options: Options) -> Json:
        """Begin a batch over an uploaded file."""
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not body.get(name):
                raise ApiError(400, f"Missing required parameter: '{name}'.", param=name)
        source = self.file(body["input_file_id"])
        self._made += 1
        lines, errors = _read_lines(source.content, body["endpoint"], options)
        batch = _Batch(
            f"batch_{self._made:08d}",
            body["endpoint"],
            body["completion_window"],
            source.ident,
            body.get("metadata"),
            lines,
            errors,
        )
        self._batches[batch.ident] = batch
        return _describe(batch)

    def get(self, ident: str, options: Options) -> Json:
        """Return a batch, gone on by the time since it began."""
        if ident not in self._batches:
            raise ApiError(404, f"No batch found with id '{ident}'.", param="batch_id")
        batch = self._batches[ident]
        self._advance(batch, options)
        return _describe(batch)

    def list(self, options: Options, limit: int, after: str) -> Json:
        """Return the batches, the newest first."""
        idents = list(reversed(self._batches))
        start = idents.index(after) + 1 if after in self._batches else 0
        shown = [self.get(ident, options) for ident in idents[start : start + limit]]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": start + limit < len(idents),
        }

    def cancel(self, ident: str, options: Options) -> Json:
        """Cancel a batch; what was done by now is in its output."""
        self.get(ident, options)
        batch = self._batches[ident]
        if batch.status not in ("validating", "in_progress"):
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
        done = (time.monotonic() - batch.begun) / max(options.batch_seconds, 1e-9)
        self._finish(batch, "cancelled", done, options)
        return {**_describe(batch), "status": "cancelling"}

    def _advance(self, batch: _Batch, options: Options) -> None:
        if batch.status not in ("validating", "in_progress"):
            return
        done = (time.monotonic() - batch.begun) / max(options.batch_seconds, 1e-9)
        if done < 0.2:
            return
        if batch.errors:
            batch.status = "failed"
        elif done < 1:
            batch.status = "in_progress"
        elif options.batch_outcome == "failed":
            batch.errors = [{"code": "mock", "message": "As asked.", "line": None, "param": None}]
            batch.status = "failed"
        else:
            share = 0.5 if options.batch_outcome == "expired" else 1.0
            self._finish(batch, options.batch_outcome, share, options)

    def _finish(self, batch: _Batch, status: str, share: float, options: Options) -> None:
        """Answer a share of the lines and store the files, both in shuffled order."""
        batch.status = status
        lines = list(batch.lines)
        random.Random(f"{options.seed}|{batch.ident}").shuffle(lines)
        cut = round(len(lines) * min(share, 1.0))
        out: list[Json] = []
        failed: list[Json] = []
        for number, line in enumerate(lines):
            ident = f"{batch.ident}_{number}"
            if number >= cut:
                failed.append(_undone(ident, line["custom_id"], status))
            else:
                self._answer_line(ident, line, out, failed, options)
        unsound = sum(line["response"]["status_code"] != 200 for line in out)
        batch.counts = {"completed": len(out) - unsound, "failed": len(failed) + unsound}
        for name, rows in (("output_file_id", out), ("error_file_id", failed)):
            if rows:
                content = b"".join(orjson.dumps(row) + b"\n" for row in rows)
                stored = self.upload(f"{batch.ident}_{name}.jsonl", content, "batch_output")
                batch.files[name] = stored["id"]

    def _answer_line(
        self, ident: str, line: Json, out: list[Json], failed: list[Json], options: Options
    ) -> None:
        """Answer a line into the output or the error file."""
        question = digest(line["url"], line["body"])
        attempt = self._ledger.attempt(question)
        self._ledger.batch_requests += 1
        chance = random.Random(f"{options.seed}|{question}|{attempt}")
        if chance.random() < options.batch_error_share:
            # the three ways in which a failed line has been seen to come back
            way = chance.randrange(3)
            if way == 0:
                failed.append(_undone(ident, line["custom_id"], "expired"))
            else:
                body = error_body(500, "The server had an error processing your request.")
                (out if way == 1 else failed).append(_row(ident, line["custom_id"], 500, body))
            return
        status, body = self._answer(line["url"], line["body"], ident)
        if status == 200:
            self._ledger.answer(question)
        (out if status == 200 else failed).append(_row(ident, line["custom_id"], status, body))


def _row(ident: str, custom: str, status: int, body: Json) -> Json:
    response = {"status_code": status, "request_id": f"req_{ident}", "body": body}
    return {"id": f"batch_req_{ident}", "custom_id": custom, "response": response, "error": None}


def _undone(ident: str, custom: str, status: str) -> Json:
    message = "This request could not be executed before the completion window expired."
    if status == "cancelled":
        message = "This request was cancelled before it was executed."
    error = {"code": f"batch_{status}", "message": message}
    return {"id": f"batch_req_{ident}", "custom_id": custom, "response": None, "error": error}


def _read_lines(content: bytes, endpoint: str, options: Options) -> tuple[list[Json], list[Json]]:
    """Return the requests of an input file, and what is wrong with it."""
    lines: list[Json] = []
    errors: list[Json] = []
    seen: set[str] = set()
    for number, raw in enumerate(content.splitlines(), start=1):
        try:
            line = orjson.loads(raw)
            fit = {"custom_id", "method", "url", "body"} <= line.keys()
        except (orjson.JSONDecodeError, AttributeError):
            fit = False
        if not fit:
            code, message = "invalid_json_line", "This line is not parseable as a request."
        elif line["custom_id"] in seen:
            code, message = "duplicate_custom_id", "The custom_id of this line is a duplicate."
        elif line["url"] != endpoint:
            code, message = "mismatched_url", "The url of this line is not the batch's endpoint."
        else:
            seen.add(line["custom_id"])
            lines.append(line)
            continue
        errors.append({"code": code, "message": message, "line": number, "param": None})
    if len(lines) > options.batch_max_requests:
        message = f"The batch has more than {options.batch_max_requests} requests."
        errors.append({"code": "too_many_tasks", "message": message, "line": None, "param": None})
    if not lines and not errors:
        errors.append({"code": "empty_file", "message": "Empty.", "line": None, "param": None})
    return lines, errors


def _describe(batch: _Batch) -> Json:
    at = _TIMES.get(batch.status, "completed_at")
    ended = batch.status not in ("validating", "in_progress")
    return {
        "id": batch.ident,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.errors} if batch.status == "failed" else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": batch.status,
        "output_file_id": batch.files.get("output_file_id"),
        "error_file_id": batch.files.get("error_file_id"),
        "created_at": batch.created,
        **({at: now()} if ended else {}),
        "request_counts": {"total": len(batch.lines), **batch.counts},
        "metadata": batch.metadata,
    }
