"""The garbage collector rests while a run loads.

torch, transformers and the tasks' data make a million objects that live as long as the process. By
Python's own rules the collector walks all of them time and again, a quarter of a small run.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from llmeval.engine.progress import Progress


@contextmanager
def resting_collector() -> Iterator[None]:
    """Collect nothing until :class:`WakeCollector` is told that the questions begin, or the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class WakeCollector:
    """Passes a run's progress on; collects again from its start, but never what was loaded."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.advance = progress.advance
        self.stop = progress.stop

    def start(self, total: int) -> None:
        gc.freeze()
        gc.enable()
        self._progress.start(total)
