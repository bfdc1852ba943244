"""Computers for crews: they do what a piece of work says, in whatever process they are."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from llmeval.core import UsageError


class Doer:
    """Does ``(verb, argument)`` and returns the id of its process."""

    def compute(self, work: tuple[str, Any], /) -> int:
        verb, argument = work
        getattr(self, verb)(argument)
        return os.getpid()

    def wait_for(self, path: str) -> None:
        while not Path(path).exists():
            time.sleep(0.01)

    def note_and_sleep(self, path: str) -> None:
        Path(path).with_suffix(f".{os.getpid()}").touch()
        time.sleep(600)

    def die_elsewhere(self, parent: int) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, text: str) -> None:
        print(text)
        logging.getLogger("elsewhere").warning("%s", text)

    def fail(self, kind: str) -> None:
        import torch

        if kind == "usage":
            raise UsageError("what", where="where", mend="mend")
        if kind == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        raise Odd("a", "b")


class Odd(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def start_doer() -> Doer:
    return Doer()


def start_nothing() -> Doer:
    raise UsageError("no memory for it")


def keep_busy(path: str) -> None:
    """A program with a worker in the middle of its work; prints the worker's process id."""
    import threading

    from llmeval.models.hf.workers import Crew

    crew = Crew(start_doer, [start_doer])
    for _ in range(2):
        work = ("note_and_sleep", path)
        threading.Thread(target=crew.compute, args=[work], daemon=True).start()
    while len(list(Path(path).parent.glob(f"{Path(path).stem}.*"))) < 2:
        time.sleep(0.01)
    print(*crew.pids, flush=True)
    time.sleep(600)
