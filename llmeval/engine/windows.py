"""Windows: the samples of all tasks in one sequence, cut where a bound on memory is reached.

Where a window ends depends on the tasks and the bounds alone, so a resumed run cuts the same ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llmeval.core import InvalidResult, LlmevalError, Sample, Task

DEFAULT_WINDOW = 4096
"""Samples of a window."""

WINDOW_CHARACTERS = 128 * 2**20
"""Characters of a window's prompts, after which it is closed."""

Item = tuple[Task, Sample]


def order_by_data(
    tasks: Sequence[Task], data: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Task]:
    """Put tasks that evaluate the same rows next to each other: their prompts fall into one window.

    Tasks stay in the order given by the first one of their data. ``data`` holds each task's
    fingerprints; the first one is that of the rows that become samples.
    """
    together: dict[object, list[Task]] = {}
    for task in tasks:
        rows = data[task.name]
        names = ("id", "config", "split", "digest")
        key = tuple(rows[0].get(name) for name in names) if rows else (task.name,)
        together.setdefault(key, []).append(task)
    return [task for group in together.values() for task in group]


class WindowCutter:
    """Gives the samples of tasks in order, window by window.

    Args:
        samples, characters: a window closes with the sample that reaches one of them.
    """

    def __init__(self, tasks: Sequence[Task], samples: int, characters: int) -> None:
        self._sequence = ((task, sample) for task in tasks for sample in _samples(task))
        self._samples = samples
        self._characters = characters
        self.open()

    def open(self) -> None:
        """Begin the next window."""
        self._samples_left = self._samples
        self._characters_left = self._characters

    def take(self, most: int) -> list[Item]:
        """Return the window's next samples, none where it is full or the tasks are at their end.

        Raises:
            LlmevalError: a task broke off.
        """
        items: list[Item] = []
        while len(items) < most and self._samples_left > 0 and self._characters_left > 0:
            item = next(self._sequence, None)
            if item is None:
                break
            items.append(item)
            self._samples_left -= 1
            self._characters_left -= item[1].size
        return items

    def windows(self) -> Iterator[list[Item]]:
        """Yield whole windows."""
        while items := self.take(self._samples):
            yield items
            self.open()


class Renderer:
    """A cutter at work in a thread of its own, so that rendering goes on while a model answers."""

    _CHUNK = 64  # samples at once: others have their turn in between, and an interrupt waits little

    def __init__(self, cutter: WindowCutter) -> None:
        self._cutter = cutter
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="llmeval-render")

    def open(self) -> None:
        self._cutter.open()

    async def take(self, most: int = _CHUNK) -> list[Item]:
        """Return the window's next samples, none at its end; see :meth:`WindowCutter.take`."""
        loop = asyncio.get_running_loop()
        count = min(most, self._CHUNK)
        return await loop.run_in_executor(self._worker, self._cutter.take, count)

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)


def _samples(task: Task) -> Iterator[Sample]:
    try:
        yield from task.samples()
    except LlmevalError:
        raise
    except Exception as error:
        raise InvalidResult(
            f"the task broke off while it gave its samples: {type(error).__name__}: {error}",
            where=task.name,
            mend="answers so far are kept; mend the task, then give the same command",
        ) from error
