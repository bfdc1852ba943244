"""How far a run is: counts, rate and time left. The command line decides how it looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Meter:
    """Counts done samples and estimates what is left.

    The rate is that of the samples of this attempt; replayed samples pass quickly and would make
    the rest look close, so the rate is taken over the last minute only.
    """

    total: int
    done: int = 0
    clock: Callable[[], float] = time.monotonic
    _marks: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._marks.append((self.clock(), self.done))

    def advance(self, samples: int = 1) -> None:
        self.done += samples
        now = self.clock()
        if now - self._marks[-1][0] >= 0.5:
            self._marks.append((now, self.done))
            while len(self._marks) > 2 and now - self._marks[1][0] > 60:
                self._marks.pop(0)

    @property
    def rate(self) -> float:
        """Samples per second over the last minute; 0 before anything is done."""
        start, done = self._marks[0]
        elapsed = self.clock() - start
        return (self.done - done) / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class Progress(Protocol):
    """Who is told of the run's progress."""

    def start(self, total: int) -> None: ...
    def advance(self, task: str) -> None: ...
    def stop(self) -> None: ...


class Silent:
    """Nobody listens."""

    def start(self, total: int) -> None:
        pass

    def advance(self, task: str) -> None:
        pass

    def stop(self) -> None:
        pass
