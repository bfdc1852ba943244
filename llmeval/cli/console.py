"""How progress and warnings look on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from llmeval.cli.streams import one_line, say
from llmeval.engine.progress import Meter

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PLAIN_SECONDS = 10.0
_REPEATS = 5
_ONCE = ("llmeval.tasks.fitting", "llmeval.models.served.exploration")
"""Loggers that tell what a server is like: every run of a night finds that anew."""


def set_up_logging(quiet: bool = False) -> None:
    """Show our warnings on stderr as one line each; hush the libraries' own."""
    handler = _ToStderr()
    handler.setFormatter(_OneLine())
    root = logging.getLogger("llmeval")
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR if quiet else logging.WARNING)
    root.propagate = False
    for name in ("lm_eval", "lm-eval", "datasets", "evaluate", "transformers", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _ToStderr(logging.Handler):
    """Writes to what ``sys.stderr`` is now: a live progress bar takes its place for a while.

    What is said of thousands of samples is said a few times; the record holds them all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        kind = f"{record.name} {record.msg}"
        if record.name in _ONCE:
            kind = record.getMessage()
            if self._said[kind]:
                return
        self._said[kind] += 1
        if self._said[kind] <= _REPEATS:
            say(self.format(record))
        elif self._said[kind] == _REPEATS + 1:
            say("llmeval: more warnings of this kind are not shown")


class _OneLine(logging.Formatter):
    """A traceback belongs in a bug report, not between a run's lines."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(f"llmeval: {record.levelname.lower()}: {record.getMessage()}")


def make_progress() -> RichBar | PlainLines:
    """Return what shows a run's progress on stderr."""
    can_redraw = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return RichBar() if can_redraw else PlainLines()


class RichBar:
    """A bar with rate and time left, on a terminal."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._meter = Meter(0)

    def start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._meter = Meter(total)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )
        self._id = self._bar.add_task("evaluating", total=total, speed="")
        self._bar.start()

    def advance(self, task: str) -> None:
        self._meter.advance()
        if self._bar is not None:
            speed = _speed(self._meter)
            self._bar.update(self._id, advance=1, description=task, speed=speed)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class PlainLines:
    """A line every ten seconds, for logs and pipes."""

    def __init__(self) -> None:
        self._meter = Meter(0)
        self._said = time.monotonic()

    def start(self, total: int) -> None:
        self._meter = Meter(total)
        self._said = time.monotonic()

    def advance(self, task: str) -> None:
        self._meter.advance()
        if time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            done, total = self._meter.done, self._meter.total
            say(one_line(f"llmeval: {done}/{total} samples, {_speed(self._meter)}, at {task}"))

    def stop(self) -> None:
        pass


def _speed(meter: Meter) -> str:
    left = meter.seconds_left
    eta = "?" if left is None else str(datetime.timedelta(seconds=round(left)))
    return f"{meter.rate:.1f}/s, {eta} left"
