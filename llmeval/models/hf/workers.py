"""Several processes that compute for one model: work goes to whichever of them is free.

The first member of a crew is this process, so that a crew of one costs nothing; each other one is
an interpreter of its own that loads the model by itself, on its own device.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from typing import Any, Generic, Protocol, TypeVar

from llmeval.core.errors import Interrupted, InvalidResult, UsageError
from llmeval.models.settings import ModelSettings

log = logging.getLogger(__name__)

_DEATHS = 2  # a piece of work that ended so many processes is not given to a further one
_LOOK_SECONDS = 1.0  # between two looks at a process whose pipe somebody else may hold open
_WATCH_SECONDS = 0.5  # between two looks of a worker at its parent
_REAP_SECONDS = 10.0
# No multiprocessing.Process: that would import the caller's main script once more.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from llmeval.models.hf.workers import serve; serve(int(sys.argv[2]))"
)


class Computer(Protocol):
    """What a member of a crew does; work and result can be pickled."""

    def compute(self, work: Any, /) -> Any: ...


OwnComputer = TypeVar("OwnComputer", bound=Computer)


def assign(settings: ModelSettings) -> list[ModelSettings]:
    """Return the settings of each worker: one a CUDA device, or a share of the CPU's threads.

    Raises:
        UsageError: more workers than CUDA devices.
    """
    if settings.workers == 1:
        return [settings]
    import torch

    auto = settings.workers == "auto"
    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        there = torch.cuda.device_count()
        count = there if auto else int(settings.workers)
        if count > there:
            raise UsageError(
                f"there are {there} CUDA devices, one a worker",
                where=f"workers={count}",
                mend="workers=auto takes them all",
            )
        return [replace(settings, workers=1, device=f"cuda:{i}") for i in range(count)]
    count = 1 if auto else int(settings.workers)
    threads = settings.threads
    if count > 1 and threads is None:
        threads = max(1, _count_cores() // count)
    return [replace(settings, workers=1, threads=threads)] * count


class Crew(Generic[OwnComputer]):
    """Computers that take work from any thread, each one piece at a time.

    Args:
        own: makes this process's computer; called here, while the others start.
        others: makes that of each further process; picklable.

    A process that ends (killed, out of memory) is replaced by none: its work goes to another
    member, and the run goes on with fewer. Raises whatever ``own`` raises.
    """

    def __init__(
        self, own: Callable[[], OwnComputer], others: Sequence[Callable[[], Computer]] = ()
    ) -> None:
        self._changed = threading.Condition()
        self._free: deque[Computer] = deque()
        self._closed = False
        self._said: set[tuple[str, str]] = set()
        self._remotes: list[_Remote] = []
        self._end = weakref.finalize(self, _kill_all, self._remotes)
        self._size = 1 + len(others)
        self._alive = self._size
        try:
            for number, start in enumerate(others, 2):
                self._remotes.append(_Remote(number, start))
            for remote in self._remotes:
                threading.Thread(target=self._welcome, args=(remote,), daemon=True).start()
            self.own = own()
        except BaseException:
            self.close()
            raise
        self._release(self.own)

    @property
    def concurrency(self) -> int:
        """How many pieces of work are computed at once."""
        return max(1, self._alive)

    @property
    def pids(self) -> list[int]:
        """Processes beside this one, ended ones included."""
        return [remote.pid for remote in self._remotes]

    def compute(self, work: Any) -> Any:
        """Compute a piece of work on the first member that is free; wait for one.

        Raises:
            InvalidResult: the work ended two processes, one after another.
            Interrupted: the crew was closed meanwhile.
            Exception: what the computer raised, in whatever process.
        """
        deaths = 0
        while deaths < _DEATHS:
            member = self._take()
            try:
                result = member.compute(work)
            except _Ended as ended:
                self._bury(ended)
                deaths += ended.at_work
                continue
            except BaseException:
                self._release(member)
                raise
            self._release(member)
            return result
        raise InvalidResult(
            f"the same piece of work ended {_DEATHS} processes of the model",
            mend="answers so far are kept; give the run more memory or fewer workers, then the "
            "same command",
        )

    def close(self) -> None:
        """End the other processes at once; who waits for one of them is told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._end()

    def _take(self) -> Computer:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                raise Interrupted("the model was closed while it answered")
            return self._free.popleft()

    def _release(self, member: Computer) -> None:
        if isinstance(member, _Remote):
            self._repeat(member)
        with self._changed:
            self._free.append(member)
            self._changed.notify()

    def _welcome(self, remote: _Remote) -> None:
        """Wait until a process has loaded the model; then it is free."""
        try:
            remote.wait_until_ready()
        except _Ended as ended:
            self._bury(ended)
        except Exception as error:
            remote.kill()
            self._bury(_Ended(f"worker {remote.number} could not load the model: {error}"))
        else:
            self._release(remote)

    def _bury(self, ended: _Ended) -> None:
        with self._changed:
            if self._closed:  # it was ended by us
                return
            self._alive -= 1
            log.warning("%s; the run goes on with %d of %d", ended, self._alive, self._size)

    def _repeat(self, remote: _Remote) -> None:
        """Log what a process has logged, once for all of them."""
        for name, level, text in remote.take_records():
            with self._changed:
                fresh = (name, text) not in self._said
                self._said.add((name, text))
            if fresh:
                logging.getLogger(name).log(level, "%s", text)


class _Ended(Exception):
    """A worker's process is no more; says which and why, and whether it had begun the work."""

    def __init__(self, text: str, at_work: bool = True) -> None:
        super().__init__(text)
        self.at_work = at_work


class _Remote:
    """A computer in a process of its own, seen from this side of the pipe.

    Args:
        number: for messages; this process is worker 1.
        start: makes the computer over there.
    """

    def __init__(self, number: int, start: Callable[[], Computer]) -> None:
        self.number = number
        message = pickle.dumps(start)
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=2,  # what a library prints must not end in our own output
                process_group=0,  # Ctrl-C is this process's affair
            )
        self._records: list[tuple[str, int, str]] = []
        self._send(message)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the computer is made; raises what made it fail."""
        self._receive()

    def compute(self, work: Any, /) -> Any:
        self._send(pickle.dumps(work))
        return self._receive()

    def take_records(self) -> list[tuple[str, int, str]]:
        """Return logger, level and text of what was logged over there since the last time."""
        records, self._records = self._records, []
        return records

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _send(self, message: bytes) -> None:
        try:
            self._pipe.send_bytes(message)
        except OSError:
            raise self._mourn(at_work=False) from None

    def _receive(self) -> Any:
        try:
            # The pipe ends with the process, unless a child of ours was forked holding a copy.
            while not self._pipe.poll(_LOOK_SECONDS):
                if self._process.poll() is not None and not self._pipe.poll():
                    raise EOFError
            reply = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._mourn(at_work=True) from None
        good, value, records = pickle.loads(reply)
        self._records += records
        if good:
            return value
        raise value

    def _mourn(self, at_work: bool) -> _Ended:
        try:
            status = self._process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its pipe, but lives
            self.kill()
            status = -signal.SIGKILL
        if status == -signal.SIGKILL:
            reason = "was killed (by the system where memory ran out?)"
        elif status < 0:
            reason = f"was ended by {signal.Signals(-status).name}"
        else:
            reason = f"ended with exit status {status}"
        return _Ended(f"worker {self.number} (process {self.pid}) {reason}", at_work)


def _kill_all(remotes: Sequence[_Remote]) -> None:
    for remote in remotes:
        remote.kill()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(parent: int) -> None:
    """Be a worker: make the computer that the pipe on stdin names, then compute until it closes.

    Args:
        parent: process id of who started this one; where that is gone, this one ends.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    pipe = Connection(os.dup(0))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 0)
    records = _Records()
    logging.getLogger().addHandler(records)
    computer: Computer | None = None
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            content = pickle.loads(message)
            if computer is None:
                computer, value = content(), None
            else:
                value = computer.compute(content)
            reply = pickle.dumps((True, value, records.take()))
        except Exception as error:
            reply = pickle.dumps((False, _make_portable(error), records.take()))
        try:
            pipe.send_bytes(reply)
        except OSError:
            return


def _watch(parent: int) -> None:
    # The pipe's end is no sign: a process that the parent forked may keep it open.
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _make_portable(error: Exception) -> Exception:
    """Return the error if it survives the pipe, else one that says the same."""
    error.add_note("".join(traceback.format_exception(error)))  # the traceback itself stays here
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Records(logging.Handler):
    """Keeps warnings until they are sent to the parent, which knows where they belong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> list[tuple[str, int, str]]:
        kept, self._kept = self._kept, []
        return kept
