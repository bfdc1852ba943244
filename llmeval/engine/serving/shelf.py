"""Puts results back into order: samples end as their answers come, records list them as asked.

A sample that takes long holds up nobody: what ends after it waits here, on disk where it is much.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from llmeval.core import StorageError, Task
from llmeval.engine.verdicts import Evaluated

IN_MEMORY = 4096
"""Results that wait in memory; more of them wait on disk."""


class Shelf:
    """Takes results in any order and gives them in the order of their numbers.

    Args:
        tasks: by name; a result on disk names its task.
        folder: where the file goes that holds what memory should not.
        in_memory: results that wait in memory.

    Raises:
        StorageError: the disk refuses.
    """

    def __init__(
        self, tasks: Mapping[str, Task], folder: Path | None = None, in_memory: int = IN_MEMORY
    ) -> None:
        self._tasks = tasks
        self._folder = folder
        self._most = in_memory
        self._next = 0
        self._held: dict[int, Evaluated] = {}
        self._stored: dict[int, int] = {}
        self._file: IO[bytes] | None = None

    def put(self, number: int, result: Evaluated) -> None:
        """Take a result; what its task needed to evaluate it is no longer kept."""
        result = replace(result, sample=replace(result.sample, payload=None))
        if number != self._next and len(self._held) >= self._most:
            self._store(number, result)
        else:
            self._held[number] = result

    @property
    def ready(self) -> bool:
        """Whether the next result is here."""
        return self._next in self._held or self._next in self._stored

    def take(self) -> Iterator[Evaluated]:
        """Yield the results that follow one another from the next one on."""
        while self.ready:
            yield self._remove(self._next)
            self._next += 1

    def take_all(self) -> Iterator[Evaluated]:
        """Yield everything in order, over the gaps that unfinished samples leave."""
        for number in sorted([*self._held, *self._stored]):
            yield self._remove(number)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take is lost anyway
                self._file.close()

    def _remove(self, number: int) -> Evaluated:
        if number in self._held:
            return self._held.pop(number)
        assert self._file is not None
        self._file.seek(self._stored.pop(number))
        name, *rest = pickle.load(self._file)
        return Evaluated(self._tasks[name], *rest)

    def _store(self, number: int, result: Evaluated) -> None:
        try:
            if self._file is None:  # it has no name in the file system and goes with the process
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  kept open
            place = self._file.seek(0, 2)
            kept = (result.task.name, result.sample, list(result.exchanges), list(result.scores))
            pickle.dump(kept, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._file.flush()  # a full disk is said here, not when it is read back
        except OSError as error:
            raise StorageError(
                f"results that wait for an earlier one cannot be kept: {error.strerror}",
                where=str(self._folder or tempfile.gettempdir()),
                mend="free some disk space and give the same command again; answers are kept",
            ) from error
        self._stored[number] = place
