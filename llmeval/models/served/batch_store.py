"""What is known of batches between two commands: a small file for each, never a key in it.

Everything that changes the files happens under a lock that threads and processes share, so that a
question is handed in once, whoever asks it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from llmeval.core.errors import StorageError

_KEPT = 30 * 86400.0  # seconds for which providers keep a batch's files


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch as this workspace knows it.

    Attributes:
        digest: names it here and in the service's metadata: of the model, the lines and the time,
            so that what is handed in again is never taken for what ended before.
        base_url: whose it is.
        created: when it was handed in, in seconds since the epoch.
        lines: custom ids of its lines.
        batch, input_file: the service's ids; None as long as nobody knows whether the service got
            it: it was announced here, and then this process may have been killed.
        ended: it was seen to have ended.
        failed: of its lines, those that it ended without an answer to: they may be asked anew.
    """

    digest: str
    base_url: str
    created: float
    lines: tuple[str, ...]
    batch: str | None = None
    input_file: str | None = None
    ended: bool = False
    failed: tuple[str, ...] = ()

    def open_lines(self) -> set[str]:
        """Return the lines that have an answer in this batch, or may get one."""
        return set(self.lines).difference(self.failed)


class BatchStore:
    """The entries in a folder, ``<workspace>/.llmeval/batches``.

    Raises:
        StorageError: the disk refuses, or a file is no entry.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, entry: Entry) -> Path:
        return self._folder / f"{entry.digest}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep out other threads and processes; the kernel frees what a killed one held."""
        with _storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / "lock").open("ab")
        with file:
            with _storage_errors(self._folder):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load(self) -> list[Entry]:
        """Return the entries, the oldest first, and drop those that are over. Hold the lock."""
        entries = []
        with _storage_errors(self._folder):
            for path in self._folder.glob("*.json"):
                entry = _read(path)
                if entry.ended and time.time() - entry.created > _KEPT:
                    path.unlink()
                else:
                    entries.append(entry)
        return sorted(entries, key=lambda entry: (entry.created, entry.digest))

    def write(self, entry: Entry) -> None:
        """Write an entry whole or not at all, so that it outlives a crash. Hold the lock."""
        path = self.path(entry)
        partial = path.with_suffix(".partial")
        with _storage_errors(path):
            with partial.open("w", encoding="ascii") as file:
                json.dump(asdict(entry), file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)

    def forget(self, entry: Entry) -> None:
        """Remove an entry; its lines may be asked anew. Hold the lock."""
        with _storage_errors(self._folder):
            self.path(entry).unlink(missing_ok=True)


def _read(path: Path) -> Entry:
    try:
        content = json.loads(path.read_bytes())
        lines, failed = tuple(content.pop("lines")), tuple(content.pop("failed"))
        return Entry(lines=lines, failed=failed, **content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(
            f"no entry of a batch: {error}",
            where=str(path),
            mend="move the file away: the questions of its batch are then handed in anew",
        ) from error


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"what is with the batch service cannot be noted: {error.strerror or error}",
            where=str(path),
            mend="free some space or make the folder writable, then give the same command again",
        ) from error
