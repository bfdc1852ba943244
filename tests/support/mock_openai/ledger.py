"""Counts of what was asked and answered, in memory and in a file that outlives a kill."""

from __future__ import annotations

import os
import time
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson


def digest(path: str, body: Any) -> str:
    """Return the name of a question: of its path ("/v1/...") and its whole body, a JSON value."""
    text = path.encode() + b"\n" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).hexdigest()


class Ledger:
    """What happened since the start or the last reset; the file only ever grows."""

    def __init__(self, path: str = "") -> None:
        self._file = -1
        if path:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(Path(path), flags, 0o644)
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget the counts, attempts included: faults begin anew."""
        self.requests = self.batch_requests = self.connections = 0
        self.max_in_flight = self.in_flight
        self.first_request = self.last_answer = 0.0
        self.by_fault: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()
        self.by_path: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._other_attempts: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self.last: dict[str, Any] = {"path": None, "headers": {}, "body": None}

    def enter(self) -> None:
        """Count a request that has begun."""
        self.first_request = self.first_request or time.monotonic()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def attempt(self, question: str) -> int:
        """Count an attempt at a question and return its number, from 0."""
        self._attempts[question] += 1
        return self._attempts[question] - 1

    def attempt_other(self, call: str) -> int:
        """Count an attempt at a call of no model endpoint and return its number, from 0."""
        self._other_attempts[call] += 1
        return self._other_attempts[call] - 1

    def answer(self, question: str) -> None:
        """Count a whole answer that was sent."""
        self.last_answer = time.monotonic()
        self._answers[question] += 1
        if self._file >= 0:
            os.write(self._file, question.encode() + b"\n")

    def stats(self) -> dict[str, Any]:
        """Return the counts as /_stats gives them."""
        return {
            "requests": self.requests,
            "answered": self._answers.total(),
            "distinct": len(self._attempts),
            "distinct_answered": len(self._answers),
            "answered_twice": sum(count > 1 for count in self._answers.values()),
            "by_fault": dict(self.by_fault),
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "by_path": dict(self.by_path),
            "batch_requests": self.batch_requests,
            "connections": self.connections,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            # seconds of the machine's monotonic clock, of requests to a model; 0 without any
            "first_request": self.first_request,
            "last_answer": self.last_answer,
            "cpu_seconds": time.process_time(),
            "headers_seen": sorted(self.last["headers"]),
            "last_path": self.last["path"],
            "last_body": self.last["body"],
        }
