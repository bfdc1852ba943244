"""The journal: every answer, under the digest of its question, before anybody uses it.

One SQLite file in WAL mode per workspace. The key holds the model's fingerprint, the request, its
sampling and its repeat index, and nothing else: not the date, batch, order, run or world size.
So a killed run replays, a question that any task or run asked before is not asked again, and a
changed prompt, row or model is another key. Two runs may write at once: the first answer to a
question stays, the second run reads it back.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmeval.core import GenerateRequest, LlmevalError, Request, Response, StorageError
from llmeval.core.hashes import canonical_json
from llmeval.core.responses import from_plain, to_plain

SCHEMA_VERSION = 2
_LOOKUP_CHUNK = 500  # SQLite's default bound on variables in one statement is 999 or more

_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    computed_tokens INTEGER NOT NULL DEFAULT 0,
    distinct_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX unfinished ON runs (spec) WHERE finished IS NULL;
CREATE TABLE answers (
    key BLOB PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    response BLOB NOT NULL
) WITHOUT ROWID;
"""

# What brings a file of a version to the next one.
_MIGRATIONS = {1: "ALTER TABLE runs ADD COLUMN distinct_tokens INTEGER NOT NULL DEFAULT 0"}

Key = bytes


@dataclass(frozen=True, slots=True)
class JournaledRun:
    """A run as the journal knows it; ``id`` marks the answers that it added."""

    id: int
    run_id: str
    started: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A journaled answer and the run that added it."""

    response: Response
    run: int


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of a run over all of its attempts; see :class:`llmeval.core.Answers`."""

    computed: int = 0
    distinct: int = 0


class Keyring:
    """Makes the journal keys of one model's questions.

    Args:
        model_fingerprint: the model's.
        scoring_fingerprint: for log-probabilities, where more may change those (how a server's
            texts are tokenized); None is the model's.
    """

    def __init__(self, model_fingerprint: str, scoring_fingerprint: str | None = None) -> None:
        self._generating = _stem(model_fingerprint)
        self._scoring = _stem(scoring_fingerprint or model_fingerprint)

    def key(self, request: Request) -> Key:
        generates = isinstance(request, GenerateRequest)
        stem = (self._generating if generates else self._scoring).copy()
        stem.update(request.kind.encode() + b"\0" + canonical_json(request.canonical()))
        return stem.digest()


def _stem(fingerprint: str) -> hashlib.blake2b:
    return hashlib.blake2b(fingerprint.encode() + b"\0", digest_size=16)


class Journal:
    """The workspace's answers. Use from one thread; any number of processes may share the file.

    Raises:
        StorageError: the file cannot be made, is corrupt, is from a newer version, or the disk
            is full or read-only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._guarded():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._open_schema()

    def _open_schema(self) -> None:
        with self._transaction():  # two runs may create the file at once
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StorageError(
                    f"the journal has schema {version}, this llmeval reads up to {SCHEMA_VERSION}",
                    where=str(self.path),
                    mend="use the newer llmeval, or set LLMEVAL_HOME to another workspace",
                )
            if version == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
            for old in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                self._db.execute(_MIGRATIONS[old])
            if version != SCHEMA_VERSION:
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # -- runs -----------------------------------------------------------------------------------

    def unfinished(self, spec: str) -> list[JournaledRun]:
        """Return the runs of a specification that never finished, newest first."""
        with self._guarded():
            rows = self._db.execute(
                "SELECT id, run_id, started FROM runs WHERE spec = ? AND finished IS NULL"
                " ORDER BY id DESC",
                (spec,),
            ).fetchall()
        return [JournaledRun(*row) for row in rows]

    def begin(self, spec: str, run_id: str) -> JournaledRun:
        """Enter a new run of a specification."""
        started = time.time()
        with self._guarded(), self._transaction():
            cursor = self._db.execute(
                "INSERT INTO runs (run_id, spec, started) VALUES (?, ?, ?)", (run_id, spec, started)
            )
        return JournaledRun(int(cursor.lastrowid or 0), run_id, started)

    def finish(self, run: JournaledRun) -> None:
        """Mark a run as finished: the same command then makes a new record."""
        with self._guarded(), self._transaction():
            self._db.execute("UPDATE runs SET finished = ? WHERE id = ?", (time.time(), run.id))

    def tokens(self, run: JournaledRun) -> TokenCounts:
        """Return what the model computed for a run, over all of its attempts."""
        with self._guarded():
            counts = self._db.execute(
                "SELECT computed_tokens, distinct_tokens FROM runs WHERE id = ?", (run.id,)
            ).fetchone()
        return TokenCounts(*counts)

    # -- answers --------------------------------------------------------------------------------

    def lookup(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """Return the answers that the journal has, by key."""
        found: dict[Key, Entry] = {}
        with self._guarded():
            for start in range(0, len(keys), _LOOKUP_CHUNK):
                chunk = keys[start : start + _LOOKUP_CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(
                    f"SELECT key, run, response FROM answers WHERE key IN ({marks})", chunk
                )
                for key, run, response in rows:
                    found[key] = Entry(self._decode(response), run)
        return found

    def answers_of(self, run: JournaledRun) -> Iterator[Response]:
        """Yield the answers that a run added."""
        with self._guarded():
            rows = self._db.execute("SELECT response FROM answers WHERE run = ?", (run.id,))
            for (response,) in rows:
                yield self._decode(response)

    def commit(
        self,
        run: JournaledRun,
        answers: Mapping[Key, Response],
        computed_tokens: int,
        distinct_tokens: int = 0,
    ) -> dict[Key, Response]:
        """Write a batch's answers in one transaction and return what the journal then holds.

        Where another run answered a question first, its answer is returned instead.
        """
        rows = [(key, run.id, _encode(response)) for key, response in answers.items()]
        with self._guarded(), self._transaction():
            before = self._db.total_changes
            self._db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)
            lost = len(rows) - (self._db.total_changes - before)
            self._db.execute(
                "UPDATE runs SET computed_tokens = computed_tokens + ?,"
                " distinct_tokens = distinct_tokens + ? WHERE id = ?",
                (computed_tokens, distinct_tokens, run.id),
            )
        if not lost:
            return dict(answers)
        return {key: entry.response for key, entry in self.lookup(list(answers)).items()}

    def _decode(self, response: bytes) -> Response:
        try:
            return from_plain(json.loads(response.decode("ascii")))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"the journal holds an answer that cannot be read: {error!r}",
                where=str(self.path),
                mend="move the file away, or set LLMEVAL_HOME to another workspace",
            ) from error

    def count(self) -> int:
        """Return the number of answers in the journal."""
        with self._guarded():
            (n,) = self._db.execute("SELECT count(*) FROM answers").fetchone()
        return int(n)

    # -- faults ---------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back on a full disk
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except LlmevalError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the journal cannot be used: {error}", where=str(self.path), mend=_mend(error)
            ) from error


def _encode(response: Response) -> bytes:
    """As JSON with escapes, ``NaN`` and ``Infinity``: what comes back equals what went in.

    orjson would write a log-probability of minus infinity as null and refuse a lone surrogate.
    """
    return json.dumps(to_plain(response), separators=(",", ":")).encode("ascii")


def _mend(error: Exception) -> str | None:
    text = str(error).lower()
    hints: Iterable[tuple[str, str]] = (
        ("full", "free some disk space and give the same command again; answers so far are kept"),
        ("no space", "free some disk space and give the same command again"),
        ("not a database", "move the file away, or set LLMEVAL_HOME to another workspace"),
        ("malformed", "move the file away, or set LLMEVAL_HOME to another workspace"),
        ("locked", "another run holds it for long; wait or stop that run, then try again"),
        ("readonly", "make the folder writable or set LLMEVAL_HOME to one that is"),
        ("read-only", "make the folder writable or set LLMEVAL_HOME to one that is"),
        ("unable to open", "make the folder writable or set LLMEVAL_HOME to one that is"),
        ("permission", "make the folder writable or set LLMEVAL_HOME to one that is"),
        ("not a directory", "a file stands where a folder is needed; set LLMEVAL_HOME to another"),
        ("file exists", "a file stands where a folder is needed; set LLMEVAL_HOME to another"),
    )
    return next((mend for sign, mend in hints if sign in text), None)
